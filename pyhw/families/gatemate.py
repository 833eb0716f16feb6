"""Cologne Chip GateMate, a family without multiplier blocks.

Source: Cologne Chip DS1001 (CCGM1A1) and UG1001 (primitives); of Yosys ``synth_gatemate``, of
nextpnr its uarch ``gatemate``.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from amaranth.build.plat import TemplatedPlatform
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
from .pll import Pll, choose

__all__ = ["FAMILY", "GateMatePlatform", "GateMatePll"]

_PACKAGE = "yowasp-nextpnr-himbaechel-gatemate"
_MODULE = "yowasp_nextpnr_himbaechel_gatemate"
_MODES = {"LOWPOWER": 1, "ECONOMY": 2, "SPEED": 3}
"""Modes of the core's voltage, by nextpnr's numbers: 0.9, 1.0 and 1.1 V."""


@dataclass(frozen=True, kw_only=True)
class GateMatePll(Pll):
    """CC_PLL with low jitter: ``input * n1 * n2 / (2 * m1 * m2)``, its oscillator at twice
    ``input * n1 * n2``.

    The primitive takes two frequencies, and nextpnr searches for the dividers. It finds a frequency
    exactly that is a whole number of 100 Hz; others are left out here.

    Attributes
    ----------
    input_hz : int
    n1, n2, m1, m2 : int
        Dividers in the loop, and behind it. ``m1 * m2`` is even, or 1.
    mode : {'LOWPOWER', 'ECONOMY', 'SPEED'}
        PERF_MD, which must be that of the core's voltage.

    Source: UG1001, CC_PLL; ranges and dividers: nextpnr, ``gatemate/pll.cc``. Inputs below those of
    the boards here were not tried.
    """

    input_hz: int
    n1: int
    n2: int
    m1: int
    m2: int
    mode: str = "ECONOMY"

    DIVIDERS = {"n1": range(1, 65), "n2": range(1, 1025), "m1": range(1, 65),
                "m2": range(1, 1025)}
    INPUT = (10_000_000, 50_000_000)
    DETECTOR = INPUT
    RANGES: ClassVar[dict[str, tuple[tuple[int, int], int]]] = {  # oscillator; input of n1 and m1
        "LOWPOWER": ((500_000_000, 1_000_000_000), 1_000_000_000),
        "ECONOMY": ((1_000_000_000, 2_000_000_000), 1_250_000_000),
        "SPEED": ((1_250_000_000, 2_500_000_000), 1_666_670_000),
    }
    EXACT: ClassVar[int] = 100

    def __post_init__(self) -> None:
        if self.mode not in self.RANGES:
            raise ValueError(f"GateMatePll.mode must be one of {tuple(self.RANGES)!r}, not "
                             f"{self.mode!r}")
        super().__post_init__()
        if self.m1 * self.m2 != 1 and self.m1 * self.m2 % 2:
            raise ValueError(f"GateMatePll.m1 * m2 must be even or 1, not {self.m1 * self.m2}")
        fastest, half = self.RANGES[self.mode][1], self.oscillator_hz / 2
        if half > fastest or half / min(self.n1, self.m1) > Fraction(fastest, 2):
            raise ValueError("the dividers n2 and m2 of a PLL must get at most "
                             f"{fastest / 2e6:g} MHz")
        if self.output_hz % self.EXACT:
            raise ValueError("the output of a PLL must be a whole number of 100 Hz")

    OSCILLATOR = property(lambda self: self.RANGES[self.mode][0])
    OUTPUT = property(lambda self: (1_000_000, self.RANGES[self.mode][1] / 4))

    @property
    def detector_hz(self) -> Fraction:
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz)

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        return 2 * self.detector_hz * self.n1 * self.n2

    @property
    def output_hz(self) -> Fraction:
        """Frequency that the PLL makes."""
        return self.oscillator_hz / (4 * self.m1 * self.m2)

    @classmethod
    def solve(cls, input_hz: int, wanted_hz: int, mode: str = "ECONOMY") -> "GateMatePll":
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        settings: list[GateMatePll] = []
        low, high = (edge // (2 * input_hz) for edge in cls.RANGES[mode][0])
        for loop in range(low + 1, high + 1):
            even = round(Fraction(input_hz * loop, 4 * wanted_hz)) * 2
            for behind in {max(2, even + step) for step in (-2, 0, 2)} | {1}:
                settings += cls._split(input_hz, loop, behind, mode)
        return choose(settings, wanted_hz)

    @classmethod
    def _split(cls, input_hz: int, loop: int, behind: int, mode: str) -> list["GateMatePll"]:
        """Return the setting with two products of dividers, if there is one."""
        for n1 in (n for n in range(64, 0, -1) if loop % n == 0):
            for m1 in (m for m in range(64, 0, -1) if behind % m == 0):
                try:
                    return [cls(input_hz=input_hz, n1=n1, n2=loop // n1, m1=m1,
                                m2=behind // m1, mode=mode)]
                except ValueError:
                    break  # the largest m1 is the one that may do
        return []

    def instance(self, i_clock: Any, o_clock: Any, o_locked: Any) -> Instance:
        """Return the primitive between the oscillator's clock and the one it makes."""
        return Instance(
            "CC_PLL", p_REF_CLK=f"{self.input_hz / 1e6:g}",
            p_OUT_CLK=f"{float(self.output_hz) / 1e6:.10g}", p_PERF_MD=self.mode,
            p_LOW_JITTER=1, p_LOCK_REQ=1, p_CI_FILTER_CONST=2, p_CP_FILTER_CONST=4,
            p_CLK180_DOUB=0, p_CLK270_DOUB=0,
            i_CLK_REF=i_clock, i_USR_CLK_REF=0, i_CLK_FEEDBACK=0, i_USR_LOCKED_STDY_RST=0,
            o_CLK0=o_clock, o_USR_PLL_LOCKED=o_locked)


class GateMatePlatform(TemplatedPlatform):
    """What a platform file of a board derives from; Amaranth 0.5 has none for this family.

    A subclass names ``device`` (``CCGM1A1``), ``mode`` (of the core's voltage), ``default_clk``,
    ``resources`` and ``connectors``. It makes RTLIL and constraints; `pyhw build` calls the tools.
    """

    toolchain = "Peppercorn"
    device: str
    mode = "ECONOMY"
    required_tools: ClassVar[list[str]] = ["yosys", "nextpnr-himbaechel", "gmpack"]
    command_templates: ClassVar[list[str]] = []
    file_templates: ClassVar[dict[str, str]] = {
        **TemplatedPlatform.build_script_templates,
        "{{name}}.il": r"""
            # {{autogenerated}}
            {{emit_rtlil()}}
        """,
        "{{name}}.ccf": r"""
            # {{autogenerated}}
            {% for port_name, pin_name, attrs in platform.iter_port_constraints_bits() -%}
                Pin_inout "{{port_name}}" Loc = "{{pin_name}}"
                {%- for name, value in attrs.items() %} | {{name}}={{value}}{% endfor %};
            {% endfor %}
        """,
    }


class _GateMate(Family):
    def synthesis(self, platform: Any) -> list[str]:
        # Cells are called after what they drive, as other families' scripts do by themselves.
        return [f"synth_gatemate -top {TOP} -luttree -nomx8 -nomult; autoname"]

    def route(self, platform: Any) -> list[str]:
        # Times are those of the slowest chips, nextpnr's default.
        return ["--device", platform.device, "--vopt", f"ccf={TOP}.ccf", "--sdc", f"{TOP}.sdc",
                "--vopt", f"fpga_mode={_MODES[platform.mode]}", "--vopt", f"out={TOP}.config"]

    def pack(self, platform: Any) -> list[str]:
        return ["--input", f"{TOP}.config", "--bit", f"{TOP}.bit"]

    def more_constraints(self, platform: Any, oscillator: str) -> dict[str, str]:
        return {".sdc": clock_line(platform, oscillator)}

    def solve_pll(self, input_hz: int, wanted_hz: int, platform: Any = None, *,
                  pad: bool = False) -> GateMatePll:  # fmt: skip
        return GateMatePll.solve(input_hz, wanted_hz, getattr(platform, "mode", "ECONOMY"))


FAMILY = _GateMate(
    name="gatemate",
    devices=(
        # 20,480 elements of two halves, each a tree of LUTs for four inputs and a flip-flop; 32
        # blocks of 40 kbit, each of which is two of 20.
        Device(name="gatemate-a1", family="gatemate", luts=40_960, block_rams=64,
               source="Cologne Chip DS1001, table 1.1, and Project Peppercorn's device database"),
    ),
    router=Program(name="nextpnr-himbaechel-gatemate", package=_PACKAGE,
                   entry=f"{_MODULE}:_run_nextpnr_himbaechel_gatemate_argv"),
    packer=Program(name="gmpack", package=_PACKAGE, entry=f"{_MODULE}:_run_gmpack_argv"),
    unpacker=Program(name="gmunpack", package=_PACKAGE, entry=f"{_MODULE}:_run_gmunpack_argv"),
    constraints=(".ccf",),
    placed=r'^Pin_inout "([^"]+)" Loc = "[^"]+"',
    clocked=r"^create_clock .*\[get_ports \{(\S+)\}\]",
    routed=".config",
    bitstream=".bit",
    sign=rb"(?s)\A\xd9\x01.{2,62}\xd7",
    command="synth_gatemate -luttree -nomx8 -noiopad",
    until="map_bram",
    # A multiplexer of four, or a table of five inputs, takes both halves of an element.
    cells={
        **cells_of(LUTS, 1, "CC_LUT CC_L2T4 CC_MX2 CC_ADDF"), **cells_of(LUTS, 2, "CC_L2T5 CC_MX4"),
        **cells_of(FLIP_FLOPS, 1, "CC_DFF CC_DLT"), **cells_of(BLOCK_RAMS, 1, "CC_BRAM_20K"),
        **cells_of(BLOCK_RAMS, 2, "CC_BRAM_40K"), **cells_of(MULTIPLIERS, 1, "CC_MULT"),
    },
    other_cells=("CC_",),
    pairs=("CC_LUT", "CC_L2T", "CC_MX", "CC_ADDF"),
    models=("gatemate/cells_sim.v",),
    block_shapes=((512, 40), (1024, 20), (2048, 10), (4096, 5), (8192, 2), (16384, 1)),
    both_ports_bits=20,
    lut_ram=False,
    # LeNet-1 with 1 + 1 lanes specialised, and with 40 + 52: docs/fit.md, "Area".
    lut_share=1.66,
    lone_registers=2010.0,
    fill=0.35,
)

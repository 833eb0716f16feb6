"""Synthesis: what is counted, what is refused, and what is kept."""

import json
import re
from dataclasses import replace

import pytest
from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from pyhw.cli import main as cli
from pyhw.errors import UserError
from pyhw.families import FAMILIES
from pyhw.hdl.memory.program_memories import ProgramMemories
from pyhw.hdl.presets import PRESETS
from pyhw.synthesis.report import SynthesisReport
from pyhw.synthesis.yosys import multiplier_free_check, synthesize, to_rtlil


class Binary(wiring.Component):
    """Register the result of an operation on two bytes."""

    a: In(8)
    b: In(8)
    o: Out(16)

    def __init__(self, operation):
        self._operation = operation
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self._operation(self.a, self.b))
        return m


class Store(wiring.Component):
    """Hold 32 bytes that are read without a clock."""

    address: In(5)
    data: In(8)
    enable: In(1)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=32, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.data),
            write.en.eq(self.enable),
            read.addr.eq(self.address),
            self.o.eq(read.data),
        ]
        return m


def single_port(words, bits):
    """Return RTLIL of program memories with weights in a memory of one port."""
    config = PRESETS["tiny"].changed(load_bits=bits, weight_words=words, single_port=True)
    text = to_rtlil(ProgramMemories(config))
    return re.sub(r"^  cell \$meminit_v2 .*?^  end\n", "", text, flags=re.M | re.S)


@pytest.mark.parametrize(("words", "bits", "blocks"), [
    (61_696, 8, 2), ((1 << 14) + 1, 16, 2), (1 << 13, 64, 4),
])
def test_weights_become_single_port_rams(words, bits, blocks, yosys, monkeypatch):
    monkeypatch.setitem(FAMILIES, "ice40", replace(
        FAMILIES["ice40"], command="synth_ice40 -device u -spram"))
    made = synthesize(single_port(words, bits), "top", "ice40")
    assert made.single_port_rams == blocks
    assert made.block_rams == 4 + 9  # instructions and records


def report(cells, family="ecp5"):
    return SynthesisReport.from_cells(cells, family=family, top="top", yosys="0", seconds=1.0)


def test_ecp5_counts_carry_as_two_and_memory_as_four():
    counted = report({"LUT4": 100, "CCU2C": 10, "TRELLIS_DPR16X4": 3, "PFUMX": 7, "TRELLIS_FF": 5})
    assert counted.lut4 == 100 + 2 * 10 + 4 * 3
    assert counted.flip_flops == 5
    assert counted.lut4_per_lane(8) == 16.5


def test_ice40_counts_lut4_alone():
    cells = {"SB_LUT4": 9, "SB_CARRY": 4, "SB_DFF": 1, "SB_DFFESR": 2, "SB_RAM40_4KNW": 3}
    counted = report(cells, "ice40")
    assert (counted.lut4, counted.flip_flops, counted.block_rams) == (9, 3, 3)


@pytest.mark.parametrize(
    ("family", "kind"), [("ecp5", "MULT18X18D"), ("ecp5", "ALU54B"), ("ice40", "SB_MAC16")]
)
def test_dsp_block_is_an_error_that_names_it(family, kind):
    with pytest.raises(UserError, match=f"must use no multiplier block, not 2 {kind}"):
        report({kind: 2}, family).require_no_dsp()


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_sum_needs_no_dsp_and_product_does(family, yosys):
    added = synthesize(to_rtlil(Binary(lambda a, b: abs(a - b))), "top", family)
    assert added.dsps == 0
    assert added.lut4 > 0
    assert added.flip_flops >= 8
    added.require_no_dsp()
    multiplied = synthesize(to_rtlil(Binary(lambda a, b: a * b)), "top", family)
    assert multiplied.dsps == 1


def test_distributed_memory_is_found_on_ecp5(yosys):
    counted = synthesize(to_rtlil(Store()), "top", "ecp5")
    assert counted.cells["TRELLIS_DPR16X4"] == 4
    assert counted.lut4 >= 16


def test_verilog_is_read_as_well(yosys):
    source = "module t(input a, b, c, output o); assign o = (a & b) ^ c; endmodule"
    assert synthesize(source, "t", "ice40").lut4 == 1


def test_names_that_look_like_bits_do_not_confuse_the_mapper(yosys):
    source = r"""
    module t(input clk, input [3:0] a, b, output [3:0] o, output p);
      reg [3:0] x;
      reg \x[0] ;
      always @(posedge clk) begin x <= a + b; \x[0]  <= ^(a ^ b); end
      assign o = x ^ a;
      assign p = \x[0]  ^ b[0];
    endmodule
    """
    assert synthesize(source, "t", "ecp5").flip_flops == 5


def test_same_design_is_synthesised_once(yosys, own_cache):
    design = to_rtlil(Binary(lambda a, b: a ^ b))
    stages = []
    first = synthesize(design, "top", "ice40", on_stage=stages.append)
    second = synthesize(design, "top", "ice40")
    assert (first.cached, second.cached) == (False, True)
    assert first.cells == second.cells
    assert stages


def test_refused_design_is_one_line_that_names_the_log(yosys, own_cache):
    with pytest.raises(UserError, match=r"Yosys failed: .*its output is in .*\.log") as caught:
        synthesize("module t(input a); absent x(.a(a)); endmodule", "t", "ecp5")
    assert "absent" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_family_is_refused():
    with pytest.raises(UserError, match=r"family must be one of ecp5, .*, not 'virtex'"):
        synthesize("", "top", "virtex")


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (lambda a, b: a * b, r"\$mul"),
        (lambda a, b: a // b, r"\$divfloor"),
        (lambda a, b: a % b, r"\$modfloor"),
        (lambda a, b: Array([Signal(3, init=i) for i in range(6)])[a[:3]] * b, r"\$mul"),
    ],
    ids=["product", "quotient", "remainder", "product with an array element"],
)
def test_cells_that_multiply_are_found(operation, kind):
    with pytest.raises(UserError, match=f"must be free of multipliers, but has {kind} cells: top"):
        multiplier_free_check(Binary(operation))


@pytest.mark.parametrize(
    "cell", ["a * b", "a / b", "a % b", "a ** b"], ids=["mul", "div", "mod", "pow"]
)
def test_cells_of_verilog_are_found(cell, yosys):
    source = f"module t(input [7:0] a, b, output [15:0] o); assign o = {cell}; endmodule"
    with pytest.raises(UserError, match="must be free of multipliers"):
        multiplier_free_check(source)


@pytest.mark.parametrize(
    "operation",
    [lambda a, b: a + b, lambda a, b: abs(a - b), lambda a, b: a << b[:3], lambda a, b: a * 4],
    ids=["sum", "distance", "shift", "power of two"],
)
def test_sums_and_shifts_pass_the_check(operation):
    multiplier_free_check(Binary(operation))


def test_design_that_cannot_be_read_is_one_line():
    with pytest.raises(UserError, match="Yosys could not read the design: ERROR"):
        multiplier_free_check("module \\t\n nonsense\nend\n")


def test_synth_command_reports_an_engine(yosys, tmp_path, capsys):
    path = tmp_path / "report.json"
    shape = ["--set", "l1.rows=2", "--set", "l1.lanes=2", "--json", str(path)]
    arguments = ["synth", "--preset", "tiny", "--component", "l1-engine", *shape]
    assert cli.main(arguments) == 0
    assert "LUT4 per lane (4 lanes)" in capsys.readouterr().out
    record = json.loads(path.read_text())
    assert record["dsps"] == 0
    assert record["lut4_per_lane"] == record["lut4"] / 4

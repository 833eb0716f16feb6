"""The real tools on small designs: every board's pins, PLL, router and packer."""

import re

import pytest

from pyhw.bitstream.constraints import make_pins
from pyhw.bitstream.flow import rows_of, solve_pll
from pyhw.bitstream.implement import implement
from pyhw.boards import BOARDS, find_board
from pyhw.boards.loader import check_bitstream
from pyhw.errors import UserError
from pyhw.tools import find_place_and_route
from tests.conftest import require

#: The ports of `BoardTop`, with a serial line that answers what it hears.
ECHO = """
module board(input i_clock, input i_locked, input i_rx, output reg o_tx, output o_alive,
             output o_running, output o_program);
  reg [15:0] \\time ;
  always @(posedge i_clock) begin \\time  <= \\time  + 1; o_tx <= i_rx & i_locked; end
  assign {o_alive, o_running, o_program} = \\time [15:13];
endmodule
"""


def make(name, verilog, tmp_path, clock_mhz=None, seeds=1, apart=()):
    board = find_board(name)
    platform = board.make_platform()
    pll = solve_pll(board, platform, clock_mhz or board.clock_mhz)
    pins = make_pins(board, platform, pll, "board")
    return board, implement(board, platform, verilog, pins, float(pll.output_hz) / 1e6, seeds,
                            tmp_path / "logs", apart)


# The Tang Nano 20K's router takes minutes for any design: `make boards`.
@pytest.mark.parametrize("name", ["ulx3s-12f", "icesugar-pro", "icebreaker", "hx8k",
                                  "tang-nano-9k", "gatemate-evb"])
def test_every_family_makes_a_bitstream_that_meets_its_clock(name, tmp_path, yosys):
    require(lambda: find_place_and_route(BOARDS[name].family.name)[0])
    board, made = make(name, ECHO, tmp_path)
    timing = made.routed[0].timing
    assert timing.met
    assert timing.reached_mhz > board.clock_mhz
    # The PLL's clock itself was held to what was asked for, not only the whole design's default.
    assert timing.asked_mhz == pytest.approx(board.clock_mhz, rel=0.01)
    assert made.netlist.used["flip-flops"] == 17
    assert made.placement.tiles
    assert made.bitstream.stat().st_size > 1000
    target = tmp_path / f"x{made.bitstream.suffix}"
    target.write_bytes(made.bitstream.read_bytes())
    check_bitstream(board, target)


def test_second_build_makes_nothing_and_more_seeds_only_themselves(tmp_path, yosys, own_cache):
    require(lambda: find_place_and_route("ice40")[0])
    _, first = make("hx8k", ECHO, tmp_path)
    _, again = make("hx8k", ECHO, tmp_path, seeds=2)
    assert [done.cached for done in first.stages] == [False, False, False]
    kept = {done.name: done.cached for done in again.stages}
    assert (kept["synthesis"], kept["route seed 1"], kept["route seed 2"]) == (True, True, False)
    speeds = [routed.timing.reached_mhz for routed in again.routed]
    assert speeds == sorted(speeds, reverse=True)


def test_equal_registers_of_rows_stay_apart(tmp_path, yosys):
    require(lambda: find_place_and_route("ecp5")[0])
    row = "module board_l1row0(input c, input d, output reg q); always @(posedge c) q <= d;"
    rows = ECHO.replace("= \\time [15:13]", "= \\time [15:13] ^ {q, i_rx}").replace(
        "  reg [15:0]", "  wire [1:0] q;\n" + "".join(
            f"  board_l1row0 row{k}(.c(i_clock), .d(i_rx), .q(q[{k}]));\n" for k in range(2))
        + "  reg [15:0]")
    modules = rows_of(row + " endmodule\nmodule board_postlane3(); endmodule\n" + rows, ())
    assert modules == ["board_l1row0"]
    counts = [make("ulx3s-12f", f"{row} endmodule\n{rows}", tmp_path,
                   apart=apart)[1].netlist.used["flip-flops"] for apart in ((), modules)]
    assert counts == [18, 19]


def test_modules_that_stay_apart_are_those_of_engines_rows_and_results():
    apart = ["board_accumulators7", "\\board_datapath3.l1", "\\board_datapath3.shift",
             "board_l1row4", "board_shiftrow6", "board_sumrow5"]
    others = ["board", "board_postlane10", "\\board_datapath3.drain", "\\board_datapath3.l1.x"]
    text = "".join(f"module {name} (clk);\nendmodule\n" for name in apart + others)
    assert rows_of(text, ("l1", "shift")) == apart


def test_clock_out_of_reach_gives_no_bitstream_and_names_the_path(tmp_path, yosys):
    require(lambda: find_place_and_route("ice40")[0])
    slow = ECHO.replace("= \\time [15:13]", "= {3{^ \\time }}").replace(
        "\\time  <= \\time  + 1", "\\time  <= \\time  + (\\time  >> \\time [3:0]) "
                        "+ (\\time  ^ (\\time  << \\time [7:4])) + i_rx")
    _, made = make("icebreaker", slow, tmp_path, clock_mhz=96)
    timing = made.routed[0].timing
    assert not timing.met
    assert made.bitstream is None
    assert made.stages[-1].name == "route seed 1"
    assert timing.path_ns == pytest.approx(1000 / timing.reached_mhz, rel=0.03)
    found = re.match(r"from (\w+)\.(\S+) to (\w+)\.(\S+), [\d.]+ ns in \d+ levels of logic",
                     timing.explained())
    assert found, timing.explained()
    assert found[4] == "time"


def test_design_that_yosys_refuses_leaves_its_log(tmp_path, yosys, own_cache):
    with pytest.raises(UserError, match=r"yosys failed in synthesis: .*its log is \S+"):
        make("hx8k", ECHO.replace("endmodule", "absent x(); endmodule"), tmp_path)
    assert "absent" in (tmp_path / "logs" / "synthesis.log").read_text()

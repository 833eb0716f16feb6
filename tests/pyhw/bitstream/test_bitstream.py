"""What a build says: names, the worst path, where cells lie, the numbers and the page."""

import json
import re

import pytest

from pyhw.bitstream.floorplan import colours, floorplan
from pyhw.bitstream.implement import check_size, too_large
from pyhw.bitstream.names import Components, instances_by_line, plain_names
from pyhw.bitstream.netlist import Placement, read_netlist, read_placement
from pyhw.bitstream.stages import ToolError
from pyhw.bitstream.timing import read_timing
from pyhw.boards import find_board
from pyhw.errors import UserError
from pyhw.families import FAMILIES

ACCELERATOR = "board.serial.accelerator"
INSTANCES = ("board", "board.serial", ACCELERATOR, f"{ACCELERATOR}.datapath",
             f"{ACCELERATOR}.datapath.drain", f"{ACCELERATOR}.datapath.drain.positions",
             f"{ACCELERATOR}.datapath.tag$170", f"{ACCELERATOR}.port", "board.lights")


def test_brackets_leave_names_and_names_stay_apart():
    text = r"reg \x[3].y ; reg \x.3.y ; reg \x[3] ; wire [3:0] z; assign z[0] = \x[3] ;"
    plain = plain_names(text)
    names = re.findall(r"\\(\S+) ", plain)
    assert not any("[" in name for name in names)
    assert len(set(names)) == 3
    assert names[1] == "x.3.y"  # what was there keeps its name
    assert "wire [3:0] z; assign z[0]" in plain


@pytest.mark.parametrize(
    ("name", "component"),
    [
        (f"{ACCELERATOR}.datapath.drain.vector_TRELLIS_FF_Q_7", "drain"),
        (f"{ACCELERATOR}.datapath.drain.positions.x_LUT4_Z", "drain"),
        (f"{ACCELERATOR}.datapath.stop_LUT4_Z", "datapath"),
        (f"{ACCELERATOR}.port.rx_LUT4_Z", "port"),
        (f"{ACCELERATOR}.datapath.tag$170.next_LUT4_Z", "tag"),
        (f"{ACCELERATOR}.rst_LUT4_A", "accelerator"),
        ("board.serial.i_rx_TRELLIS_FF_Q", "serial"),
        ("board.lights.time_SB_DFF_Q", "lights"),
        ("board.i_clock_x", "board"),
        ("pll", "pins"),
        ("led_0__io$tr_io", "pins"),
    ],
)
def test_cells_belong_to_components(name, component):
    assert Components(INSTANCES, FAMILIES["ecp5"]).component(name) == component


VERILOG = r"""
module board(clk);
endmodule
module \board.serial.accelerator.datapath.drain (clk, o_vector);
  reg o_vector;
endmodule
"""


def test_lines_belong_to_the_one_instance_of_their_module():
    # Parts that may occur many times are modules without a path for a name.
    verilog = r"""module board(clk);
  \board.serial  serial (
    .clk(clk)
  );
  board_row0 row0 (
  );
  board_row0 \row$1  (
  );
endmodule
module \board.serial (clk);
  board_sequencer1 sequencer (
  );
endmodule
module board_row0(clk);
  board_lane lane (
endmodule
module board_sequencer1(clk);
  \board_sequencer1.steps  steps (
  if (x == 3) y (
endmodule
module \board_sequencer1.steps (clk);
endmodule
module board_lane(clk);
"""
    assert [path for _, path in instances_by_line(verilog)] == [
        "board", "board.serial", "", "board.serial.sequencer", "board.serial.sequencer.steps", ""]
    assert instances_by_line(verilog)[3][0] == 17


def netlist(tmp_path):
    def cell(kind, src="", bel=None):
        attributes = {"src": src} if src else {}
        if bel is not None:
            attributes["NEXTPNR_BEL"] = bel
        return {"type": kind, "attributes": attributes}

    path = tmp_path / "netlist.json"
    around = f"{ACCELERATOR}.datapath.vector"
    cells = {
        **{name: cell("$scopeinfo") for name in INSTANCES},
        f"{around}_TRELLIS_FF_Q": cell("TRELLIS_FF", "board.v:5.7-5.15|cells.v:1.1", "X4/Y2/SLICE"),
        f"{around}_LUT4_Z": cell("LUT4", bel="X4/Y2/S0"),
        f"{ACCELERATOR}.port.sum_CCU2C_S0": cell("CCU2C", bel="X5/Y2/S0"),
        f"{ACCELERATOR}.port.crc_LUT4_Z": cell("LUT4", bel="X4/Y2/S1"),
        "pll": cell("EHXPLLL", bel="X0/Y0/PLL"),
    }
    path.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    return path


def test_cells_are_counted_by_component_and_registers_by_their_line(tmp_path):
    counted = read_netlist(netlist(tmp_path), FAMILIES["ecp5"], VERILOG)
    assert counted.used == {"flip-flops": 1, "LUT4": 4}
    # The register is called after a net of `datapath`, but stands in `drain`.
    assert counted.by_component == {"drain": {"flip-flops": 1, "LUT4": 1}, "port": {"LUT4": 3}}
    assert counted.kinds["EHXPLLL"] == 1


def test_picture_shows_every_component_in_its_colour(tmp_path):
    path = netlist(tmp_path)
    components = read_netlist(path, FAMILIES["ecp5"], VERILOG).components
    placement = read_placement(path, components)
    assert placement.tiles[4, 2] == {"drain": 2, "port": 1}
    assert placement.size == (6, 3)
    chosen = colours(placement)
    picture = floorplan(placement, ((0, 0), (4, 2)))
    for name in ("drain", "port", "pins"):
        assert f'fill="{chosen[name]}"' in picture
        assert f"<title>{name}</title>" in picture
    assert "M28 14h6" in picture  # the tile of column 4, row 2
    assert 'points="3,3 31,17"' in picture
    assert floorplan(Placement(tiles={})).startswith("<svg")


def report(constraint=80.0, clock="clk"):
    def hop(kind, delay, cell, x):
        return {"type": kind, "delay": delay, "from": {"cell": "", "loc": [0, 0], "port": ""},
                "to": {"cell": cell, "loc": [x, 1], "port": "D"}}

    drain, port = f"{ACCELERATOR}.datapath.drain.vector", f"{ACCELERATOR}.port.crc"
    path = [hop("clk-to-q", 0.5, f"{drain}_TRELLIS_FF_Q", 1),
            hop("routing", 6, f"{drain}_LUT4_Z", 2),
            hop("logic", 0.25, f"{drain}_LUT4_Z", 2), hop("routing", 5, f"{port}_LUT4_Z", 3),
            hop("logic", 0.25, f"{port}_LUT4_Z", 3), hop("setup", 0.5, f"{port}_TRELLIS_FF_Q", 3)]
    short = [hop("clk-to-q", 0.5, f"{port}_TRELLIS_FF_Q", 1)]
    return {
        "fmax": {clock: {"achieved": 64.0, "constraint": constraint},
                 "osc": {"achieved": 300.0, "constraint": 25.0}},
        "critical_paths": [{"from": f"posedge {clock}", "to": f"posedge {clock}", "path": path},
                           {"from": f"posedge {clock}", "to": "<async>", "path": path * 3},
                           {"from": "posedge osc", "to": "posedge osc", "path": short}],
    }  # fmt: skip


def test_worst_path_is_told_in_components():
    timing = read_timing(report(), Components(INSTANCES, FAMILIES["ecp5"]), 80.0)
    assert (timing.reached_mhz, timing.met) == (64.0, False)
    assert timing.path_ns == pytest.approx(12.5)
    assert timing.levels == 2
    assert timing.explained() == (
        "from drain.vector to port.crc, 12.5 ns in 2 levels of logic, 88% of it wires: "
        "drain 6.8 ns -> port 5.8 ns")  # fmt: skip


def test_clock_that_was_held_to_less_is_no_clock():
    with pytest.raises(ValueError, match=r"must hold a clock to 80.00 MHz, but held clk to 12.00"):
        read_timing(report(constraint=12.0), Components(INSTANCES, FAMILIES["ecp5"]), 80.0)


def test_too_many_cells_say_by_how_much_and_what_would_fit():
    with pytest.raises(UserError, match=(
            r"ecp5-12f is too small: 1,000 LUT4 too many \(13,000 of 12,000\); it would fit "
            r"ulx3s-85f, ulx3s-45f, ulx3s-25f, icesugar-pro; or")):  # fmt: skip
        check_size(find_board("ulx3s-12f"), {"LUT4": 13_000, "flip-flops": 12_000})
    with pytest.raises(UserError, match=r"27 block RAMs .*take a smaller configuration"):
        check_size(find_board("hx8k"), {"LUT4": 100, "block RAMs": 59})
    with pytest.raises(UserError, match=r"4 multipliers too many"):
        check_size(find_board("ulx3s-85f"), {"LUT4": 100, "multipliers": 4})
    check_size(find_board("tang-nano-9k"), {"LUT4": 8_640, "flip-flops": 6_480})


def test_placement_that_fails_for_want_of_room_says_so():
    board, used = find_board("hx8k"), {"LUT4": 7_600, "flip-flops": 7_000}
    full = ToolError("nextpnr failed", "ERROR: Unable to place cell 'x', no BELs remaining")
    assert "7,600 of 7,680 LUT4" in str(too_large(board, used, full))
    other = ToolError("nextpnr failed", "ERROR: no such option")
    assert too_large(board, used, other) is other

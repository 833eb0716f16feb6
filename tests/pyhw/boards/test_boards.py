"""Boards: pins, clocks and LEDs of every one, and the check that finds what is missing."""

import dataclasses

import pytest

from pyhw.bitstream.constraints import check_constraints, make_pins
from pyhw.bitstream.flow import solve_pll
from pyhw.boards import BOARDS, find_board
from pyhw.errors import UserError
from pyhw.families import DEVICES
from pyhw.hdl.presets import PRESETS
from pyhw.host.connect import BAUD
from pyhw.host.ports import ADAPTERS
from pyhw.verilog import divisor_for

#: Oscillator, serial line (from and to the board) and LEDs, from the boards' schematics.
PINS = {
    "ulx3s-85f": {"G2", "M1", "L4", "B2", "C2", "C1"},
    "icesugar-pro": {"P6", "A9", "B9", "A11", "A12", "B11"},
    "icebreaker": {"35", "6", "9", "11", "37", "27"},
    "hx8k": {"J3", "B10", "B12", "C3", "B3", "C4"},
    "tang-nano-9k": {"52", "18", "17", "10", "11", "13"},
    "tang-nano-20k": {"4", "70", "69", "15", "16", "17"},
    "gatemate-evb": {"IO_SB_A8", "IO_SA_A6", "IO_SA_B6", "IO_SB_B6"},
}
PINS |= {f"ulx3s-{size}": PINS["ulx3s-85f"] for size in ("45f", "25f", "12f")}


def pins_of(name):
    board = find_board(name)
    platform = board.make_platform()
    return make_pins(board, platform, solve_pll(board, platform, board.clock_mhz), "board")


def sites(pins):
    """Return the pins that constraints name, by the form of each family's file."""
    found = set()
    for name, text in pins.constraints.items():
        for line in text.splitlines():
            words = line.replace('"', " ").replace(";", " ").split()
            if name.endswith(".lpf") and words[:1] == ["LOCATE"]:
                found.add(words[4])
            elif words[:1] in (["set_io"], ["IO_LOC"]):
                found.add(words[2])
            elif words[:1] == ["Pin_inout"]:
                found.add(words[4])
    return found


@pytest.mark.parametrize("name", BOARDS)
def test_every_pin_of_a_board_is_constrained(name):
    pins = pins_of(name)
    assert sites(pins) == PINS[name]
    assert pins.rtlil.count("cell \\board") == 1


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_device_a_clock_a_line_and_a_loader(name):
    board = BOARDS[name]
    assert board.device_name in DEVICES
    pll = solve_pll(board, board.make_platform(), board.clock_mhz)
    divisor_for(round(pll.output_hz), BAUD)
    assert board.loader.usb in ADAPTERS
    lights = [light for light in board.lights if light is not None]
    assert len(board.lights) == 3
    assert len(set(lights)) == len(lights) >= 1


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("ulx3s-85f", ['LOCATE COMP "led_1__io"', "FREQUENCY PORT"]),
        ("icebreaker", ["set_io uart_0__rx__io", "set_frequency"]),
        ("tang-nano-9k", ['IO_LOC "clk27_0__io"', "create_clock"]),
        ("gatemate-evb", ['Pin_inout "uart_0__tx__io"', "create_clock"]),
    ],
)
def test_missing_constraints_are_found(name, lines):
    pins = pins_of(name)
    family = find_board(name).family
    check_constraints(pins, family)
    for line in lines:
        less = {file: "\n".join(one for one in text.splitlines() if not one.startswith(line))
                for file, text in pins.constraints.items()}
        assert less != pins.constraints
        with pytest.raises(ValueError, match=r"must have a (pin|frequency)"):
            check_constraints(dataclasses.replace(pins, constraints=less), family)


def test_module_without_ports_is_no_top():
    pins = pins_of("hx8k")
    with pytest.raises(ValueError, match="must have the port clk12_0__io, not only none"):
        check_constraints(dataclasses.replace(pins, rtlil="module \\top\nend\n"),
                          find_board("hx8k").family)


def test_unknown_board_is_refused_with_the_names_there_are():
    with pytest.raises(UserError, match=r"board must be one of ulx3s-85f, .*, not 'arty'"):
        find_board("arty")


def test_clock_that_the_pll_cannot_make_names_the_nearest():
    board = find_board("tang-nano-20k")
    with pytest.raises(UserError, match=r"--clock 80: .* the nearest is 81 MHz"):
        solve_pll(board, board.make_platform(), 80)


def test_instance_has_the_ports_of_the_module():
    import re

    from pyhw.verilog import generate_rtlil

    ports = r"^  wire (?:width \d+ )?(?:input|output) \d+ +\\(\w+)$"
    design = generate_rtlil(PRESETS["tiny"], "board", 60, clock_hz=60_000_000)
    module = design[design.index("module \\board\n"):]
    wanted = set(re.findall(ports, module[: module.index("\nend\n")], re.M))
    top = pins_of("ulx3s-85f").rtlil
    cell = top[top.index("cell \\board"):]
    assert set(re.findall(r"connect \\(\w+) ", cell[: cell.index("  end\n")])) == wanted

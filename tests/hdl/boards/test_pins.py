"""The pins of a board around its design: every wire has its buffer, none is left over."""

import re

import pytest

from pyhw.bitstream.constraints import make_pins
from pyhw.bitstream.flow import solve_pll
from pyhw.boards import find_board
from pyhw.hdl.boards.pins import BoardPins

MODULE = "board_of_a_test"


@pytest.mark.parametrize("flash", [False, True])
def test_clock_serial_line_lights_and_flash_are_connected(flash):
    board = find_board("icebreaker")
    platform = board.make_platform()
    pll = solve_pll(board, platform, 24)
    rtlil = make_pins(board, platform, pll, MODULE, flash).rtlil
    (instance,) = re.findall(rf"^  cell \\{MODULE} .*?^  end", rtlil, re.M | re.S)
    ports = set(re.findall(r"^    connect \\(\S+)", instance, re.M))
    own = {"i_clock", "i_locked", "i_rx", "o_tx", "o_alive", "o_running", "o_program"}
    of_flash = {"o_flash_select", "o_flash_clock", "o_flash_data", "i_flash_data"}
    assert ports == own | (of_flash if flash else set())
    # A buffer for every pin: two of the line, a light each, the oscillator's and the flash's.
    lights = sum(light is not None for light in board.lights)
    buffers = len(re.findall(r"^  cell \\SB_IO ", rtlil, re.M))
    least = 2 + lights + (not pll.pad) + 4 * flash
    assert least <= buffers <= least + 2 * flash  # write protection and hold, where they are


def test_the_oscillators_port_is_known_once_elaborated():
    board = find_board("ulx3s-85f")
    platform = board.make_platform()
    pll = solve_pll(board, platform, 50)
    pins = BoardPins(pll, board.lights, MODULE)
    assert not hasattr(pins, "oscillator")
    platform.prepare(pins, "top", emit_src=False)
    assert pins.oscillator.startswith("clk")

"""What the flash of a board that starts by itself holds."""

from itertools import pairwise

import pytest

from pyhw.bitstream.constraints import make_pins
from pyhw.bitstream.flash_image import flash_image
from pyhw.bitstream.flow import solve_pll
from pyhw.boards import find_board
from pyhw.hdl.frames import FLASH_ADDRESS, Command
from tests.hdl.top.test_accelerator import CONFIG, program
from tests.support.wire import Wire


def test_frames_of_a_load_lie_behind_the_bitstream():
    bitstream = bytes(range(200)) * 500
    raw = flash_image(bitstream, program(CONFIG), CONFIG)
    assert raw.startswith(bitstream)
    assert set(raw[len(bitstream):FLASH_ADDRESS]) == {0xff}
    found = Wire(CONFIG.port.max_payload).feed(raw[FLASH_ADDRESS:])
    assert found[0].opcode == Command.BEGIN.value
    assert found[-1].opcode == Command.COMMIT.value
    assert {frame.opcode for frame in found[1:-1]} == {Command.WRITE.value}
    assert found[0].payload == CONFIG.hash
    written = b"".join(frame.payload[5:] for frame in found[1:-1])
    assert written == b"".join(part for _, _, part in program(CONFIG).sections)
    assert all(a.sequence != b.sequence for a, b in pairwise(found))


def test_a_bitstream_must_end_before_the_frames():
    with pytest.raises(ValueError, match="at most 1,048,576 bytes, not 1,048,577"):
        flash_image(bytes(FLASH_ADDRESS + 1), program(CONFIG), CONFIG)


def test_the_loader_has_the_pins_that_the_board_was_configured_by():
    board = find_board("icebreaker")
    platform = board.make_platform()
    pins = make_pins(board, platform, solve_pll(board, platform, 24), "board", flash=True)
    placed = pins.constraints["top.pcf"]
    for pin in (14, 15, 16, 17, 12, 13):
        assert f" {pin}\n" in placed
    assert "flash" not in make_pins(board, board.make_platform(), solve_pll(
        board, platform, 24), "board").constraints["top.pcf"]

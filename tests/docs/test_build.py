"""The table of boards in docs/build.md, against the boards."""

import re
from pathlib import Path

import pytest

import pyhw
from pyhw.bitstream.flow import solve_pll
from pyhw.boards import BOARDS, find_board

PAGE = (Path(pyhw.__file__).parents[1] / "docs" / "build.md").read_text(encoding="utf-8")
ROWS = {cells[0].split("`")[1]: cells for line in PAGE.splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")])[0].startswith("`")
        and len(cells) == 7}


def test_every_board_is_in_the_table():
    names = set(ROWS) | {f"ulx3s{size}" for size in re.findall(r"`(-\d\df)`", PAGE)}
    assert names == set(BOARDS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_tells_the_clock_the_line_and_the_loader(name):
    board = find_board(name)
    platform = board.make_platform()
    _, _, oscillator, clock, line, _, loader = ROWS[name]
    pll = solve_pll(board, platform, board.clock_mhz)
    assert float(oscillator.split()[0]) * 1e6 == platform.default_clk_frequency
    assert float(clock.split()[0]) == pytest.approx(float(pll.output_hz) / 1e6, abs=0.005)
    uart = platform.request("uart", 0, dir="-")
    assert line == f"{uart.rx.io.metadata[0].name}, {uart.tx.io.metadata[0].name}"
    assert ("RAM" in loader) == board.loader.ram

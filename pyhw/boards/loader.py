"""Bring a bitstream to a board with openFPGALoader, and say what is wrong when that fails."""

import hashlib
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.tools import Tool

from .board import Board

__all__ = ["check_bitstream", "load", "loader_command", "udev_rule"]

RULES = "/etc/udev/rules.d/70-pyhw.rules"

_NONE = ("device not found", "no device found", "no compatible", "no ftdi", "failed to find")
_FORBIDDEN = ("permission", "usb_open() failed", "libusb_open() failed", "not permitted",
              "libusb_error_access", "unable to open usb device")
_BUSY = ("unable to claim", "resource busy", "claim usb device")
_OTHER = ("mismatch", "unknown device", "unsupported device", "wrong idcode")
_LACKING = ("not enabled at compile time", "cannot find board", "not supported")


def loader_command(board: Board, bitstream: Path, *, flash: bool) -> list[str]:
    """Return openFPGALoader's arguments.

    Raises
    ------
    UserError
        If the board, as it is sold, takes a bitstream into its flash only.
    """
    if not flash and not board.loader.ram:
        raise UserError(f"{board.name} is loaded through its flash: add --flash "
                        f"({board.loader.note})")
    return [*board.loader.arguments, *(["--write-flash"] if flash else []), str(bitstream)]


def check_bitstream(board: Board, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Refuse a file that is no bitstream for a board's FPGA, as far as that can be seen.

    With the record of the build that wrote it, one that has changed since is refused too.
    """
    family = board.family
    if path.suffix != family.bitstream:
        raise UserError(f"{path} is no bitstream for {board.name}, whose end in "
                        f"{family.bitstream}")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if not raw:
        raise UserError(f"{path} is empty")
    if record is not None and record.get("sha256") != hashlib.sha256(raw).hexdigest():
        raise UserError(f"{path} is not the bitstream that `pyhw build` wrote (its checksum "
                        "differs): build again")
    head = raw[:4096]
    if re.search(family.sign, head) is None:
        raise UserError(f"{path} does not begin like a bitstream for {board.title}")
    if part := family.foreign(head, board.title):
        raise UserError(f"{path} is for an {part}, and {board.name} is {board.title}")


def udev_rule(board: Board) -> str:
    """Return the line that lets everybody at the machine reach a board."""
    vendor, product = board.loader.usb
    return (f'SUBSYSTEM=="usb", ATTRS{{idVendor}}=="{vendor:04x}", '
            f'ATTRS{{idProduct}}=="{product:04x}", TAG+="uaccess"')


def load(tool: Tool, board: Board, bitstream: Path, *, flash: bool) -> str:
    """Run openFPGALoader and return what it said.

    Raises
    ------
    UserError
        If it fails: one line with the reason and what to do.
    """
    arguments = loader_command(board, bitstream, flash=flash)
    command = [*tool.command, *arguments]
    try:
        done = subprocess.run(command, env=tool.environment(), capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise UserError(f"{command[0]} cannot be started: {error.strerror}") from None
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode == 0 and not _seen(said, _OTHER):
        return said
    raise UserError(_reason(board, said, done.returncode, shlex.join(command)))


def _seen(said: str, signs: tuple[str, ...]) -> bool:
    return any(sign in said.lower() for sign in signs)


def _reason(board: Board, said: str, status: int, command: str) -> str:
    vendor, product = board.loader.usb
    if _seen(said, _LACKING):
        note = f": {board.name} {board.loader.note}" if board.loader.note else ""
        return (f"this openFPGALoader cannot load {board.name}{note}; put another one first on "
                f"PATH, or run it elsewhere: {command}")
    if _seen(said, _FORBIDDEN):
        return (f"no permission to open the adapter of {board.name}; add to {RULES} the line "
                f"{udev_rule(board)} and plug the board in again after `sudo udevadm control "
                "--reload`")
    if _seen(said, _BUSY):
        return (f"the adapter of {board.name} is held by another program; close it (a serial "
                "terminal, pyhw infer) and try again")
    if _seen(said, _NONE):
        return (f"no board was found: {board.name} has a USB adapter {vendor:04x}:{product:04x}; "
                "plug it in, with a cable that carries data")
    if _seen(said, _OTHER):
        return (f"the board that is plugged in is no {board.name}, or the bitstream is not for "
                f"it: {_last(said)}")
    return f"openFPGALoader failed with status {status}: {_last(said)}; the command was {command}"


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "%" not in line]
    return " | ".join(lines[-3:]) or "it said nothing"

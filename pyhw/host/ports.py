"""Find the board: serial ports with the USB numbers of the adapters that FPGA boards have."""

from collections.abc import Sequence
from typing import Any

from pyhw.boards import Board
from pyhw.errors import MissingTool, UserError, from_extra

__all__ = ["ADAPTERS", "candidates", "find_port", "listed", "require_pyserial"]

ADAPTERS = {
    (0x0403, 0x6010): "FT2232 (iCEBreaker, HX8K breakout, ECP5 evaluation, Tang Nano)",
    (0x0403, 0x6011): "FT4232",
    (0x0403, 0x6014): "FT232H",
    (0x0403, 0x6001): "FT232R",
    (0x0403, 0x6015): "FT231X (ULX3S)",
    (0x10C4, 0xEA60): "CP210x",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x1D50, 0x602B): "iCELink (iCESugar-Pro)",
    (0x1209, 0xC0CA): "DirtyJTAG (Olimex GateMateA1-EVB)",
}
"""Vendor and product numbers of USB serial adapters, with boards that have them."""
_PROGRAMMING = ((0x0403, 0x6010), (0x0403, 0x6011))
"""Adapters whose first interface programs the board and is no serial line."""


def require_pyserial() -> Any:
    """Return the module; `MissingTool` says how to get it."""
    try:
        import serial
    except ImportError:
        raise MissingTool("pyserial", from_extra("board")) from None
    if not hasattr(serial, "Serial"):
        raise MissingTool("pyserial", "pip uninstall serial; pip install pyserial",
                          "another package is called serial as well")
    return serial


def _ports() -> list[Any]:
    require_pyserial()
    from serial.tools import list_ports

    return sorted(list_ports.comports(), key=lambda port: str(port.device))


def candidates(ports: Sequence[Any] | None = None, board: Board | None = None) -> list[Any]:
    """Return the ports that may be a board, as pyserial's ``ListPortInfo``.

    Parameters
    ----------
    ports : sequence, optional
        Those to choose from; all of the machine by default.
    board : Board, optional
        Only those of its adapter.
    """
    found, adapters = [], set(ADAPTERS) if board is None else {board.loader.usb}
    for port in _ports() if ports is None else ports:
        key = (port.vid, port.pid)
        # The location ends in configuration and interface on Linux: 1-2:1.0
        first = key in _PROGRAMMING and str(port.location or "").endswith(":1.0")
        if key in adapters and not first:
            found.append(port)
    return found


def find_port(name: str | None = None, board: Board | None = None) -> str:
    """Return the name of the board's port.

    Parameters
    ----------
    name : str, optional
        The user's choice, which is not looked into.
    board : Board, optional
        Whose adapter is looked for; that of any board that is known by default.

    Raises
    ------
    UserError
        If there is none, or several of them: all are listed.
    """
    if name is not None:
        return name
    found = candidates(board=board)
    if len(found) == 1:
        return str(found[0].device)
    if found:
        raise UserError("several boards may be meant; choose one with --port: "
                        + "; ".join(_described(port) for port in found))
    raise UserError(f"no board was found; plug it in, or name its port with --port; {listed()}")


def listed() -> str:
    """Return all serial ports there are in one line."""
    found = _ports()
    if not found:
        return "there is no serial port here"
    return "serial ports here: " + "; ".join(_described(port) for port in found)


def _described(port: Any) -> str:
    if port.vid is None:
        return str(port.device)
    kind = ADAPTERS.get((port.vid, port.pid), f"USB {port.vid:04x}:{port.pid:04x}")
    serial = f", serial number {port.serial_number}" if port.serial_number else ""
    return f"{port.device}: {kind}{serial}"

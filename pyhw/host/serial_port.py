"""A serial port as a transport: pyserial, with its errors in the user's words."""

import contextlib
import errno
import os
from types import TracebackType
from typing import Any

from pyhw.errors import UserError

from .ports import listed, require_pyserial

__all__ = ["PortError", "SerialPort", "require_pyserial"]

_WRITE_TIMEOUT_S = 10.0
"""Longest time that a frame may wait in the machine: a line slower than any that is used."""


class PortError(UserError):
    """A serial port that cannot be opened, or that is gone."""


class SerialPort:
    """An open serial port that no other program can open in the same way.

    Parameters
    ----------
    path : str
        Such as ``/dev/ttyUSB1`` or a pseudo-terminal.
    baud : int
        Bits a second; 8 data bits, no parity, 1 stop bit, no flow control.

    Raises
    ------
    PortError
        If it cannot be opened, with what to do.
    MissingTool
        If pyserial is not installed.
    """

    def __init__(self, path: str, baud: int) -> None:
        serial = require_pyserial()
        self.path = path
        try:
            self._port = serial.Serial(path, baud, timeout=1.0, exclusive=True,
                                       write_timeout=_WRITE_TIMEOUT_S)
        except (OSError, ValueError, serial.SerialException) as error:
            raise PortError(_cannot_open(path, baud, error)) from None
        with contextlib.suppress(Exception):  # few adapters and no pseudo-terminal have it
            self._port.set_low_latency_mode(True)

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        with self._reporting():
            self._port.write(data)

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least a byte; ``b""`` after so long without one."""
        with self._reporting():
            if self._port.timeout != timeout_s:
                self._port.timeout = timeout_s
            first = self._port.read(1)
            waiting = self._port.in_waiting if first else 0
            return bytes(first + self._port.read(waiting) if waiting else first)

    def close(self) -> None:
        """Close the port; harmless when it is gone."""
        with contextlib.suppress(Exception):
            self._port.close()

    def __enter__(self) -> "SerialPort":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _reporting(self) -> Any:
        serial = require_pyserial()
        try:
            yield
        except serial.SerialTimeoutException:
            raise PortError(f"{self.path} took no bytes for {_WRITE_TIMEOUT_S:g} s; plug the board "
                            "out and in again") from None
        except (OSError, TypeError, serial.SerialException):
            # pyserial's own words are about file descriptors. TypeError: closed while it read.
            raise PortError(f"{self.path} is gone: the board was unplugged or lost its power, or "
                            "another program reads from it") from None


def _cannot_open(path: str, baud: int, error: Exception) -> str:
    """Say why a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    path = path or "the port without a name"
    if isinstance(error, ValueError) or "baud" in str(error).lower():
        return f"{path} cannot be set to {baud} bits a second; choose another --baud"
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{path} does not exist, or its board is gone; {listed()}"
    if number in (errno.EACCES, errno.EPERM):
        group = _group(path)
        return (f"no permission to open {path}: add yourself to its group with `sudo usermod -aG "
                f"{group} $USER` and log in again, or add a udev rule (docs/host.md)")
    if number in (errno.EBUSY, errno.EAGAIN):
        return (f"{path} is held by another program; close it (`fuser {path}` shows its number)")
    return f"{path} is no serial port; {listed()}"


def _group(path: str) -> str:
    """Return the group that may open a port, ``dialout`` if that is not plain."""
    try:
        import grp

        name = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (ImportError, OSError, KeyError):  # no such thing on Windows
        return "dialout"
    return "dialout" if name == "root" else name

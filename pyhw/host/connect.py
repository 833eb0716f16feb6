"""From a program to the board that runs it."""

import contextlib
from collections.abc import Iterator

from pyhw.boards import Board
from pyhw.compiler.program import Program
from pyhw.configure import every_preset
from pyhw.errors import UserError
from pyhw.hdl.config import Config

from .device import Device
from .link import AHEAD, Progress
from .ports import find_port
from .serial_port import SerialPort

__all__ = ["BAUD", "config_of", "connect", "reply_timeout_s"]

BAUD = 1_000_000
"""Bits a second; clocks of 12, 24, 25, 27, 48 and 50 MHz make it exactly."""
_PATIENCE_S = 0.3
"""What a reply may take beside its way: the device's frame timeout, and USB."""
_FRAME_BYTES = 19
"""Of an IMAGE frame beside its data."""


def config_of(program: Program, given: Config | None = None) -> Config:
    """Return the configuration that a program was compiled for.

    Parameters
    ----------
    program : Program
    given : Config, optional
        The user's choice; by default those of the package are searched.

    Raises
    ------
    UserError
        If it is another one, or none of the package.
    """
    if given is not None:
        if given.hash != program.config_hash:
            raise UserError(f"the program was compiled for configuration "
                            f"{program.config_hash.hex()}, not {given.hash.hex()} ({given.name}); "
                            "name the one that it is for, or compile it again")
        return given
    for config in every_preset():
        if config.hash == program.config_hash:
            return config
    raise UserError(f"the program was compiled for configuration {program.config_hash.hex()}, none "
                    "of the package; name its file with --config (`pyhw generate` writes it beside "
                    "the Verilog, `pyhw build` as config.json)")


def reply_timeout_s(config: Config, baud: int, ahead: int) -> float:
    """Return after how long a reply is late: twice the time of the frames sent ahead, and more."""
    return _PATIENCE_S + 2 * (ahead + 1) * (config.port.max_payload + _FRAME_BYTES) * 10 / baud


@contextlib.contextmanager
def connect(program: Program, port: str | None = None, *, config: Config | None = None,
            baud: int = BAUD, ahead: int = AHEAD, timeout_s: float | None = None,
            progress: Progress | None = None, loaded: bool = False,
            board: Board | None = None) -> Iterator[Device]:
    """Open the board's serial port and load a program.

    Parameters
    ----------
    program : Program
    port : str, optional
        Name of the serial port; the only board that is plugged in by default.
    config : Config, optional
        What the program was compiled for, if it is none of the package.
    baud : int
        Bits a second, as the gateware was built for.
    ahead : int
        Frames sent before the first is answered. A board has room for 2.
    timeout_s : float, optional
        How long to wait for a reply before a frame is sent again.
    progress : callable, optional
        Called with the frames of the program that are answered, and all of them.
    loaded : bool
        The board holds the program already, which is checked.
    board : Board, optional
        Whose adapter is looked for; that of any board that is known by default.

    Yields
    ------
    Device
        Ready for `Device.infer`.

    Raises
    ------
    UserError
        If there is no such port, it cannot be opened, the device is another one or does not answer,
        or does not hold the program that it should.
    """
    chosen = config_of(program, config)
    wait = reply_timeout_s(chosen, baud, ahead) if timeout_s is None else timeout_s
    with SerialPort(find_port(port, board), baud) as line:
        device = Device(line, chosen, timeout_s=wait, ahead=ahead)
        device.start(program, progress, loaded=loaded)
        yield device

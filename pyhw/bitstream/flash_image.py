"""What a flash holds for a board that loads its program itself: bitstream, then commands."""

from pyhw.compiler.program import Program
from pyhw.hdl.config import Config
from pyhw.hdl.frames import FLASH_ADDRESS
from pyhw.host.frames import encode
from pyhw.host.protocol import Protocol

__all__ = ["flash_image"]

_BEHIND = 16
"""Bytes behind the frames, for a loader that is ahead by one or two."""


def flash_image(bitstream: bytes, program: Program, config: Config) -> bytes:
    """Return a bitstream with the frames that load a program at `FLASH_ADDRESS`.

    Parameters
    ----------
    bitstream : bytes
        Shorter than `FLASH_ADDRESS`.
    program : Program
        Compiled for the configuration.
    config : Config
    """
    if len(bitstream) > FLASH_ADDRESS:
        raise ValueError(f"A bitstream must have at most {FLASH_ADDRESS:,} bytes, "
                         f"not {len(bitstream):,}")
    frames = b"".join(
        encode(number & 0xFF, request.command.value, request.payload)
        for number, request in enumerate(Protocol(config).load_requests(program)))
    return bitstream.ljust(FLASH_ADDRESS, b"\xff") + frames + b"\xff" * _BEHIND

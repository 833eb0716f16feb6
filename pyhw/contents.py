"""A program as what the memories of an accelerator hold from configuration on."""

from hdl.config import Config
from hdl.contents import NOTHING, Contents
from pyhw.compiler.program import Program
from pyhw.host.protocol import Protocol

__all__ = ["NOTHING", "Contents", "contents_of"]


def contents_of(program: Program, config: Config) -> Contents:
    """Return the contents that loading a program would leave; `DeviceError` if it is for another
    configuration.
    """
    protocol = Protocol(config)
    return Contents(tuple(program.sections), protocol.checksum(program))

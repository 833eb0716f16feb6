"""A program as what the memories of an accelerator hold from configuration on."""

from pyhw.compiler.program import Program
from pyhw.hdl.config import Config
from pyhw.hdl.contents import NOTHING, Contents
from pyhw.host.protocol import Protocol

__all__ = ["NOTHING", "Contents", "contents_of"]


def contents_of(program: Program, config: Config) -> Contents:
    """Return the contents that loading a program would leave; `DeviceError` if it is for another
    configuration.
    """
    return Contents(tuple(program.sections), Protocol(config).checksum(program))

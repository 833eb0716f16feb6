"""A program as what the memories of an accelerator hold from configuration on."""

from pathlib import Path

from pyhw.compiler.program import Program
from pyhw.hdl.config import Config
from pyhw.hdl.contents import NOTHING, Contents
from pyhw.host.protocol import Protocol

__all__ = ["NOTHING", "Contents", "contents_of", "read_contents"]


def contents_of(program: Program, config: Config) -> Contents:
    """Return the contents that loading a program would leave; `DeviceError` if it is for another
    configuration.
    """
    return Contents(tuple(program.sections), Protocol(config).checksum(program))


def read_contents(path: Path, given: Config | None = None) -> tuple[Config, Contents]:
    """Read a program file; return the configuration that it is for, and its contents.

    Parameters
    ----------
    path : Path
    given : Config, optional
        The user's choice; by default those of the package are searched.

    Raises
    ------
    UserError
        If the file is no program, or for another configuration.
    """
    from pyhw.host.connect import config_of
    from pyhw.inputs import read_program

    program = read_program(path)
    config = config_of(program, given)
    return config, contents_of(program, config)

"""Every target by name, and which one something belongs to."""

import os
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.inputs import read_file

from .accelerator import AcceleratorTarget
from .base import Program, Target

__all__ = ["TARGETS", "read_program", "target_of"]

TARGETS: dict[str, Target] = {target.name: target for target in (AcceleratorTarget(),)}
"""Every target by name."""


def target_of(config: Any) -> Target:
    """Return the target of a configuration; `TypeError` if it is of none."""
    for target in TARGETS.values():
        if target.takes(config):
            return target
    raise TypeError("config must be a configuration, as pyhw.preset and pyhw.fit return, not "
                    f"{type(config).__name__}")


def read_program(path: str | os.PathLike[str], config: Any = None) -> Program:
    """Read a program of any target.

    Parameters
    ----------
    path : path-like
    config : Config, optional
        What it was compiled for; by default looked for beside the file and in the package.

    Raises
    ------
    UserError
        If it is no program, is damaged, or is for another configuration.
    """
    file = Path(path)
    head = read_file(file, _head)
    for target in TARGETS.values():
        if head.startswith(target.magic):
            return target.read_program(file, config)
    raise UserError(f"{file} is no program of {', '.join(TARGETS)}; pyhw compile makes one")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)

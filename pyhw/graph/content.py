"""Hashes of what operations hold, by which equal things are found."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

__all__ = ["content_hash"]


def content_hash(*parts: Any) -> str:
    """Return the SHA-256 (as text) of arrays, records of them, and other values by their repr."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_bytes(part))
    return digest.hexdigest()


def _bytes(part: Any) -> bytes:
    if isinstance(part, np.ndarray):
        return f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes()
    if dataclasses.is_dataclass(part):
        return b"".join(_bytes(getattr(part, one.name)) for one in dataclasses.fields(part))
    return repr(part).encode()

"""What a program says of its maps and layers."""

from dataclasses import dataclass

import numpy as np

from pyhw.hdl.formats import Format

__all__ = ["Layer", "StoredMap"]


@dataclass(frozen=True)
class StoredMap:
    """A value in scratch memory, as the host reads it back.

    `shape` is (H, W, C), `fmt` its format's text, `base` the address of slot 0 and
    `slot_bytes` the distance to the next slot.
    """

    name: str
    shape: tuple[int, int, int]
    fmt: str
    base: int
    slot_bytes: int

    def decode(self, raw: bytes) -> np.ndarray:
        """Return the stored bytes of one image as integers, int64 (H, W, C)."""
        fmt = Format.parse(self.fmt)
        kind = f"<{'i' if fmt.signed else 'u'}{fmt.bytes}"
        return np.frombuffer(raw, kind).astype(np.int64).reshape(self.shape)


@dataclass(frozen=True)
class Layer:
    """One LAYER instruction: operation, engine, where its result lies, its useful terms.

    `complete` tells whether the result's map is whole after it (a map may take several layers).
    """

    name: str
    engine: str
    target: StoredMap
    useful_terms: int
    digits: int
    complete: bool

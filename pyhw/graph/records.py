"""What the graph's immutable records share: checked read-only arrays, equality, hashing."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

__all__ = ["Record", "frozen_array", "int_tuple"]


class Record:
    """Base of the frozen dataclasses of the graph: structural equality, arrays included."""

    def __eq__(self, other: object) -> bool:
        """Return whether type and every field agree (arrays: dtype, shape and values)."""
        if type(self) is not type(other):
            return False
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # type: ignore[arg-type]

    def __hash__(self) -> int:
        """Hash the fields that are plain values."""
        values = (getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]
        return hash((type(self).__name__, *(v for v in values if isinstance(v, (str, int)))))

    def _set(self, name: str, value: Any) -> None:
        """Store a normalised field; only for `__post_init__`."""
        object.__setattr__(self, name, value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b)
        )
    return bool(a == b)


def frozen_array(
    owner: str, name: str, value: Any, dtype: type[np.signedinteger[Any]], ndim: int
) -> np.ndarray:
    """Return a read-only C-ordered copy of an integer array in the declared dtype.

    Parameters
    ----------
    owner, name : str
        Record and field, for messages.
    value : array_like
        Integers (or booleans) of any dtype.
    dtype : numpy integer type
        Dtype of the copy; every value must fit.
    ndim : int
        Dimensions that the array must have.

    Raises
    ------
    TypeError
        If the values are not integers.
    ValueError
        If a value does not fit or the number of dimensions is another.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{owner}.{name} must be an integer array, not {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{owner}.{name} must have {ndim} dimensions, not shape {array.shape}")
    limits = np.iinfo(dtype)
    if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
        raise ValueError(
            f"{owner}.{name} must hold values from {limits.min} to {limits.max}, "
            f"not {int(array.min())} to {int(array.max())}"
        )
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def int_tuple(owner: str, name: str, value: Sequence[int], length: int) -> tuple[int, ...]:
    """Return a field as a tuple of `length` Python integers.

    Raises
    ------
    TypeError
        If it is not a sequence of integers.
    ValueError
        If it has another length.
    """
    try:
        items = tuple(value)
    except TypeError:
        raise TypeError(f"{owner}.{name} must be {length} integers, not {value!r}") from None
    if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in items):
        raise TypeError(f"{owner}.{name} must be {length} integers, not {value!r}")
    if len(items) != length:
        raise ValueError(f"{owner}.{name} must be {length} integers, not {value!r}")
    return tuple(int(v) for v in items)

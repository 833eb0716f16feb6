"""How records of the graph read and write as JSON, with their arrays kept aside as tensors.

Decoding is strict: every field must be there, of its own type, and no other.
"""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin

import numpy as np

from pyhw.hdl.formats import Format

from .ops import Graph, Operation
from .ops.base import STORED
from .post import Post, Step

__all__ = ["DTYPES", "Tensors", "graph_from_json", "graph_to_json", "record_fields"]

DTYPES = ("int8", "uint8", "int16", "int32", "int64")
"""Dtypes of stored tensors, little endian; the first that holds all values is used."""

_TYPES: dict[Any, str] = {
    str: "text", int: "int", bool: "bool", Format: "format", np.ndarray: "array", Post: "post",
    Step: "step",
}  # fmt: skip
_ITEMS: dict[Any, str] = {int: "ints", str: "texts"}


@cache
def record_fields(kind: type[Any]) -> dict[str, str]:
    """Return the fields of a record that files hold, and their types; a question mark allows null.

    Raises
    ------
    TypeError
        If a field is of a type that files do not hold.
    """
    found = {}
    for one in fields(kind):
        if not one.metadata.get("stored", True):
            continue
        options = get_args(one.type) if isinstance(one.type, UnionType) else (one.type,)
        plain = [option for option in options if option is not type(None)]
        if get_origin(plain[0]) is tuple:
            name = _ITEMS.get(get_args(plain[0])[0])
        else:
            name = _TYPES.get(plain[0])
        if name is None or len(plain) > 1:
            raise TypeError(f"{kind.__name__}.{one.name} must be of a type that files hold, "
                            f"not {one.type}")  # fmt: skip
        found[one.name] = name + "?" * (len(options) > 1)
    return found


@cache
def later_fields(kind: type[Any]) -> dict[str, int]:
    """Return the fields that a record gained later, and the file's version that first has them.

    They may be None, and files leave them out then, so that older readers know the others.
    """
    return {one.name: one.metadata["since"] for one in fields(kind) if "since" in one.metadata}


class Tensors:
    """Arrays of a file in the order of their numbers, each in the smallest dtype that holds it.

    Parameters
    ----------
    share : bool
        Whether equal arrays have one number.
    """

    def __init__(self, share: bool) -> None:
        self.arrays: list[np.ndarray] = []
        self.share, self.shared = share, False
        self._numbers: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def number(self, array: np.ndarray) -> int:
        """Return the number of an array, a new one unless an equal one is there."""
        small = array.astype(_smallest(array))
        key = small.dtype.name, small.shape, hashlib.sha256(small.tobytes()).digest()
        if self.share and key in self._numbers:
            self.shared = True
            return self._numbers[key]
        self.arrays.append(small)
        self._numbers[key] = len(self.arrays) - 1
        return len(self.arrays) - 1


def _smallest(array: np.ndarray) -> str:
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    return next(d for d in DTYPES if np.iinfo(d).min <= low and high <= np.iinfo(d).max)


def graph_to_json(graph: Graph, share: bool = True) -> tuple[dict[str, Any], Tensors]:
    """Return the graph as a JSON object, and its arrays; equal ones once if they are shared."""
    tensors = Tensors(share)
    names = {kind: name for name, kind in STORED.items()}
    stored = [op.stored() for op in graph.ops]
    ops = [{"op": names[type(op)]} | _record_to_json(op, tensors) for op in stored]
    record = {"name": graph.name, "ops": ops, "output": graph.output, "meta": dict(graph.meta)}
    return record, tensors


def _record_to_json(record: Any, tensors: Tensors) -> dict[str, Any]:
    out: dict[str, Any] = {}
    later = later_fields(type(record))  # type: ignore[arg-type]
    for name in record_fields(type(record)):  # type: ignore[arg-type]
        value = getattr(record, name)
        if name in later and value is None:
            continue
        if isinstance(value, np.ndarray):
            value = tensors.number(value)
        elif isinstance(value, Format):
            value = str(value)
        elif isinstance(value, (Step, Post)):
            value = _record_to_json(value, tensors)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, np.integer):
            value = int(value)
        out[name] = value
    return out


def graph_from_json(record: Any, tensor: Callable[[int], np.ndarray]) -> Graph:
    """Build a graph from a JSON object.

    Parameters
    ----------
    record : object
        What `graph_to_json` made.
    tensor : callable
        Gives the array of a number; `ValueError` if there is none.

    Raises
    ------
    ValueError
        If a field is missing, unknown or of another type, or a record refuses it.
    """
    record = _object(record, {"name", "ops", "output", "meta"}, "graph")
    if not isinstance(record["ops"], list):
        raise ValueError("graph field 'ops' must be a list")
    if not isinstance(record["meta"], dict):
        raise ValueError("graph field 'meta' must be an object")
    ops: list[Operation] = []
    for number, item in enumerate(record["ops"]):
        name = item.get("op") if isinstance(item, dict) else None
        kind = STORED.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"operation {number} must be of a known kind, not {name!r:.40}")
        rest = {key: value for key, value in item.items() if key != "op"}
        made = _record_from_json(kind, rest, tensor, f"operation {number}")
        ops.append(made.restored())
    text = {key: _decode("text", record[key], tensor, f"graph.{key}") for key in ("name", "output")}
    return Graph(text["name"], tuple(ops), text["output"], record["meta"])


def _object(
    value: Any, names: set[str], what: str, optional: set[str] = frozenset()  # type: ignore[assignment]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object")
    if missing := sorted(names - optional - set(value)):
        raise ValueError(f"{what} has no field {missing[0]!r}")
    if unknown := sorted(set(value) - names):
        raise ValueError(f"{what} has an unknown field {unknown[0]!r:.40}")
    return value


def _record_from_json(
    kind: type, value: Any, tensor: Callable[[int], np.ndarray], what: str
) -> Any:
    later = set(later_fields(kind))
    value = _object(value, set(record_fields(kind)), what, later)
    return kind(
        **{
            name: _decode(type_name, value[name], tensor, f"{what}.{name}")
            for name, type_name in record_fields(kind).items()
            if name in value or name not in later
        }
    )


def _decode(kind: str, value: Any, tensor: Callable[[int], np.ndarray], what: str) -> Any:
    if kind.endswith("?"):
        if value is None:
            return None
        kind = kind[:-1]
    if kind in ("step", "post"):
        return _record_from_json(Step if kind == "step" else Post, value, tensor, what)
    plain = {
        "text": isinstance(value, str),
        "format": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": _is_int(value),
        "array": _is_int(value),
        "ints": isinstance(value, list) and all(map(_is_int, value)),
        "texts": isinstance(value, list) and all(isinstance(v, str) for v in value),
    }
    if not plain[kind]:
        raise ValueError(f"{what} must be of type {kind}, not {value!r:.40}")
    if kind == "format":
        return Format.parse(value)
    if kind == "array":
        return tensor(value)
    return tuple(value) if kind in ("ints", "texts") else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31

"""How records of the graph read and write as JSON, with their arrays kept aside as tensors.

Decoding is strict: every field must be there, of its own type, and no other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pyhw.hdl.formats import Format

from .ops import Concat, Conv, Graph, Input, Op, Permute, Pointwise, Pool
from .post import Post, Step
from .stored import StoredMasked

__all__ = ["graph_from_json", "graph_to_json"]

KINDS: dict[str, type] = {
    "input": Input, "conv": Conv, "pool": Pool, "pointwise": Pointwise, "concat": Concat,
    "permute": Permute, "masked_conv": StoredMasked,
}  # fmt: skip
"""Operations by the name that files give them."""

FIELDS: dict[type, dict[str, str]] = {
    Input: {"name": "text", "shape": "ints", "fmt": "format"},
    Conv: {
        "name": "text", "input": "text", "term": "text", "post": "post", "weight": "array?",
        "sign": "array?", "exponent": "array?", "code_width": "int?", "stride": "ints",
        "padding": "ints", "dilation": "ints", "groups": "int", "pad_value": "array?",
        "ex": "int", "ew": "int",
    },
    StoredMasked: {
        "name": "text", "input": "text", "post": "post", "code_width": "int", "shape": "ints",
        "size": "int", "prototype": "shared", "mask": "array", "stride": "ints",
        "padding": "ints", "dilation": "ints", "groups": "int", "pad_value": "array?",
    },
    Pool: {
        "name": "text", "input": "text", "kind": "text", "kernel": "ints", "stride": "ints",
        "post": "post", "padding": "ints", "pad_value": "array?", "count_include_pad": "bool",
    },
    Pointwise: {"name": "text", "input": "text", "post": "post"},
    Concat: {"name": "text", "inputs": "texts"},
    Permute: {"name": "text", "input": "text", "index": "array"},
    Post: {
        "first": "step", "table": "array?", "table_format": "format?", "second": "step?",
        "residual": "text?", "residual2": "text?",
    },
    Step: {
        "m_sign": "array", "m_exponent": "array", "bias": "array", "shift": "array",
        "fmt": "format", "r_sign": "array?", "r_exponent": "array?",
    },
}  # fmt: skip
"""Fields of every record and their types; a question mark allows null.

A 'shared' array may have been given before.
"""


def graph_to_json(graph: Graph) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the graph as a JSON object, and its arrays in the order of their numbers."""
    tensors: list[np.ndarray] = []
    names = {kind: name for name, kind in KINDS.items()}
    stored = [
        StoredMasked.of(op) if isinstance(op, Conv) and op.prototype is not None else op
        for op in graph.ops
    ]
    ops = [{"op": names[type(op)]} | _record_to_json(op, tensors) for op in stored]
    record = {"name": graph.name, "ops": ops, "output": graph.output, "meta": dict(graph.meta)}
    return record, tensors


def _record_to_json(record: Any, tensors: list[np.ndarray]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in FIELDS[type(record)]:
        value = getattr(record, name)
        if isinstance(value, np.ndarray):
            value = _number(value, tensors, FIELDS[type(record)][name] == "shared")
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


def _number(array: np.ndarray, tensors: list[np.ndarray], shared: bool) -> int:
    """Return the number of an array, a new one unless it may be one that is there."""
    for number, other in enumerate(tensors) if shared else ():
        if other.dtype == array.dtype and np.array_equal(other, array):
            return number
    tensors.append(array)
    return len(tensors) - 1


def graph_from_json(record: Any, tensor: Callable[[int, bool], np.ndarray]) -> Graph:
    """Build a graph from a JSON object.

    Parameters
    ----------
    record : object
        What `graph_to_json` made.
    tensor : callable
        Gives the array of a number, which is the next one if it is not shared; `ValueError` if
        there is none.

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
    ops: list[Op] = []
    for number, item in enumerate(record["ops"]):
        name = item.get("op") if isinstance(item, dict) else None
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"operation {number} must be of a known kind, not {name!r:.40}")
        rest = {key: value for key, value in item.items() if key != "op"}
        made = _record_from_json(kind, rest, tensor, f"operation {number}")
        ops.append(made.conv() if isinstance(made, StoredMasked) else made)
    text = {key: _decode("text", record[key], tensor, f"graph.{key}") for key in ("name", "output")}
    return Graph(text["name"], tuple(ops), text["output"], record["meta"])


def _object(value: Any, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object")
    if missing := sorted(names - set(value)):
        raise ValueError(f"{what} has no field {missing[0]!r}")
    if unknown := sorted(set(value) - names):
        raise ValueError(f"{what} has an unknown field {unknown[0]!r:.40}")
    return value


def _record_from_json(
    kind: type, value: Any, tensor: Callable[[int, bool], np.ndarray], what: str
) -> Any:
    value = _object(value, set(FIELDS[kind]), what)
    return kind(
        **{
            name: _decode(type_name, value[name], tensor, f"{what}.{name}")
            for name, type_name in FIELDS[kind].items()
        }
    )


def _decode(kind: str, value: Any, tensor: Callable[[int, bool], np.ndarray], what: str) -> Any:
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
        "shared": _is_int(value),
        "ints": isinstance(value, list) and all(map(_is_int, value)),
        "texts": isinstance(value, list) and all(isinstance(v, str) for v in value),
    }
    if not plain[kind]:
        raise ValueError(f"{what} must be of type {kind}, not {value!r:.40}")
    if kind == "format":
        return Format.parse(value)
    if kind in ("array", "shared"):
        return tensor(value, kind == "shared")
    return tuple(value) if kind in ("ints", "texts") else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31

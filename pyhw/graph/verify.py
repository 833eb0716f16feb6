"""The rules that every integer graph keeps, each checked in one place.

Whatever builds or reads a graph calls `verify`; what comes after relies on it. Rules of one kind
of operation are in its module (`pyhw.graph.ops`), those of all are here.
"""

import re

from pyhw.hdl.formats import Format

from .infer import operand_types
from .ops import Graph, Input, MapType, Operation
from .rules import MAX_SIDE, require
from .verify_post import check_post

__all__ = ["NAME", "verify"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
"""Names of graphs and operations; they appear in files, reports and Verilog comments."""


def verify(graph: Graph) -> Graph:
    """Check every rule; return the graph.

    Raises
    ------
    TypeError
        If a record of the graph is not one of `pyhw.graph.ops`.
    ValueError
        If a rule is broken; the text names the operation and the rule.
    """
    if not NAME.fullmatch(graph.name):
        raise ValueError(f"Graph name must be letters, digits, '_', '.', '-', not {graph.name!r}")
    if len(graph.ops) < 2 or not isinstance(graph.ops[0], Input):
        raise ValueError(f"Graph {graph.name!r} must be an Input followed by operations")
    types: dict[str, MapType] = {}
    for op in graph.ops:
        _check_order(op, graph, types)
        operands = operand_types(op, types)
        op.check_fields(*operands)
        types[op.name] = op.infer(*operands)
        op.check_operands(*operands)
        _check_value(op, types[op.name], graph.output)
        for post in op.posts:
            check_post(op, post, types)
            _check_accumulator(op, operands)
    if graph.output not in types or graph.output == graph.ops[0].name:
        raise ValueError(f"Graph output must be the name of an operation, not {graph.output!r}")
    read = {name for op in graph.ops for name in op.inputs} | {graph.output}
    if unread := [op.name for op in graph.ops if op.name not in read]:
        raise ValueError(f"Operation {unread[0]!r}: every value must be read or be the output")
    return graph


def _check_order(op: Operation, graph: Graph, earlier: dict[str, MapType]) -> None:
    if not isinstance(op, Operation):
        raise TypeError(f"Graph operations must be records of pyhw.graph.ops, not {op!r}")
    require(
        op,
        isinstance(op.name, str) and NAME.fullmatch(op.name),
        "name must be a letter or '_', then letters, digits, '_', '.', '-', at most 64",
    )
    require(op, op.name not in earlier, "name must be unique")
    first = op is graph.ops[0]
    require(op, first or not isinstance(op, Input), "only the first may be an Input")
    require(op, first or op.operands, "must read a value")
    for name in op.inputs:
        require(op, name in earlier, f"must read values made before it, not {name!r}")


def _check_value(op: Operation, value: MapType, output: str) -> None:
    require(
        op,
        max(value.shape) <= MAX_SIDE,
        f"its map must be at most {MAX_SIDE} on each side, not {value.shape}",
    )
    require(
        op, value.fmt.width >= 2, f"stored values must be at least 2 bits wide, not {value.fmt}"
    )
    require(
        op,
        value.fmt.width <= 16 or op.name == output,
        f"only the output may be wider than 16 bits, not {value.fmt}",
    )


def _check_accumulator(op: Operation, operands: tuple[MapType, ...]) -> None:
    low, high = op.acc_bounds(*operands)
    limit = Format(32, True)
    require(
        op,
        limit.min <= low.min() and high.max() <= limit.max,
        f"the accumulator must fit 32 bits, not {low.min()} to {high.max()}",
    )

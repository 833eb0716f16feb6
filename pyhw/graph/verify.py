"""The rules that every integer graph keeps, each checked in one place.

Whatever builds or reads a graph calls `verify`; what comes after relies on it. Rules of one kind
of operation are in its module (`pyhw.graph.ops`), those of all are here.
"""

import re

from pyhw.hdl.formats import Format
from pyhw.hdl.tokens import MAX_STATISTIC

from .infer import operand_types
from .ops import Graph, Input, MapType, Operation
from .post import Post
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
        _check_maps(op, types)
        op.check_operands(*operands)
        _check_value(op, types[op.name], graph.output)
        for post in op.posts:
            check_post(op, post, types)
            _check_accumulator(op, operands, post, types)
    if graph.output not in types or graph.output == graph.ops[0].name:
        raise ValueError(f"Graph output must be the name of an operation, not {graph.output!r}")
    require(graph.op(graph.output), types[graph.output].records is None,
            "the output must be a map, not records of tokens")  # fmt: skip
    by_name = {op.name: op for op in graph.ops}
    for op in graph.ops:
        op.check_graph(by_name)
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
    require(op, first or op.operands or op.constant, "must read a value")
    for name in op.inputs:
        require(op, name in earlier, f"must read values made before it, not {name!r}")


def _check_maps(op: Operation, types: dict[str, MapType]) -> None:
    tokens = {post.token for post in op.posts}
    for name in op.inputs:
        require(op, types[name].records is None or name in tokens,
                f"{name!r} are records of tokens, which post-processing alone reads")  # fmt: skip


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
        value.fmt.width <= 16 or op.name == output or value.records is not None,
        f"only the output may be wider than 16 bits, not {value.fmt}",
    )


def _check_accumulator(
    op: Operation, operands: tuple[MapType, ...], post: Post, types: dict[str, MapType]
) -> None:
    low, high = op.acc_bounds(*operands)
    limit = Format(32, True)
    require(
        op,
        limit.min <= low.min() and high.max() <= limit.max,
        f"the accumulator must fit 32 bits, not {low.min()} to {high.max()}",
    )
    if post.token is not None:
        token = types[post.token].records
        assert token is not None
        most = max(-int(low.min()), int(high.max())) * token.multiplier
        most += max(-token.bias[0], token.bias[1]) + (1 << token.shift)
        require(op, most < MAX_STATISTIC,
                f"the sum before the token's shift must be below 2^52, not {most}")  # fmt: skip

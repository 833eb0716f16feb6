"""The rules that every integer graph keeps, each checked in one place.

Whatever builds or reads a graph calls `verify`; what comes after relies on it.
"""

import re

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from .infer import Shape, acc_bounds, output_format, output_shape
from .masked import expand
from .ops import Concat, Conv, Graph, Input, Op, Permute, Pointwise, Pool
from .verify_post import check_post, check_terms, require

__all__ = ["verify"]

MAX_SIDE = 65535
"""Largest height, width or channel count of a map."""
MAX_KERNEL = 255
"""Largest kernel side, stride, dilation, padding and digit count."""
MAX_MASKED = 1 << 24
"""Most weights of a masked layer, whose file is far smaller than its arrays."""
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
    shapes: dict[str, Shape] = {}
    formats: dict[str, Format] = {}
    for op in graph.ops:
        _check_order(op, graph, shapes)
        _check_attributes(op, shapes)
        shapes[op.name] = output_shape(op, shapes)
        formats[op.name] = output_format(op, formats)
        _check_shapes(op, shapes)
        _check_formats(op, formats, graph.output)
        if isinstance(op, Conv):
            _check_weights(op, formats[op.input])
        if isinstance(op, (Conv, Pool)):
            _check_pad_values(op, shapes[op.input][2], formats[op.input])
        if isinstance(op, (Conv, Pool, Pointwise)):
            check_post(op, op.post, shapes, formats)
            _check_accumulator(op, formats[op.input], shapes[op.input][2])
    if graph.output not in shapes or graph.output == graph.ops[0].name:
        raise ValueError(f"Graph output must be the name of an operation, not {graph.output!r}")
    read = {name for op in graph.ops for name in op.inputs} | {graph.output}
    if unread := [op.name for op in graph.ops if op.name not in read]:
        raise ValueError(f"Operation {unread[0]!r}: every value must be read or be the output")
    return graph


def _check_order(op: Op, graph: Graph, earlier: dict[str, Shape]) -> None:
    if not isinstance(op, (Input, Conv, Pool, Pointwise, Concat, Permute)):
        raise TypeError(f"Graph operations must be records of pyhw.graph.ops, not {op!r}")
    require(
        op,
        isinstance(op.name, str) and NAME.fullmatch(op.name),
        "name must be a letter or '_', then letters, digits, '_', '.', '-', at most 64",
    )
    require(op, op.name not in earlier, "name must be unique")
    require(op, not isinstance(op, Input) or op is graph.ops[0], "only the first may be an Input")
    require(op, isinstance(op, Input) or op.inputs, "must read a value")
    for name in op.inputs:
        require(op, name in earlier, f"must read values made before it, not {name!r}")


def _check_attributes(op: Op, shapes: dict[str, Shape]) -> None:
    if isinstance(op, Input):
        require(
            op,
            all(1 <= side <= MAX_SIDE for side in op.shape),
            f"shape must be three integers from 1 to {MAX_SIDE}, not {op.shape}",
        )
    if isinstance(op, Permute):
        height, width, _ = shapes[op.input]
        require(
            op,
            np.array_equal(np.sort(op.index), np.arange(height * width)),
            f"index must hold every position of the {height}x{width} map once",
        )
    if isinstance(op, (Conv, Pool)):
        for name, low in (("kernel", 1), ("stride", 1), ("padding", 0)):
            require(
                op,
                all(low <= v <= MAX_KERNEL for v in getattr(op, name)),
                f"{name} must be from {low} to {MAX_KERNEL}, not {getattr(op, name)}",
            )
    if isinstance(op, Conv):
        channels, out = shapes[op.input][2], op.out_channels
        require(
            op,
            all(1 <= v <= MAX_KERNEL for v in op.dilation),
            f"dilation must be from 1 to {MAX_KERNEL}, not {op.dilation}",
        )
        require(
            op,
            1 <= out <= MAX_SIDE and 1 <= op.digits <= MAX_KERNEL,
            f"weights must have 1 to {MAX_SIDE} output channels and 1 to {MAX_KERNEL} digits",
        )
        require(
            op,
            op.groups >= 1 and channels % op.groups == 0 and out % op.groups == 0,
            f"groups must divide {channels} input and {out} output channels, not {op.groups}",
        )
        require(
            op,
            op.weight_shape[3] * op.groups == channels,
            f"weights must take {channels // op.groups} input channels per group, "
            f"not {op.weight_shape[3]}",
        )
    if isinstance(op, Pool):
        require(
            op,
            op.count_include_pad or not any(op.padding) or op.kind == "max",
            "an average over padding must count the padded taps: a divisor that changes at "
            "the border is not supported; pad the map before it, or use count_include_pad",
        )


def _check_shapes(op: Op, shapes: dict[str, Shape]) -> None:
    require(
        op,
        max(shapes[op.name]) <= MAX_SIDE,
        f"its map must be at most {MAX_SIDE} on each side, not {shapes[op.name]}",
    )
    if isinstance(op, Concat):
        sides = {shapes[name][:2] for name in op.inputs}
        require(op, len(sides) == 1, f"inputs must have one height and width, not {sorted(sides)}")


def _check_formats(op: Op, formats: dict[str, Format], output: str) -> None:
    fmt = formats[op.name]
    if isinstance(op, (Input, Conv, Pool, Permute)):
        read = formats[op.inputs[0] if op.inputs else op.name]
        require(op, 2 <= read.width <= 8, f"input must be 2 to 8 bits wide, not {read}")
    if isinstance(op, Pointwise):
        read = formats[op.input]
        require(op, 2 <= read.width <= 16, f"input must be 2 to 16 bits wide, not {read}")
        require(
            op,
            read.width <= 8 or op.post.residual is None,
            "an input of more than 8 bits takes the residual's place in the first step",
        )
    if isinstance(op, Concat):
        found = sorted({str(formats[name]) for name in op.inputs})
        require(op, len(found) == 1, f"inputs must have one format, not {', '.join(found)}")
    require(op, fmt.width >= 2, f"stored values must be at least 2 bits wide, not {fmt}")
    require(
        op,
        fmt.width <= 16 or op.name == output,
        f"only the output may be wider than 16 bits, not {fmt}",
    )


def _check_weights(op: Conv, fmt: Format) -> None:
    if op.term == "l1":
        limit = Format(8, fmt.signed)
        require(
            op,
            0 <= op.ex <= 7 and 0 <= op.ew <= 7,
            f"ex and ew must be from 0 to 7, not {op.ex} and {op.ew}",
        )
        require(
            op,
            limit.min <= fmt.min << op.ex and fmt.max << op.ex <= limit.max,
            f"x << ex must fit {limit}: {fmt} shifted by {op.ex} does not",
        )
        low, high = int(op.weight_values.min()), int(op.weight_values.max())
        require(
            op,
            limit.min <= low and high <= limit.max,
            f"w << ew must fit {limit}, the range of x, not {low} to {high}",
        )
    else:
        require(op, op.ex == 0 and op.ew == 0, "ex and ew must be 0 for shift terms")
        require(
            op, op.code_width in (3, 4, 5), f"code_width must be 3, 4 or 5, not {op.code_width}"
        )
        assert op.sign is not None
        assert op.exponent is not None
        assert op.code_width is not None
        most = ShiftCode(op.code_width).max_exponent
        check_terms(op, "weight", op.sign, op.exponent, most)
        if op.prototype is not None:
            _check_prototype(op)


def _check_prototype(op: Conv) -> None:
    assert op.sign is not None
    assert op.exponent is not None
    assert op.prototype is not None
    assert op.code_width is not None
    require(
        op,
        1 <= len(op.prototype) <= MAX_MASKED and op.sign.size <= MAX_MASKED,
        f"a masked layer must have at most {MAX_MASKED} weights and 1 to {MAX_MASKED} prototype "
        f"codes, not {op.sign.size} and {len(op.prototype)}",
    )
    try:
        sign, exponent = expand(op.prototype, op.code_width, op.weight_shape)
    except ValueError as error:
        raise ValueError(f"Operation {op.name!r}: {error}") from None
    kept = op.sign[0] != 0
    require(
        op,
        not kept.any()
        or (np.array_equal(op.sign[0][kept], sign[kept])
            and np.array_equal(op.exponent[0][kept], exponent[kept])),
        "every weight of a masked layer must be 0 or its prototype's, in the order (o, c, ky, kx)",
    )


def _check_pad_values(op: Conv | Pool, channels: int, fmt: Format) -> None:
    if op.pad_value is None:
        return
    require(op, isinstance(op, Conv) or op.kind == "sum", "a maximum takes no pad values")
    require(
        op,
        op.pad_value.shape == (channels,),
        f"pad_value must have {channels} channels, not {op.pad_value.shape[0]}",
    )
    low, high = int(op.pad_value.min()), int(op.pad_value.max())
    require(
        op,
        fmt.min <= low and high <= fmt.max,
        f"pad values must be in the input's format {fmt}, not {low} to {high}",
    )


def _check_accumulator(op: Conv | Pool | Pointwise, fmt: Format, channels: int) -> None:
    low, high = acc_bounds(op, fmt, channels)
    limit = Format(32, True)
    require(
        op,
        limit.min <= low.min() and high.max() <= limit.max,
        f"the accumulator must fit 32 bits, not {low.min()} to {high.max()}",
    )

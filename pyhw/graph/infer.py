"""Shapes, formats and accumulator bounds of a graph's values."""

from collections.abc import Mapping

import numpy as np

from pyhw.hdl.formats import Format, width_of

from .ops import Concat, Conv, Graph, Input, Op, Permute, Pointwise, Pool, Step
from .post import Post

__all__ = ["Shape", "acc_bounds", "formats", "largest_exponent", "most_terms", "output_format",
           "output_shape", "pad_values", "partial_bounds", "shapes", "step_bounds",
           "sum_widths"]  # fmt: skip

Shape = tuple[int, int, int]
"""Height, width, channels of one image's map."""


def output_shape(op: Op, given: Mapping[str, Shape]) -> Shape:
    """Return the shape of an operation's value from the shapes of earlier values.

    Parameters
    ----------
    op : Op
        Operation.
    given : mapping of str to Shape
        Shapes of the values that the operation reads.

    Raises
    ------
    ValueError
        If the kernel is larger than the padded map.
    """
    if isinstance(op, Input):
        return op.shape
    if isinstance(op, Concat):
        height, width, _ = given[op.inputs[0]]
        return height, width, sum(given[name][2] for name in op.inputs)
    height, width, channels = given[op.input]
    if isinstance(op, (Permute, Pointwise)):
        return height, width, channels
    top, left, bottom, right = op.padding
    dilation = op.dilation if isinstance(op, Conv) else (1, 1)
    sides = []
    for size, kernel, stride, step in zip(
        (height + top + bottom, width + left + right), op.kernel, op.stride, dilation
    ):
        reach = step * (kernel - 1) + 1
        if reach > size:
            raise ValueError(
                f"Operation {op.name!r} must have a kernel that fits the padded map: "
                f"{reach} does not fit {size}"
            )
        sides.append((size - reach) // stride + 1)
    return sides[0], sides[1], op.out_channels if isinstance(op, Conv) else channels


def output_format(op: Op, given: Mapping[str, Format]) -> Format:
    """Return the format of an operation's stored value from the formats of earlier values."""
    if isinstance(op, Input):
        return op.fmt
    if isinstance(op, (Concat, Permute)):
        return given[op.inputs[0]]
    return op.post.format


def shapes(graph: Graph) -> dict[str, Shape]:
    """Return the shape (H, W, C) of every value by name."""
    found: dict[str, Shape] = {}
    for op in graph.ops:
        found[op.name] = output_shape(op, found)
    return found


def formats(graph: Graph) -> dict[str, Format]:
    """Return the stored format of every value by name."""
    found: dict[str, Format] = {}
    for op in graph.ops:
        found[op.name] = output_format(op, found)
    return found


def pad_values(op: Conv | Pool, channels: int, fmt: Format) -> np.ndarray:
    """Return what padded taps read, int64 (C,): the format's minimum for a maximum pool."""
    if isinstance(op, Pool) and op.kind == "max":
        return np.full(channels, fmt.min, np.int64)
    if op.pad_value is None:
        return np.zeros(channels, np.int64)
    return op.pad_value.astype(np.int64)


def acc_bounds(op: Conv | Pool | Pointwise, fmt: Format, channels: int) -> tuple:
    """Return the least and the greatest accumulator that an operation can make.

    Exact for an output position without padding, and a bound for the others: taps read
    different inputs, each anywhere in its format, and pad values lie in that format too.

    Parameters
    ----------
    op : Conv, Pool or Pointwise
        Operation.
    fmt : Format
        Format of the input.
    channels : int
        Channels of the input.

    Returns
    -------
    low, high : int64 array (O,)
    """
    if isinstance(op, Conv):
        return _conv_bounds(op, op.weight_values, fmt)
    taps = op.kernel[0] * op.kernel[1] if isinstance(op, Pool) and op.kind == "sum" else 1
    return np.full(channels, taps * fmt.min), np.full(channels, taps * fmt.max)


def partial_bounds(op: Conv | Pool | Pointwise, fmt: Format, channels: int) -> tuple:
    """Return bounds that also hold for every partial sum of terms, in any order, from 0.

    As `acc_bounds`, but each digit of a weight counts as a tap of its own.
    """
    if isinstance(op, Conv) and op.sign is not None and op.exponent is not None:
        digits = op.sign.astype(np.int64) << op.exponent.astype(np.int64)
        products = np.stack([digits * fmt.min, digits * fmt.max])
        low, high = products.min(axis=0), products.max(axis=0)
        axes = (0, 2, 3, 4)
        return np.minimum(low, 0).sum(axis=axes), np.maximum(high, 0).sum(axis=axes)
    low, high = acc_bounds(op, fmt, channels)
    return np.minimum(low, 0), np.maximum(high, 0)


def _conv_bounds(op: Conv, weights: np.ndarray, fmt: Format) -> tuple:
    if op.term == "shift":
        products = np.stack([weights * fmt.min, weights * fmt.max])
        low, high = products.min(axis=0), products.max(axis=0)
    else:
        # The farthest input is an end of the range; the nearest is w rounded to the grid of
        # x << ex, inside the range.
        ends = np.array([fmt.min, fmt.max]) << op.ex
        low = -np.abs(weights[..., None] - ends).max(axis=-1)
        below = (weights >> op.ex).clip(fmt.min, fmt.max)
        near = np.stack([below, (below + 1).clip(fmt.min, fmt.max)], axis=-1) << op.ex
        high = -np.abs(weights[..., None] - near).min(axis=-1)
    return low.sum(axis=(1, 2, 3)), high.sum(axis=(1, 2, 3))


def step_bounds(step: Step, low: np.ndarray, high: np.ndarray, residual: Format | None) -> tuple:
    """Return bounds of a step's sum before its right shift (bias and half included).

    Parameters
    ----------
    step : Step
        Step.
    low, high : int64 array (C,)
        Bounds of what the step reads.
    residual : Format or None
        Format of the value added.

    Returns
    -------
    low, high : int64 array (C,)
    """
    base = step.bias + ((np.int64(1) << step.shift.astype(np.int64)) >> 1)
    bounds = [base, base]
    sources = [(step.m, low, high)]
    if residual is not None:
        ends = np.full((2, step.channels), [[residual.min], [residual.max]])
        sources.append((step.r, ends[0], ends[1]))
    for terms, least, most in sources:
        factor = sum((s << e for s, e in terms), start=np.zeros(step.channels, np.int64))
        products = np.stack([factor * least, factor * most])
        bounds = [bounds[0] + products.min(axis=0), bounds[1] + products.max(axis=0)]
    return bounds[0], bounds[1]


def _sum_width(low: np.ndarray, high: np.ndarray) -> int:
    """Return the bits of the signed number that holds a step's bounds, of all channels."""
    return width_of(int(low.min()), int(high.max()))


def sum_widths(
    post: Post, low: np.ndarray, high: np.ndarray, first: Format | None, second: Format | None
) -> list[int]:
    """Return the bits of the sums of every step, from bounds of what the first reads.

    `first` and `second` are the formats of the values that the steps add, if any.
    """
    widths = [_sum_width(*step_bounds(post.first, low, high, first))]
    if post.second is not None:
        ends = np.full((2, post.second.channels), [[post.y_format.min], [post.y_format.max]])
        widths.append(_sum_width(*step_bounds(post.second, ends[0], ends[1], second)))
    return widths


def most_terms(sign: np.ndarray) -> int:
    """Return the most terms of a channel's multiplier, of its signs (T, C)."""
    return int((sign != 0).sum(axis=0).max())


def largest_exponent(step: Step) -> int:
    """Return the largest exponent of the multipliers m of a step."""
    return int(np.where(step.m_sign != 0, step.m_exponent, 0).max())

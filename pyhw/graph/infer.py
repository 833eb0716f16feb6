"""Shapes and formats of a graph's values, and the bounds of post-processing's sums."""


import numpy as np

from pyhw.hdl.formats import Format, width_of

from .ops import Graph, MapType, Shape, Step
from .ops.base import operand_types, types_of
from .post import Post

__all__ = ["Shape", "formats", "largest_exponent", "most_terms", "operand_types", "shapes",
           "step_bounds", "sum_widths", "types", "types_of"]  # fmt: skip


def types(graph: Graph) -> dict[str, MapType]:
    """Return shape and format of every value by name.

    Raises
    ------
    ValueError
        If a kernel is larger than its padded map.
    """
    return types_of(graph.ops)


def shapes(graph: Graph) -> dict[str, Shape]:
    """Return the shape (H, W, C) of every value by name."""
    return {name: value.shape for name, value in types(graph).items()}


def formats(graph: Graph) -> dict[str, Format]:
    """Return the stored format of every value by name."""
    return {name: value.fmt for name, value in types(graph).items()}


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

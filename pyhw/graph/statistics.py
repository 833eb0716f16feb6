"""How much of its format each layer of a graph uses: what makes an equality test mean something."""

import numpy as np

from pyhw.hdl.formats import Format, apply_terms, round_shift

from .execute import run_layers, split_records
from .infer import operand_types, types
from .ops import Graph
from .post import Post, Step

__all__ = ["distinct_and_saturated", "saturated_share", "wanted_distinct"]


def wanted_distinct(fmt: Format) -> int:
    """Return how many distinct values a layer should show: 30, or 3/4 of a format below 5 bits."""
    return 30 if fmt.width >= 5 else (1 << fmt.width) * 3 // 4


def distinct_and_saturated(graph: Graph, images: np.ndarray) -> dict[str, tuple[int, float]]:
    """Measure every layer with post-processing over some images.

    Parameters
    ----------
    graph : Graph
        A graph that keeps the rules.
    images : integer array (N, H, W, C)
        Images.

    Returns
    -------
    dict of str to (int, float)
        By name: the number of distinct stored values, and the share of results, 0 to 1, that a
        step of the layer (the worse of two) had to clamp.
    """
    values, known = run_layers(graph, images), types(graph)
    found = {}
    for op in graph.ops:
        for post in op.posts:
            acc = op.compute(
                tuple(values[name] for name in op.operands), operand_types(op, known)
            )
            share = saturated_share(post, acc, values)
            found[op.name] = (len(np.unique(values[op.name])), share)
    return found


def saturated_share(post: Post, acc: np.ndarray, values: dict[str, np.ndarray]) -> float:
    """Return the share of results that a step clamps, the worse of the two steps.

    Parameters
    ----------
    post : Post
        Post-processing.
    acc : int64 array (N, H, W, C)
        Accumulators.
    values : dict of str to int64 array
        At least the residuals.
    """
    if post.token is not None:
        u = _by_token(acc, values[post.token])
    else:
        u = _before_clamp(post.first, acc, values, post.residual)
    share = _outside(u, post.first.fmt)
    if post.second is not None:
        y = post.first.fmt.clamp(u)
        if post.table is not None:
            y = post.table[y & 0xFF].astype(np.int64)
        z = _before_clamp(post.second, y, values, post.residual2)
        share = max(share, _outside(z, post.second.fmt))
    return share


def _before_clamp(
    step: Step, value: np.ndarray, values: dict[str, np.ndarray], residual: str | None
) -> np.ndarray:
    total = apply_terms(value, step.m) + step.bias
    if residual is not None:
        total = total + apply_terms(values[residual], step.r)
    return np.asarray(round_shift(total, step.shift.astype(np.int64)))


def _by_token(acc: np.ndarray, records: np.ndarray) -> np.ndarray:
    m, bias, shift = np.moveaxis(split_records(records), 2, 0)[..., None]
    total = acc.reshape(len(m), m.shape[1], -1) * m + bias
    return np.asarray(round_shift(total, shift)).reshape(acc.shape)


def _outside(value: np.ndarray, fmt: Format) -> float:
    return float(np.mean((value < fmt.min) | (value > fmt.max)))

"""Windows as index tables, for exports to frameworks that gather better than they slice."""

import numpy as np

from .infer import Shape, output_shape
from .ops import Conv, Pool

__all__ = ["output_blocks", "window_index"]

BLOCK = 1 << 16
"""Most elements per image of an unfolded L1 difference."""


def window_index(op: Conv | Pool, shape: Shape) -> np.ndarray:
    """Return which input position every kernel tap of every output position reads.

    Parameters
    ----------
    op : Conv or Pool
        Operation.
    shape : Shape
        Shape (H, W, C) of its input.

    Returns
    -------
    int64 array (H' * W', KH * KW)
        Position ``row * W + column``; ``H * W`` for a padded tap.
    """
    height, width, _ = shape
    out_height, out_width, _ = output_shape(op, {op.input: shape})
    dilation = op.dilation if isinstance(op, Conv) else (1, 1)
    rows = (
        np.arange(out_height)[:, None] * op.stride[0]
        + np.arange(op.kernel[0])[None] * dilation[0]
        - op.padding[0]
    )[:, None, :, None]
    columns = (
        np.arange(out_width)[:, None] * op.stride[1]
        + np.arange(op.kernel[1])[None] * dilation[1]
        - op.padding[1]
    )[None, :, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = np.where(inside, rows * width + columns, height * width)
    return index.reshape(out_height * out_width, -1)


def output_blocks(op: Conv, positions: int) -> list[slice]:
    """Return slices of each group's output channels whose L1 differences stay small.

    Parameters
    ----------
    op : Conv
        Convolution with L1 terms.
    positions : int
        Output positions.
    """
    per_group, taps = op.out_channels // op.groups, int(np.prod(op.weight_shape[1:]))
    size = max(1, BLOCK // (positions * taps * op.groups))
    return [slice(low, min(low + size, per_group)) for low in range(0, per_group, size)]

"""Windows of a map: as views for the executor, as index tables for exports."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

if TYPE_CHECKING:
    from torch import Tensor

    from .ops.base import MapType, Shape
    from .ops.processed import Windowed

__all__ = ["extent", "output_blocks", "pad_map", "tap", "torch_windows", "window_buffers",
           "window_index"]  # fmt: skip

BLOCK = 1 << 16
"""Most elements per image of an unfolded L1 difference."""


def pad_map(op: "Windowed", x: np.ndarray, fmt: Format) -> np.ndarray:
    """Return a map with its border filled in, in the same dtype.

    Parameters
    ----------
    op : Windowed
        Operation whose padding it is.
    x : integer array (N, H, W, C)
        Stored values.
    fmt : Format
        Their format.

    Returns
    -------
    array (N, H + top + bottom, W + left + right, C)
    """
    top, left, bottom, right = op.padding
    if not any(op.padding):
        return x
    count, height, width, channels = x.shape
    padded = np.empty((count, height + top + bottom, width + left + right, channels), x.dtype)
    padded[:] = op.border_values(channels, fmt)
    padded[:, top : top + height, left : left + width] = x
    return padded


def extent(op: "Windowed", padded: np.ndarray) -> tuple[int, int]:
    """Return output height and width over a map that is padded already."""
    height, width = (
        (size - step * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, step in zip(padded.shape[1:3], op.kernel, op.stride, op.dilation)
    )
    return height, width


def tap(
    op: "Windowed", padded: np.ndarray, ky: int, kx: int, size: tuple[int, int]
) -> np.ndarray:
    """Return a view of what kernel tap (ky, kx) reads at every output position; rows are axis 1."""
    (sy, sx), (height, width) = op.stride, size
    top, left = ky * op.dilation[0], kx * op.dilation[1]
    return padded[
        :, top : top + (height - 1) * sy + 1 : sy, left : left + (width - 1) * sx + 1 : sx
    ]


def window_index(op: "Windowed", shape: "Shape") -> np.ndarray:
    """Return which input position every kernel tap of every output position reads.

    Parameters
    ----------
    op : Windowed
        Operation.
    shape : Shape
        Shape (H, W, C) of its input.

    Returns
    -------
    int64 array (H' * W', KH * KW)
        Position ``row * W + column``; ``H * W`` for a padded tap.
    """
    height, width, _ = shape
    out_height, out_width = op.positions(shape)
    rows = (
        np.arange(out_height)[:, None] * op.stride[0]
        + np.arange(op.kernel[0])[None] * op.dilation[0]
        - op.padding[0]
    )[:, None, :, None]
    columns = (
        np.arange(out_width)[:, None] * op.stride[1]
        + np.arange(op.kernel[1])[None] * op.dilation[1]
        - op.padding[1]
    )[None, :, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = np.where(inside, rows * width + columns, height * width)
    return index.reshape(out_height * out_width, -1)


def window_buffers(op: "Windowed", x: "MapType") -> dict[str, np.ndarray]:
    """Return the arrays that `torch_windows` needs: what taps read, and the border's values."""
    index = window_index(op, x.shape)
    return {"index": index.reshape(-1), "pad": op.border_values(x.channels, x.fmt)}


def torch_windows(
    op: "Windowed", x: "Tensor", buffers: "Mapping[str, Tensor]"
) -> "tuple[Tensor, int, int]":
    """Unfold a tensor (N, H, W, C) to (N, P, KH * KW, C); return it, and rows and columns of P."""
    import torch

    rows, columns = op.positions((x.shape[1], x.shape[2], x.shape[3]))
    tokens = x.flatten(1, 2)  # (N, H * W, C)
    border = buffers["pad"].expand(x.shape[0], 1, -1)
    taps = torch.cat([tokens, border], dim=1).index_select(1, buffers["index"])
    return taps.unflatten(1, (rows * columns, op.kernel[0] * op.kernel[1])), rows, columns


def output_blocks(out_channels: int, groups: int, positions: int, taps: int) -> list[slice]:
    """Return slices of each group's output channels whose unfolded terms stay small.

    Parameters
    ----------
    out_channels, groups : int
        Of the convolution.
    positions : int
        Output positions.
    taps : int
        Weights of an output channel.
    """
    per_group = out_channels // groups
    size = max(1, BLOCK // (positions * taps * groups))
    return [slice(low, min(low + size, per_group)) for low in range(0, per_group, size)]

"""Accumulators of the golden executor: exact sums of terms over windows, on integer arrays.

Positions and channels are blocked so that temporaries stay in the processor's cache.
"""

import numpy as np

from pyhw.hdl.formats import Format, l1_term

from .infer import pad_values
from .ops import Conv, Pool

__all__ = ["accumulate_conv", "accumulate_pool", "pad_map"]

BLOCK = 16384
"""Elements of an L1 temporary: 32 KB of int16, measured best among 4096 to 32768."""
FLUSH = 128
"""L1 terms that an int16 sum holds: 128 * 255 < 2**15."""
COLUMNS = 1 << 19
"""Elements of an unfolded block for a matrix product: 4 MB of float64."""


def pad_map(op: Conv | Pool, x: np.ndarray, fmt: Format) -> np.ndarray:
    """Return a map with its border filled in, in the same dtype.

    Parameters
    ----------
    op : Conv or Pool
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
    padded[:] = pad_values(op, channels, fmt)
    padded[:, top : top + height, left : left + width] = x
    return padded


def _extent(op: Conv | Pool, padded: np.ndarray) -> tuple[int, int]:
    """Output height and width."""
    dilation = op.dilation if isinstance(op, Conv) else (1, 1)
    height, width = (
        (size - step * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, step in zip(padded.shape[1:3], op.kernel, op.stride, dilation)
    )
    return height, width


def _tap(op: Conv | Pool, padded: np.ndarray, ky: int, kx: int, extent: tuple) -> np.ndarray:
    """View of what kernel tap (ky, kx) reads at every output position; rows are axis 1."""
    dilation = op.dilation if isinstance(op, Conv) else (1, 1)
    (sy, sx), (height, width) = op.stride, extent
    top, left = ky * dilation[0], kx * dilation[1]
    return padded[
        :, top : top + (height - 1) * sy + 1 : sy, left : left + (width - 1) * sx + 1 : sx
    ]


def accumulate_conv(op: Conv, x: np.ndarray, fmt: Format) -> np.ndarray:
    """Return the accumulators of a convolution.

    Parameters
    ----------
    op : Conv
        Convolution.
    x : integer array (N, H, W, C)
        Stored values of its input.
    fmt : Format
        Their format.

    Returns
    -------
    int64 array (N, H', W', O)
    """
    padded = pad_map(op, x, fmt)
    return _accumulate_l1(op, padded) if op.term == "l1" else _accumulate_shift(op, padded)


def _accumulate_l1(op: Conv, padded: np.ndarray) -> np.ndarray:
    assert op.weight is not None
    out, in_group = op.out_channels, op.weight_shape[3]
    height, width = extent = _extent(op, padded)
    count, positions = padded.shape[0], height * width
    acc = np.empty((out, count, height, width), np.int64)
    # Channels first, so that a tap of one channel is (nearly) one run of memory. Both operands
    # fit 9 bits after their shifts (a rule of the verifier), so int16 is exact.
    planes = np.ascontiguousarray(np.moveaxis(padded, 3, 0), np.int16)
    per_group = out // op.groups
    images = max(1, BLOCK // (positions * per_group))
    rows = max(1, BLOCK // (positions * min(images, count)))
    for group in range(op.groups):
        inputs = planes[group * in_group : (group + 1) * in_group]
        for first in range(0, count, images):
            block = inputs[:, first : first + images]
            for low in range(group * per_group, (group + 1) * per_group, rows):
                high = min(low + rows, (group + 1) * per_group)
                acc[low:high, first : first + images] = _l1_block(op, block, low, high, extent)
    return np.moveaxis(acc, 0, 3)


def _l1_block(op: Conv, planes: np.ndarray, low: int, high: int, extent: tuple) -> np.ndarray:
    """Sum of L1 terms of output channels low..high-1: int64 (high - low, N, H', W')."""
    assert op.weight is not None
    channels, count = planes.shape[:2]
    size = count * extent[0] * extent[1]
    weight = op.weight[low:high, ..., None]  # (o, KH, KW, c, 1)
    total = np.zeros((high - low, size), np.int64)
    part, taken = np.zeros((high - low, size), np.int16), 0
    for ky in range(op.kernel[0]):
        for kx in range(op.kernel[1]):
            for channel in range(channels):
                taps = _tap(op, planes[channel], ky, kx, extent).reshape(1, size)
                part += l1_term(taps, weight[:, ky, kx, channel], op.ex, op.ew)
                taken += 1
                if taken == FLUSH:
                    total += part
                    part[:], taken = 0, 0
    total += part
    return total.reshape(high - low, count, *extent)


def _accumulate_shift(op: Conv, padded: np.ndarray) -> np.ndarray:
    # A sum of shifted x is x times the sum of the shifts, so the digits of a weight are added
    # first and one matrix product takes the place of the shifts. In double precision it is exact:
    # every partial sum is an integer below 2**53.
    count, channels = padded.shape[0], padded.shape[3]
    height, width = extent = _extent(op, padded)
    kernel, in_group = op.kernel, op.weight_shape[3]
    taps = kernel[0] * kernel[1] * in_group
    values = op.weight_values
    assert taps * int(np.abs(values).max()) * 2**8 < 2**53
    # (O, KH, KW, c) -> (G, KH * KW * c, O / G)
    matrix = values.reshape(op.groups, -1, taps).transpose(0, 2, 1).astype(np.float64)
    acc = np.empty((count, height, width, op.out_channels), np.int64)
    images = max(1, COLUMNS // (height * width * kernel[0] * kernel[1] * channels))
    for first in range(0, count, images):
        block = padded[first : first + images]
        # (N, H', W', KH, KW, C)
        windows = np.empty((len(block), height, width, *kernel, channels), np.float64)
        for ky in range(kernel[0]):
            for kx in range(kernel[1]):
                windows[:, :, :, ky, kx] = _tap(op, block, ky, kx, extent)
        # -> (G, P, KH * KW * c)
        folded = windows.reshape(-1, kernel[0] * kernel[1], op.groups, in_group)
        columns = folded.transpose(2, 0, 1, 3).reshape(op.groups, -1, taps)
        product = np.matmul(columns, matrix).transpose(1, 0, 2)  # (P, G, O / G)
        acc[first : first + images] = product.reshape(len(block), height, width, -1)
    return acc


def accumulate_pool(op: Pool, x: np.ndarray, fmt: Format) -> np.ndarray:
    """Return the sum or the maximum over each window, per channel.

    Parameters
    ----------
    op : Pool
        Pooling.
    x : integer array (N, H, W, C)
        Stored values of its input.
    fmt : Format
        Their format.

    Returns
    -------
    int64 array (N, H', W', C)
    """
    padded = pad_map(op, x, fmt)
    extent = _extent(op, padded)
    join = np.add if op.kind == "sum" else np.maximum
    acc = _tap(op, padded, 0, 0, extent).astype(np.int64)
    for ky in range(op.kernel[0]):
        for kx in range(op.kernel[1]):
            if ky or kx:
                join(acc, _tap(op, padded, ky, kx, extent), out=acc)
    return acc

"""Terms that are a whole multiple of what is read: their sums are products of matrices.

Only software multiplies; an engine adds and shifts.
"""

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

from ..windows import extent, tap
from .base import Bounds, Term

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..ops.conv import Conv

__all__ = ["LinearTerm"]

COLUMNS = 1 << 19
"""Elements of an unfolded block for a matrix product: 4 MB of float64."""


class LinearTerm(Term, ABC):
    """A term whose sums are those of ``x * Conv.weight_values``."""

    def bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return the sums of each weight's least and greatest product."""
        weights = conv.weight_values
        products = np.stack([weights * fmt.min, weights * fmt.max])
        axes = (1, 2, 3)
        return products.min(axis=0).sum(axis=axes), products.max(axis=0).sum(axis=axes)

    def accumulate(self, conv: "Conv", padded: np.ndarray) -> np.ndarray:
        """Sum products, as one product of matrices."""
        # In double precision it is exact: every partial sum is an integer below 2**53.
        count, channels = padded.shape[0], padded.shape[3]
        height, width = size = extent(conv, padded)
        kernel, in_group = conv.kernel, conv.weight_shape[3]
        taps = kernel[0] * kernel[1] * in_group
        values = conv.weight_values
        assert taps * int(np.abs(values).max()) * 2**8 < 2**53
        # (O, KH, KW, c) -> (G, KH * KW * c, O / G)
        matrix = values.reshape(conv.groups, -1, taps).transpose(0, 2, 1).astype(np.float64)
        acc = np.empty((count, height, width, conv.out_channels), np.int64)
        images = max(1, COLUMNS // (height * width * kernel[0] * kernel[1] * channels))
        for first in range(0, count, images):
            block = padded[first : first + images]
            # (N, H', W', KH, KW, C)
            windows = np.empty((len(block), height, width, *kernel, channels), np.float64)
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    windows[:, :, :, ky, kx] = tap(conv, block, ky, kx, size)
            # -> (G, P, KH * KW * c)
            folded = windows.reshape(-1, kernel[0] * kernel[1], conv.groups, in_group)
            columns = folded.transpose(2, 0, 1, 3).reshape(conv.groups, -1, taps)
            product = np.matmul(columns, matrix).transpose(1, 0, 2)  # (P, G, O / G)
            acc[first : first + images] = product.reshape(len(block), height, width, -1)
        return acc

    def accumulate_with(
        self, kernels: "Kernels", conv: "Conv", x: np.ndarray, fmt: Format
    ) -> np.ndarray:
        """Sum products, where weights fit 16 bits and partial sums 32."""

        def fits() -> bool:
            low, high = self.partial_bounds(conv, fmt)
            return _within(conv.weight_values, 16) and _within(low, 32) and _within(high, 32)

        if not kernels.once("fits", conv, fits):
            return super().accumulate_with(kernels, conv, x, fmt)
        return kernels.products(conv, x, fmt)

    def torch_buffers(self, conv: "Conv") -> dict[str, np.ndarray]:
        """Return the weights by group."""
        return {"weight": _by_group(conv)}

    def torch_sums(
        self, conv: "Conv", windows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Multiply matrices of integers."""
        x = windows.transpose(1, 2)  # (N, G, P, K)
        return x.matmul(buffers["weight"]).transpose(1, 2)  # (N, P, G, O / G)

    def onnx_sums(self, builder: "OnnxBuilder", conv: "Conv", windows: str, positions: int) -> str:
        """Multiply matrices of integers."""
        # (N, P, G, 1, K) x (G, K, O / G)
        return builder.node("MatMul", [windows, builder.constant(_by_group(conv))])


def _within(values: np.ndarray, bits: int) -> bool:
    fmt = Format(bits, signed=True)
    return bool(fmt.min <= values.min() and values.max() <= fmt.max)


def _by_group(conv: "Conv") -> np.ndarray:
    """Weights as (G, KH * KW * c, O / G)."""
    weight = conv.weight_values.reshape(conv.groups, conv.out_channels // conv.groups, -1)
    return weight.transpose(0, 2, 1)

"""L1 terms: ``-|(x << ex) - (w << ew)|``.

The executor blocks positions and channels so that temporaries stay in the processor's cache.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format, l1_term

from ..records import frozen_array
from ..rules import require
from ..windows import extent, output_blocks, tap
from .base import Bounds, Term, term
from .pairs import PairTerm

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..ops.base import Counts
    from ..ops.conv import Conv
    from ..ops.matmul import MatMul, Sizes
    from ..random import Draw

__all__ = ["L1"]

BLOCK = 16384
"""Elements of an L1 temporary: 32 KB of int16, measured best among 4096 to 32768."""
FLUSH = 128
"""L1 terms that an int16 sum holds: 128 * 255 < 2**15."""
PAIRS = 1 << 20
"""Most differences of a temporary of two maps."""
CODE_WIDTH = 8
"""Bits of a stored weight."""


class _Distances(PairTerm):
    """``-|x - y|``."""

    def check(self, op: "MatMul", a: Format, b: Format) -> None:
        require(op, a.signed == b.signed, "l1 operands must be both signed or both unsigned")
        require(op, op.digits == 1 and op.code_width is None,
                "l1 must have 1 digit and no code_width")  # fmt: skip

    def bounds(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return -max(abs(a[1] - b[0]), abs(b[1] - a[0])), 0

    def products(self, x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
        x, y = np.ascontiguousarray(x, np.int32), np.ascontiguousarray(y, np.int32)
        *outer, rows, inner = x.shape
        columns = y.shape[-1]
        x, y = x.reshape(-1, rows, inner), y.reshape(-1, inner, columns)
        made = np.zeros((len(x), rows, columns), np.int32)
        block = max(1, PAIRS // (rows * columns))
        for low in range(0, len(x), block):
            part = slice(low, low + block)
            for k in range(inner):
                made[part] -= np.abs(x[part, :, k, None] - y[part, k, None, :])
        return made.reshape(*outer, rows, columns)

    def torch_products(self, x: "Tensor", y: "Tensor") -> "Tensor":
        return -(x.unsqueeze(3) - y.unsqueeze(2)).abs().sum(4)

    def onnx_products(
        self, builder: "OnnxBuilder", x: str, y: str, outer: tuple[int, ...], sizes: "Sizes"
    ) -> str:
        x = builder.reshape(x, *outer, sizes.rows, sizes.inner, 1)
        y = builder.reshape(y, *outer, 1, sizes.inner, sizes.columns)
        far = builder.node("Abs", [builder.node("Sub", [x, y])])
        far = builder.node("ReduceSum", [far, builder.constant([4])], keepdims=0)
        return builder.node("Neg", [far])

    def counts(self, terms: int) -> "Counts":
        from ..ops.base import Counts

        return Counts(terms=terms, kind=L1.name, additions=2 * terms)


@term
class L1(Term):
    """Distances; weights stand in `Conv.weight`, before their shift by `ew`."""

    name, title, pairs = "l1", "L1", _Distances()

    def check_fields(self, conv: "Conv") -> None:
        """Require weights and no powers of two."""
        others = (conv.sign, conv.exponent, conv.code_width)
        if conv.weight is None or any(v is not None for v in others):
            raise ValueError("Conv with term 'l1' must have weight and no shift fields")
        conv._set("weight", frozen_array("Conv", "weight", conv.weight, np.int16, 4))

    def check(self, conv: "Conv", fmt: Format) -> None:
        """Check that both operands fit 8 bits after their shifts."""
        limit = Format(8, fmt.signed)
        require(
            conv,
            0 <= conv.ex <= 7 and 0 <= conv.ew <= 7,
            f"ex and ew must be from 0 to 7, not {conv.ex} and {conv.ew}",
        )
        require(
            conv,
            limit.min <= fmt.min << conv.ex and fmt.max << conv.ex <= limit.max,
            f"x << ex must fit {limit}: {fmt} shifted by {conv.ex} does not",
        )
        low, high = int(conv.weight_values.min()), int(conv.weight_values.max())
        require(
            conv,
            limit.min <= low and high <= limit.max,
            f"w << ew must fit {limit}, the range of x, not {low} to {high}",
        )

    def bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return the sums of each weight's farthest and nearest input."""
        # The farthest input is an end of the range; the nearest is w rounded to the grid of
        # x << ex, inside the range.
        weights = conv.weight_values
        ends = np.array([fmt.min, fmt.max]) << conv.ex
        low = -np.abs(weights[..., None] - ends).max(axis=-1)
        below = (weights >> conv.ex).clip(fmt.min, fmt.max)
        near = np.stack([below, (below + 1).clip(fmt.min, fmt.max)], axis=-1) << conv.ex
        high = -np.abs(weights[..., None] - near).min(axis=-1)
        return low.sum(axis=(1, 2, 3)), high.sum(axis=(1, 2, 3))

    def accumulate(self, conv: "Conv", padded: np.ndarray) -> np.ndarray:
        """Sum distances, tap by tap."""
        out, in_group = conv.out_channels, conv.weight_shape[3]
        height, width = size = extent(conv, padded)
        count, positions = padded.shape[0], height * width
        acc = np.empty((out, count, height, width), np.int64)
        # Channels first, so that a tap of one channel is (nearly) one run of memory. Both operands
        # fit 9 bits after their shifts (a rule of the verifier), so int16 is exact.
        planes = np.ascontiguousarray(np.moveaxis(padded, 3, 0), np.int16)
        per_group = out // conv.groups
        images = max(1, BLOCK // (positions * per_group))
        rows = max(1, BLOCK // (positions * min(images, count)))
        for group in range(conv.groups):
            inputs = planes[group * in_group : (group + 1) * in_group]
            for first in range(0, count, images):
                block = inputs[:, first : first + images]
                for low in range(group * per_group, (group + 1) * per_group, rows):
                    high = min(low + rows, (group + 1) * per_group)
                    acc[low:high, first : first + images] = _block(conv, block, low, high, size)
        return np.moveaxis(acc, 0, 3)

    def accumulate_with(
        self, kernels: "Kernels", conv: "Conv", x: np.ndarray, fmt: Format
    ) -> np.ndarray:
        """Sum distances of bytes."""
        return kernels.distances(conv, x, fmt)

    def torch_buffers(self, conv: "Conv") -> dict[str, np.ndarray]:
        """Return the shifted weights by group."""
        return {"weight": _by_group(conv).astype(np.int32)}

    def torch_sums(
        self, conv: "Conv", windows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Subtract and sum, in blocks of output channels."""
        import torch

        weight = buffers["weight"]  # (G, O / G, K)
        x = windows.to(torch.int32) << conv.ex
        sums = [
            (x[:, :, :, None] - weight[:, block]).abs().sum(-1, dtype=torch.int64)
            for block in _blocks(conv, windows.shape[1])
        ]  # each (N, P, G, o)
        return -torch.cat(sums, dim=3)

    def onnx_sums(self, builder: "OnnxBuilder", conv: "Conv", windows: str, positions: int) -> str:
        """Subtract and sum, in blocks of output channels."""
        weight = _by_group(conv)
        x = builder.node("Mul", [windows, builder.constant(-1 << conv.ex)])
        x = builder.cast(x, "INT32")
        # |-(x << ex) + (w << ew)| over (N, P, G, o, K)
        blocks = []
        for block in _blocks(conv, positions):
            near = builder.node("Add", [x, builder.constant(weight[:, block], np.int32)])
            near = builder.node("Abs", [near])
            blocks.append(builder.node("ReduceSum", [near, builder.constant([-1])], keepdims=0))
        sums = builder.node("Concat", blocks, axis=3)
        return builder.node("Neg", [builder.cast(sums, "INT64")])

    def draw(
        self, draw: "Draw", shape: tuple[int, ...], fmt: Format, make: "Callable[..., Conv]"
    ) -> "Conv | None":
        """Draw Laplacian weights, mostly in the range of the activations."""
        ex = draw.pick(0, 8 - fmt.width)
        limit = Format(max(draw.limits.widths(self.name, 8)), fmt.signed)
        ew = draw.pick(0, 3) if draw.chance(0.3) else 0
        reach = (fmt.max << ex) / (1 << ew)
        middle = 0.0 if fmt.signed else reach * draw.rng.uniform(0, 0.5)
        drawn = np.rint(draw.rng.laplace(middle, max(0.5, reach / 4), shape))
        top = Format(8, fmt.signed)
        low, high = max(limit.min, top.min >> ew), min(limit.max, top.max >> ew)
        weight = drawn.clip(low, high).astype(np.int16)
        if int(np.prod(shape[1:])) * 255 >> draw.limits.acc_width:
            return None
        return make(weight=weight, ex=ex, ew=ew)

    def counts(self, conv: "Conv", positions: int) -> "Counts":
        """Return a difference and a sum for each weight and position."""
        from ..ops.base import Counts

        weights = conv.weight_values.size
        terms = positions * weights
        return Counts(terms=terms, kind=self.name, additions=2 * terms, weights=weights,
                      weight_bits=weights * CODE_WIDTH)  # fmt: skip


def _by_group(conv: "Conv") -> np.ndarray:
    """Weights as (G, O / G, KH * KW * c)."""
    return conv.weight_values.reshape(conv.groups, conv.out_channels // conv.groups, -1)


def _blocks(conv: "Conv", positions: int) -> list[slice]:
    taps = int(np.prod(conv.weight_shape[1:]))
    return output_blocks(conv.out_channels, conv.groups, positions, taps)


def _block(conv: "Conv", planes: np.ndarray, low: int, high: int, extent: tuple) -> np.ndarray:
    """Sum of L1 terms of output channels low..high-1: int64 (high - low, N, H', W')."""
    assert conv.weight is not None
    channels, count = planes.shape[:2]
    size = count * extent[0] * extent[1]
    weight = conv.weight[low:high, ..., None]  # (o, KH, KW, c, 1)
    total = np.zeros((high - low, size), np.int64)
    part, taken = np.zeros((high - low, size), np.int16), 0
    for ky in range(conv.kernel[0]):
        for kx in range(conv.kernel[1]):
            for channel in range(channels):
                taps = tap(conv, planes[channel], ky, kx, extent).reshape(1, size)
                part += l1_term(taps, weight[:, ky, kx, channel], conv.ex, conv.ew)
                taken += 1
                if taken == FLUSH:
                    total += part
                    part[:], taken = 0, 0
    total += part
    return total.reshape(high - low, count, *extent)

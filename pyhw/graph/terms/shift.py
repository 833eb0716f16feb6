"""Shift terms: ``sign * (x << exponent)``, summed over the digits of a weight."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from ..post import freeze_terms
from ..rules import check_terms, require
from ..windows import extent, tap
from .base import Bounds, Term, term

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..ops.base import Counts
    from ..ops.conv import Conv
    from ..random import Draw

__all__ = ["Shift"]

COLUMNS = 1 << 19
"""Elements of an unfolded block for a matrix product: 4 MB of float64."""


@term
class Shift(Term):
    """Sums of signed powers of two; weights stand in `Conv.sign` and `Conv.exponent`."""

    name = "shift"

    def check_fields(self, conv: "Conv") -> None:
        """Require powers of two and their code's width, and no integers."""
        given = (conv.sign, conv.exponent, conv.code_width)
        if conv.weight is not None or any(v is None for v in given):
            raise ValueError(
                "Conv with term 'shift' must have sign, exponent and code_width and no weight"
            )
        freeze_terms(conv, "Conv", "sign", "exponent", 5)

    def check(self, conv: "Conv", fmt: Format) -> None:
        """Check signs, exponents and the prototype."""
        from ..ops.masked_conv import check_prototype

        require(conv, conv.ex == 0 and conv.ew == 0, "ex and ew must be 0 for shift terms")
        require(
            conv,
            conv.code_width in (3, 4, 5),
            f"code_width must be 3, 4 or 5, not {conv.code_width}",
        )
        sign, exponent = _digits(conv)
        assert conv.code_width is not None
        check_terms(conv, "weight", sign, exponent, ShiftCode(conv.code_width).max_exponent)
        if conv.prototype is not None:
            check_prototype(conv)

    def bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return the sums of each weight's least and greatest product."""
        weights = conv.weight_values
        products = np.stack([weights * fmt.min, weights * fmt.max])
        axes = (1, 2, 3)
        return products.min(axis=0).sum(axis=axes), products.max(axis=0).sum(axis=axes)

    def partial_bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return bounds of partial sums, each digit of a weight a tap of its own."""
        sign, exponent = _digits(conv)
        digits = sign.astype(np.int64) << exponent.astype(np.int64)
        products = np.stack([digits * fmt.min, digits * fmt.max])
        low, high = products.min(axis=0), products.max(axis=0)
        axes = (0, 2, 3, 4)
        return np.minimum(low, 0).sum(axis=axes), np.maximum(high, 0).sum(axis=axes)

    def accumulate(self, conv: "Conv", padded: np.ndarray) -> np.ndarray:
        """Sum shifted values, as matrix products."""
        # A sum of shifted x is x times the sum of the shifts, so the digits of a weight are added
        # first and one matrix product takes the place of the shifts. In double precision it is
        # exact: every partial sum is an integer below 2**53.
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
        """Return the digits' sums by group."""
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

    def draw(self, draw: "Draw", shape: tuple[int, ...], fields: dict[str, Any]) -> "Conv | None":
        """Draw weights of 1 to 5 digits, or masked ones, whose partial sums fit."""
        from ..ops.base import MapType
        from ..ops.conv import Conv
        from ..ops.masked_conv import draw_masked

        rng, fmt = draw.rng, draw.types[fields["input"]].fmt
        if draw.limits.masked and draw.chance(0.5):
            return draw_masked(draw, shape, fields)
        digits = draw.pick(1, 5)
        width = int(rng.choice(draw.limits.code_widths))
        sign = rng.choice([-1, 0, 1], (digits, *shape), p=[0.4, 0.2, 0.4])
        for most in range((1 << (width - 1)) - 2, -1, -1):
            exponent = rng.integers(0, most + 1, sign.shape)
            op = Conv(term="shift", sign=sign, exponent=exponent, code_width=width, **fields)
            if draw.fits_accumulator(op.partial_bounds(MapType((1, 1, 1), fmt))):
                return op
        return None

    def counts(self, conv: "Conv", positions: int) -> "Counts":
        """Return a shift and a sum for each digit and position."""
        from ..ops.base import Counts

        weights, width = conv.weight_values.size, conv.code_width or 0
        terms = positions * weights * conv.digits
        found = Counts(terms=terms, kind=self.name, additions=terms, shifts=terms, weights=weights,
                       weight_bits=weights * conv.digits * width)  # fmt: skip
        if conv.prototype is not None:
            found.weight_bits = weights  # a bit each, beside the prototype
            found.shared_bits = {conv.prototype.tobytes(): conv.prototype.size * width}
        return found

    def describe(self, conv: "Conv") -> list[str]:
        """Return digits and their width, and the prototype."""
        parts = [self.name, f"{conv.digits} digit{'s' * (conv.digits > 1)} of "
                 f"{conv.code_width} bits"]  # fmt: skip
        if conv.prototype is not None:
            parts.append(f"masks of {len(conv.prototype)} codes")
        return parts


def _digits(conv: "Conv") -> tuple[np.ndarray, np.ndarray]:
    assert conv.sign is not None
    assert conv.exponent is not None
    return conv.sign, conv.exponent


def _within(values: np.ndarray, bits: int) -> bool:
    fmt = Format(bits, signed=True)
    return bool(fmt.min <= values.min() and values.max() <= fmt.max)


def _by_group(conv: "Conv") -> np.ndarray:
    """Weights as (G, KH * KW * c, O / G)."""
    weight = conv.weight_values.reshape(conv.groups, conv.out_channels // conv.groups, -1)
    return weight.transpose(0, 2, 1)

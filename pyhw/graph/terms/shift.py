"""Shift terms: ``sign * (x << exponent)``, summed over the digits of a weight."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from ..masked import MAX_WEIGHTS, repeat
from ..post import freeze_terms
from ..rules import check_terms, require
from .base import Bounds, term
from .linear import LinearTerm
from .pairs import PairTerm

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..ops.base import Counts
    from ..ops.conv import Conv
    from ..ops.matmul import MatMul, Sizes
    from ..random import Draw

__all__ = ["Shift"]


class _Products(PairTerm):
    """``x * y``, one of them written as signed digits."""

    coded = True

    def check(self, op: "MatMul", a: Format, b: Format) -> None:
        require(op, op.code_width in (3, 4, 5),
                f"code_width must be 3, 4 or 5, not {op.code_width}")  # fmt: skip

    def largest_exponent(self, code_width: int) -> int:
        return int(ShiftCode(code_width).max_exponent)

    def bounds(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        products = [x * y for x in a for y in b]
        return min(products), max(products)

    def products(self, x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
        # Floating point is exact: every partial sum is an integer below 2**24 or 2**53.
        dtype = np.float32 if most < 1 << 24 else np.float64
        return np.asarray(np.matmul(np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype)))

    def torch_products(self, x: "Tensor", y: "Tensor") -> "Tensor":
        return x.matmul(y.transpose(2, 3))

    def onnx_products(
        self, builder: "OnnxBuilder", x: str, y: str, outer: tuple[int, ...], sizes: "Sizes"
    ) -> str:
        return builder.node("MatMul", [x, y])

    def counts(self, terms: int) -> "Counts":
        from ..ops.base import Counts

        return Counts(terms=terms, kind=Shift.name, additions=terms, shifts=terms)


@term
class Shift(LinearTerm):
    """Sums of signed powers of two; weights stand in `Conv.sign` and `Conv.exponent`."""

    name, masked, pairs = "shift", True, _Products()

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
            self._check_prototype(conv, conv.prototype, sign[0], exponent[0])

    def _check_prototype(
        self, conv: "Conv", prototype: np.ndarray, sign: np.ndarray, exponent: np.ndarray
    ) -> None:
        """Check that the weights of a masked convolution are those of its prototype, or 0."""
        require(
            conv,
            1 <= len(prototype) <= MAX_WEIGHTS and sign.size <= MAX_WEIGHTS,
            f"a masked layer must have at most {MAX_WEIGHTS} weights and 1 to {MAX_WEIGHTS} "
            f"prototype codes, not {sign.size} and {len(prototype)}",
        )
        try:
            whole = self.expand(prototype, conv.code_width or 0, conv.weight_shape)
        except ValueError as error:
            raise ValueError(f"Operation {conv.name!r}: {error}") from None
        kept = sign != 0
        require(
            conv,
            not kept.any()
            or (np.array_equal(sign[kept], whole[0][kept])
                and np.array_equal(exponent[kept], whole[1][kept])),
            "every weight of a masked layer must be 0 or its prototype's, in the order "
            "(o, c, ky, kx)",
        )

    def partial_bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return bounds of partial sums, each digit of a weight a tap of its own."""
        sign, exponent = _digits(conv)
        digits = sign.astype(np.int64) << exponent.astype(np.int64)
        products = np.stack([digits * fmt.min, digits * fmt.max])
        low, high = products.min(axis=0), products.max(axis=0)
        axes = (0, 2, 3, 4)
        return np.minimum(low, 0).sum(axis=axes), np.maximum(high, 0).sum(axis=axes)

    def draw(
        self, draw: "Draw", shape: tuple[int, ...], fmt: Format, make: "Callable[..., Conv]"
    ) -> "Conv | None":
        """Draw weights of 1 to 5 digits, or masked ones, whose partial sums fit."""
        rng = draw.rng
        if draw.limits.masked and draw.chance(0.5):
            return self._draw_masked(draw, shape, fmt, make)
        digits = draw.pick(1, 5)
        width = int(rng.choice(draw.limits.widths(self.name, 3, 4, 5)))
        sign = rng.choice([-1, 0, 1], (digits, *shape), p=[0.4, 0.2, 0.4])
        for most in range((1 << (width - 1)) - 2, -1, -1):
            exponent = rng.integers(0, most + 1, sign.shape)
            op = make(sign=sign, exponent=exponent, code_width=width)
            if draw.fits_accumulator(self.partial_bounds(op, fmt)):
                return op
        return None

    def _draw_masked(
        self, draw: "Draw", shape: tuple[int, ...], fmt: Format, make: "Callable[..., Conv]"
    ) -> "Conv | None":
        """Draw a prototype, shorter than the layer or as long or longer, and a mask."""
        rng = draw.rng
        width = int(rng.choice(draw.limits.widths(self.name, 3, 4, 5)))
        if draw.chance(0.8):
            make = partial(make, pad_value=None)  # weights with pad values are not expanded
        count = int(np.prod(shape))
        size = count + draw.pick(0, 20) if draw.chance(0.2) else draw.pick(1, min(count, 80))
        kept = rng.random(shape) < rng.uniform(0.3, 0.9)
        negative = rng.integers(0, 2, size) << (width - 1)
        for most in range(ShiftCode(width).max_exponent, -1, -1):
            prototype = negative | rng.integers(0, most + 1, size)
            sign, exponent = self.expand(prototype, width, shape)  # type: ignore[arg-type]
            op = make(sign=(sign * kept)[None], exponent=(exponent * kept)[None],
                      code_width=width, prototype=prototype)  # fmt: skip
            if draw.fits_accumulator(self.partial_bounds(op, fmt)):
                return op
        return None

    def expand(
        self, prototype: np.ndarray, code_width: int, shape: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sign and exponent (int8, `shape`) of all weights, as if no mask left one out.

        Parameters
        ----------
        prototype : int array (d,)
            Shift codes.
        code_width : int
            Bits of a code.
        shape : (int, int, int, int)
            O, KH, KW, C / groups.

        Raises
        ------
        ValueError
            If one of them is no code of that width.
        """
        code = ShiftCode(code_width)
        low, high = int(prototype.min(initial=0)), int(prototype.max(initial=0))
        if low < 0 or high > 2 * code.zero or (prototype == 2 * code.zero + 1).any():
            raise ValueError(f"prototype codes must be from 0 to {2 * code.zero}, codes of "
                             f"{code_width} bits, not {low} to {high}")  # fmt: skip
        zero = prototype == code.zero
        sign = np.where(zero, 0, np.where(prototype > code.zero, -1, 1)).astype(np.int8)
        exponent = np.where(zero, 0, prototype & code.zero).astype(np.int8)
        return repeat(sign, shape), repeat(exponent, shape)

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

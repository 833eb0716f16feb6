"""Products of two maps, and distances between them: what attention is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyhw.hdl.tokens import digits_of

from ..post import Post
from ..rules import MAX_KERNEL, MAX_SIDE, require
from ..terms import TERMS, PairTerm, coded_term, term_of
from .base import Counts, MapType, Operation, operation
from .processed import check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["MatMul"]

FORMS = ("nt", "nn", "tn")


@dataclass(frozen=True)
class Sizes:
    """One head of one slice: (rows, inner) times (inner, columns)."""

    rows: int
    inner: int
    columns: int


@operation("matmul")
@dataclass(frozen=True, eq=False, kw_only=True)
class MatMul(Operation):
    """Per slice of tokens and head, ``acc[p, q] = sum over k of term(X[p, k], Y[k, q])``.

    The positions of a map count row by row and fall into `slices` equal runs, its channels into
    `heads` equal blocks; position i and channel c below are those inside a slice and a head.

    =====  =========================================  ======================================
    form   accumulator                                value, a map (H, W, C)
    =====  =========================================  ======================================
    nt     ``acc[i, j] = sum_c t(a[i, c], b[j, c])``  a's H and W; heads * (b's slice) channels
    nn     ``acc[i, c] = sum_j t(a[i, j], b[j, c])``  a's H and W; b's channels
    tn     ``acc[c, d] = sum_i t(a[i, c], b[i, d])``  slices, a's channels of a head; b's channels
    =====  =========================================  ======================================

    Parameters
    ----------
    name, a, b : str
    form : {'nt', 'nn', 'tn'}
    post : Post
        Its steps' channels are those of the value.
    heads, slices : int
    term : str
        Name of a term that has `Term.pairs`: ``'shift'`` is ``x * y``, ``'l1'`` is ``-|x - y|``.
    coded : {'a', 'b'}
        The operand that is written as signed digits; no result depends on it.
    digits : int
        Most digits of one of its values; 1 for l1.
    code_width : int or None
        Bits of a digit's code (`pyhw.hdl.formats.ShiftCode`); None for l1.
    """

    since: ClassVar[int] = 4
    name: str
    a: str
    b: str
    form: str
    post: Post
    heads: int = 1
    slices: int = 1
    term: str = field(default_factory=coded_term)
    coded: str = "b"
    digits: int = 4
    code_width: int | None = 5

    def __post_init__(self) -> None:
        terms = tuple(name for name, known in TERMS.items() if known.pairs is not None)
        for name, known in (("form", FORMS), ("term", terms), ("coded", ("a", "b"))):
            if getattr(self, name) not in known:
                raise ValueError(f"MatMul.{name} must be one of {', '.join(known)}, "
                                 f"not {getattr(self, name)!r}")  # fmt: skip

    @property
    def pairs(self) -> PairTerm:
        """What the term makes of two maps."""
        found = term_of(self.term).pairs
        assert found is not None
        return found

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: both operands, then residuals and records of tokens."""
        return (self.a, self.b, *self.post.reads)

    @property
    def operands(self) -> tuple[str, ...]:
        """Both."""
        return (self.a, self.b)

    @property
    def posts(self) -> tuple[Post, ...]:
        """The post-processing."""
        return (self.post,)

    def sizes(self, a: MapType, b: MapType) -> Sizes:
        """Return rows, inner and columns of a head and slice."""
        (tokens_a, channels_a), (tokens_b, channels_b) = self._parts(a), self._parts(b)
        if self.form == "nt":
            return Sizes(tokens_a, channels_a, tokens_b)
        if self.form == "nn":
            return Sizes(tokens_a, channels_a, channels_b)
        return Sizes(channels_a, tokens_a, channels_b)

    def _parts(self, x: MapType) -> tuple[int, int]:
        return x.shape[0] * x.shape[1] // self.slices, x.channels // self.heads

    def infer(self, *operands: MapType) -> MapType:
        """Return the table's shape."""
        a, b = operands
        sizes = self.sizes(a, b)
        height, width = (self.slices, sizes.rows) if self.form == "tn" else a.shape[:2]
        shape = height, width, self.heads * sizes.columns
        return MapType(shape, self.post.format, self.post.values)

    def check_fields(self, *operands: MapType) -> None:
        """Check heads, slices, digits and that the inner sides agree."""
        require(self, 1 <= self.heads <= MAX_SIDE and 1 <= self.slices <= MAX_SIDE,
                f"heads and slices must be from 1 to {MAX_SIDE}, not {self.heads}, {self.slices}")
        for name, x in zip(("a", "b"), operands):
            height, width, channels = x.shape
            require(self, channels % self.heads == 0,
                    f"the {self.heads} heads must divide the {channels} channels of {name}")
            require(self, height * width % self.slices == 0,
                    f"the {self.slices} slices must divide the {height * width} tokens of {name}")
        (tokens_a, channels_a), (tokens_b, channels_b) = map(self._parts, operands)
        ours, theirs, text = {
            "nt": (channels_a, channels_b, "channels of a head of a and of b"),
            "nn": (channels_a, tokens_b, "channels of a head of a and tokens of a slice of b"),
            "tn": (tokens_a, tokens_b, "tokens of a slice of a and of b"),
        }[self.form]
        require(self, ours == theirs, f"{text} must be as many, not {ours} and {theirs}")

    def check_operands(self, *operands: MapType) -> None:
        """Check formats, and that every value of the coded operand has so few digits."""
        for x in operands:
            check_narrow(self, x)
        a, b = operands
        self.pairs.check(self, a.fmt, b.fmt)
        if not self.pairs.coded:
            return
        require(self, 1 <= self.digits <= MAX_KERNEL,
                f"digits must be from 1 to {MAX_KERNEL}, not {self.digits}")  # fmt: skip
        needed = max(len(digits) for digits in self._coded_digits(*operands))
        require(self, needed <= self.digits,
                f"a value of {getattr(self, self.coded)!r} takes {needed} digits of "
                f"{self.code_width} bits, more than {self.digits}")  # fmt: skip

    def _coded_digits(self, a: MapType, b: MapType) -> list[tuple[tuple[int, int], ...]]:
        assert self.code_width is not None
        most = self.pairs.largest_exponent(self.code_width)
        return [digits_of(value, most) for value in possible(a if self.coded == "a" else b)]

    def acc_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the inner side times the least and greatest term."""
        (a_low, a_high), (b_low, b_high) = ((min(v), max(v)) for v in map(possible, operands))
        ends = self.pairs.bounds((a_low, a_high), (b_low, b_high))
        return self._all_channels([*ends], operands)

    def partial_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds of sums of some terms: each digit of a value is a term of its own."""
        if not self.pairs.coded:
            return super().partial_bounds(*operands)
        other = possible(operands[1 if self.coded == "a" else 0])
        ends = [0, 0]
        for digits in self._coded_digits(*operands):
            products = [[s * (x << e) for s, e in digits] for x in (min(other), max(other))]
            ends[0] = min([ends[0], *(sum(min(p, 0) for p in part) for part in products)])
            ends[1] = max([ends[1], *(sum(max(p, 0) for p in part) for part in products)])
        return self._all_channels(ends, operands)

    def _all_channels(
        self, ends: list[int], operands: tuple[MapType, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        sizes = self.sizes(*operands)
        low, high = (np.full(self.heads * sizes.columns, sizes.inner * end) for end in ends)
        return low, high

    # Meaning -----------------------------------------------------------------------------------

    def _sides(self, a: MapType, b: MapType) -> tuple[list[int], list[int], Sizes]:
        """Return both operands' (slices, tokens, heads, channels), and the sizes of a product."""
        sides = [
            [self.slices, tokens, self.heads, channels]
            for tokens, channels in (self._parts(a), self._parts(b))
        ]
        return sides[0], sides[1], self.sizes(a, b)

    @property
    def _orders(self) -> tuple[list[int], list[int]]:
        """Axes of (N, slices, tokens, heads, channels) as (N, slices, heads, rows, columns)."""
        tokens_first, channels_first = [0, 1, 3, 2, 4], [0, 1, 3, 4, 2]
        a = channels_first if self.form == "tn" else tokens_first
        b = channels_first if self.form == "nt" else tokens_first
        return a, b

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Multiply matrices, or sum distances, per slice and head."""
        a, b = operands
        side_a, side_b, sizes = self._sides(a, b)
        low, high = self.acc_bounds(a, b)
        most = max(-int(low[0]), int(high[0]))
        count = len(values[0])
        x, y = (
            value.reshape(count, *side).transpose(order)
            for value, side, order in zip(values, (side_a, side_b), self._orders)
        )
        product = self.pairs.products(x, y, most)
        # (N, slices, heads, rows, columns) to (N, slices, rows, heads, columns)
        made = product.transpose(0, 1, 3, 2, 4).astype(np.int64)
        height, width = (self.slices, sizes.rows) if self.form == "tn" else a.shape[:2]
        return made.reshape(count, height, width, self.heads * sizes.columns)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Multiply integers and sum them, one head after the other."""
        import torch

        a, b = (x.flatten(1, 2).unflatten(1, (self.slices, -1)) for x in tensors)
        heads = []
        for x, y in zip(a.chunk(self.heads, 3), b.chunk(self.heads, 3)):  # (N, slices, tokens, c)
            x = x.transpose(2, 3) if self.form == "tn" else x
            y = y if self.form == "nt" else y.transpose(2, 3)  # (N, slices, columns, inner)
            heads.append(self.pairs.torch_products(x, y))
        made = torch.cat(heads, dim=3)  # (N, slices, rows, heads * columns)
        if self.form == "tn":
            return made
        return made.flatten(1, 2).unflatten(1, tuple(tensors[0].shape[1:3]))

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Multiply matrices of integers, or sum distances."""
        a, b = (builder.types[name] for name in self.operands)
        side_a, side_b, sizes = self._sides(a, b)
        x, y = (
            builder.node("Transpose", [builder.reshape(tensor, *side)], perm=order)
            for tensor, side, order in zip(operands, (side_a, side_b), self._orders)
        )
        product = self.pairs.onnx_products(builder, x, y, (self.slices, self.heads), sizes)
        moved = builder.node("Transpose", [product], perm=[0, 1, 3, 2, 4])
        return builder.reshape(moved, *builder.types[self.name].shape)

    # Tables ------------------------------------------------------------------------------------

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return a term for each digit of every product."""
        sizes = self.sizes(*operands)
        terms = self.slices * self.heads * sizes.rows * sizes.inner * sizes.columns * self.digits
        return self.pairs.counts(terms)

    def describe(self, *operands: MapType) -> str:
        """Return operands, form, term, heads and slices."""
        text = f"matmul {self.form} {self.a} {self.b}, {self.term}"
        if self.pairs.coded:
            text += f", {self.digits} digit{'s' * (self.digits > 1)} of {self.coded}"
        text += f", {self.heads} heads" * (self.heads > 1)
        return text + f", {self.slices} slices" * (self.slices > 1)


def possible(x: MapType) -> tuple[int, ...]:
    """Return all values that a narrow map can hold."""
    return x.values or tuple(range(x.fmt.min, x.fmt.max + 1))

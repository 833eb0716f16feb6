"""Kinds of statistics: what a row of values becomes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.hdl.signed_digits import signed_digits
from pyhw.hdl.tokens import PRECISION, largest_shift, reciprocal_table, root_table

from ..lookup import looked_up, onnx_looked_up, torch_looked_up
from .base import MapType, RecordType

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from .stats import Stats

__all__ = ["KINDS", "Kind"]

Arrays = tuple[np.ndarray, ...]


class Kind(ABC):
    """What a kind of statistics does with rows (..., C); `op` says with which numbers."""

    def table(self, op: "Stats") -> tuple[int, ...] | None:
        """Return the multipliers that are looked up; None if none are."""
        return None

    @abstractmethod
    def largest(self, op: "Stats", x: MapType) -> int:
        """Return the largest statistic that a row can have."""

    @abstractmethod
    def bounds(self, op: "Stats", x: MapType) -> RecordType:
        """Return bounds of the records."""

    @abstractmethod
    def compute(self, op: "Stats", rows: np.ndarray) -> Arrays:
        """Return m, B and S of rows (R, C), each (R,) or less."""

    @abstractmethod
    def torch(
        self, op: "Stats", rows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "tuple[Tensor, ...]":
        """Return m, B and S of rows (..., C), each (...) or less."""

    @abstractmethod
    def onnx(self, op: "Stats", builder: "OnnxBuilder", rows: str, count: int) -> list[str]:
        """Return m, B and S of rows (N, P, heads, C), each (N, P, heads, 1)."""

    @abstractmethod
    def work(self, op: "Stats", count: int, fmt: Format) -> tuple[int, int, int, int]:
        """Return values read, additions, shifts and look-ups of a row of C values."""


class Norm(Kind):
    """Layer and L2 norms: ``v = C s2 - s1^2``, the reciprocal of its root by table."""

    def __init__(self, centred: bool) -> None:
        self.centred = centred

    def table(self, op: "Stats") -> tuple[int, ...]:
        """Return the roots."""
        return root_table(op.terms)

    def largest(self, op: "Stats", x: MapType) -> int:
        """Return the variance of values half of which lie at either end, or the mean square."""
        low, high = ends(x)
        if self.centred:
            largest = op.row(x) ** 2 * (high - low) ** 2 // 4
        else:
            largest = op.row(x) ** 2 * max(low * low, high * high)
        return max(largest, op.floor)

    def bounds(self, op: "Stats", x: MapType) -> RecordType:
        """Bound the bias by a row of the largest values."""
        low, high = ends(x)
        count, most = op.row(x), max(self.table(op))
        bias = (min(0, -most * count * high), max(0, -most * count * low))
        return RecordType(
            heads=op.heads, terms=op.terms, gain=count, multiplier=count * most,
            bias=bias if self.centred else (0, 0),
            shift=largest_shift(self.largest(op, x), True, op.fraction),
        )  # fmt: skip

    def compute(self, op: "Stats", rows: np.ndarray) -> Arrays:
        """Sum, normalise by the exponent of a double, look up."""
        rows, count = rows.astype(np.int64, copy=False), rows.shape[1]
        total = rows.sum(axis=1) if self.centred else np.zeros(len(rows), np.int64)
        spread = count * np.einsum("rc,rc->r", rows, rows) - total * total
        m, exponent = looked_up(np.maximum(spread, op.floor), self.table(op), even=True)
        return count * m, -m * total, PRECISION + (exponent >> 1) - op.fraction

    def torch(
        self, op: "Stats", rows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "tuple[Tensor, ...]":
        """Subtract the mean before squares are summed: ``C v = sum (C x - s1)^2``."""
        import torch

        count = rows.shape[4]
        total = rows.sum(4) if self.centred else torch.zeros_like(rows[..., 0])
        spread = (rows * (count * rows - total.unsqueeze(4))).sum(4)  # C s2 - s1 s1
        m, exponent = torch_looked_up(spread.clamp(min=op.floor), buffers, even=True)
        return count * m, -m * total, PRECISION - op.fraction + exponent // 2

    def onnx(self, op: "Stats", builder: "OnnxBuilder", rows: str, count: int) -> list[str]:
        """Sum in integers."""
        squares = builder.node("Mul", [rows, rows])
        spread = builder.node("ReduceSum", [squares, builder.constant([3])])
        spread = builder.node("Mul", [spread, builder.constant(count)])
        total = builder.node("ReduceSum", [rows, builder.constant([3])])
        if self.centred:
            spread = builder.node("Sub", [spread, builder.node("Mul", [total, total])])
        m, exponent = onnx_looked_up(builder, spread, op.floor, self.table(op), even=True)
        bias = builder.node("Mul", [total, m])
        bias = builder.node("Mul", [bias, builder.constant(-1 if self.centred else 0)])
        half = builder.node("Div", [exponent, builder.constant(2)])  # of an even number
        shift = builder.node("Add", [half, builder.constant(PRECISION - op.fraction)])
        return [builder.node("Mul", [m, builder.constant(count)]), bias, shift]

    def work(self, op: "Stats", count: int, fmt: Format) -> tuple[int, int, int, int]:
        """Count s1 and s2, then C s2, s1^2 and B by shifts and additions."""
        gain = len(signed_digits(count, 30))  # of C s2
        square = fmt.width + count.bit_length() if self.centred else 0
        once = gain + square + (op.terms if self.centred else 0)
        # A square is one look-up for 8 bits, three and three additions for more.
        squares = 1 if fmt.width <= 8 else 3
        additions = count * (1 + self.centred + (0 if squares == 1 else 3)) + once
        return count, additions, once, count * squares + 1


class Maximum(Kind):
    """The greatest value, rounded up to whole octaves, is taken off."""

    def largest(self, op: "Stats", x: MapType) -> int:
        """Return the greatest value's size."""
        return max(map(abs, ends(x)))

    def bounds(self, op: "Stats", x: MapType) -> RecordType:
        """Bound the bias by the ends of the operand, rounded up."""
        low, high = (-(-end >> op.fraction) << op.fraction for end in ends(x))
        return RecordType(heads=op.heads, terms=1, multiplier=1, bias=(-high, -low), shift=0)

    def compute(self, op: "Stats", rows: np.ndarray) -> Arrays:
        """Compare."""
        top = rows.max(axis=1).astype(np.int64)
        zero = np.zeros_like(top)
        return zero + 1, (-top >> op.fraction) << op.fraction, zero

    def torch(
        self, op: "Stats", rows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "tuple[Tensor, ...]":
        """Divide with the floor."""
        import torch

        bias = torch.div(-rows.amax(4), 1 << op.fraction, rounding_mode="floor") << op.fraction
        return torch.ones_like(bias), bias, torch.zeros_like(bias)

    def onnx(self, op: "Stats", builder: "OnnxBuilder", rows: str, count: int) -> list[str]:
        """Divide with the floor, in double precision."""
        top = builder.node("ReduceMax", [builder.cast(rows, "DOUBLE")], axes=[3], keepdims=1)
        unit = float(1 << op.fraction)
        steps = builder.node("Mul", [top, builder.constant(-1 / unit, float)])
        steps = builder.node("Mul", [builder.node("Floor", [steps]), builder.constant(unit, float)])
        bias = builder.cast(steps, "INT64")
        zero = builder.node("Mul", [bias, builder.constant(0)])
        return [builder.node("Add", [zero, builder.constant(1)]), bias, zero]

    def work(self, op: "Stats", count: int, fmt: Format) -> tuple[int, int, int, int]:
        """Count comparisons as additions."""
        return count, count + 1, 0, 0


class Total(Kind):
    """The reciprocal of the sum, by table."""

    def table(self, op: "Stats") -> tuple[int, ...]:
        """Return the reciprocals."""
        return reciprocal_table(op.terms)

    def largest(self, op: "Stats", x: MapType) -> int:
        """Return the sum of a row of the greatest value."""
        return max(op.row(x) * ends(x)[1], op.floor)

    def bounds(self, op: "Stats", x: MapType) -> RecordType:
        """Bound the shift by the largest sum."""
        return RecordType(
            heads=op.heads, terms=op.terms, multiplier=max(self.table(op)), bias=(0, 0),
            shift=largest_shift(self.largest(op, x), False, op.fraction),
        )  # fmt: skip

    def compute(self, op: "Stats", rows: np.ndarray) -> Arrays:
        """Sum, normalise, look up."""
        total = np.maximum(rows.sum(axis=1, dtype=np.int64), op.floor)
        m, exponent = looked_up(total, self.table(op), even=False)
        return m, np.zeros_like(m), PRECISION + exponent - op.fraction

    def torch(
        self, op: "Stats", rows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "tuple[Tensor, ...]":
        """Sum, normalise, look up."""
        import torch

        m, exponent = torch_looked_up(rows.sum(4).clamp(min=op.floor), buffers, even=False)
        return m, torch.zeros_like(m), exponent + PRECISION - op.fraction

    def onnx(self, op: "Stats", builder: "OnnxBuilder", rows: str, count: int) -> list[str]:
        """Sum, normalise, look up."""
        total = builder.node("ReduceSum", [rows, builder.constant([3])])
        m, exponent = onnx_looked_up(builder, total, op.floor, self.table(op), even=False)
        shift = builder.node("Add", [exponent, builder.constant(PRECISION - op.fraction)])
        return [m, builder.node("Mul", [m, builder.constant(0)]), shift]

    def work(self, op: "Stats", count: int, fmt: Format) -> tuple[int, int, int, int]:
        """Count the sum."""
        return count, count, 0, 1


KINDS: dict[str, Kind] = {
    "layer": Norm(centred=True), "l2": Norm(centred=False), "max": Maximum(), "sum": Total(),
}  # fmt: skip
"""Kinds of statistics by name."""


def ends(x: MapType) -> tuple[int, int]:
    """Return the least and the greatest value that a map can hold."""
    values = x.values or (x.fmt.min, x.fmt.max)
    return min(values), max(values)

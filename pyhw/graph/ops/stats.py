"""Statistics of tokens: records that post-processing takes in place of a channel's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyhw.hdl.formats import MAX_SHIFT, Format
from pyhw.hdl.tokens import FRACTION, MAX_STATISTIC

from ..rules import MAX_SIDE, require
from .base import Counts, MapType, RecordType, Unary, operation
from .stats_kinds import KINDS

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Stats"]

RECORD = Format(32, True)
"""Format of a record's numbers in the executor's maps; hardware packs them by their bounds."""
MAX_TERMS = 4
"""Most signed powers of two in a multiplier."""


@operation("stats")
@dataclass(frozen=True, eq=False, kw_only=True)
class Stats(Unary):
    """One record (m, B, S) for each token and head, of the C values of its row.

    Its value has a position for each token and, for each head, three channels: m, B, S.
    ``docs/transformers.md`` has the arithmetic, `pyhw.hdl.tokens` the same in Python.

    Parameters
    ----------
    name, input : str
    kind : str
        One of `pyhw.graph.ops.stats_kinds.KINDS`: ``'layer'`` takes mean and deviation off,
        ``'l2'`` the root of the mean square, ``'max'`` the greatest value, ``'sum'`` divides by
        the sum.
    heads : int
        Rows of a token: equal blocks of its channels.
    terms : int
        Signed powers of two of m, 1 to 4; 1 for 'max'.
    fraction : int
        Binary places of the result, 0 to 8; of 'max': the maximum is rounded up to a multiple of
        ``2**fraction`` (an octave of the scores), 0 to 8.
    floor : int
        Least variance v of 'layer' and 'l2', least sum of 'sum'; 1 for 'max'.
    """

    since: ClassVar[int] = 4
    name: str
    input: str
    kind: str
    heads: int = 1
    terms: int = 3
    fraction: int = 0
    floor: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Stats.kind must be one of {', '.join(KINDS)}, not {self.kind!r}")

    def infer(self, *operands: MapType) -> MapType:
        """Return three channels for each head."""
        height, width, _ = operands[0].shape
        shape = height, width, self.heads * RecordType.FIELDS
        return MapType(shape, RECORD, records=KINDS[self.kind].bounds(self, operands[0]))

    def row(self, x: MapType) -> int:
        """Return the values of a row."""
        return x.channels // self.heads

    def check_fields(self, *operands: MapType) -> None:
        """Check heads, terms and places."""
        channels = operands[0].channels
        require(self, 1 <= self.heads <= MAX_SIDE and channels % self.heads == 0,
                f"heads must divide the {channels} channels, not {self.heads}")  # fmt: skip
        most = 1 if self.kind == "max" else MAX_TERMS
        require(self, 1 <= self.terms <= most, f"terms must be from 1 to {most}, not {self.terms}")
        require(self, 0 <= self.fraction <= FRACTION,
                f"fraction must be from 0 to {FRACTION}, not {self.fraction}")  # fmt: skip
        limit = 2 if self.kind == "max" else MAX_STATISTIC
        require(self, 1 <= self.floor < min(limit, 1 << 31),
                f"floor must be from 1 to below {min(limit, 1 << 31)}, not {self.floor}")

    def check_operands(self, *operands: MapType) -> None:
        """Check formats, and that sums, biases and shifts fit what holds them."""
        (x,) = operands
        require(self, 2 <= x.fmt.width <= 16, f"input must be 2 to 16 bits wide, not {x.fmt}")
        require(self, self.kind != "sum" or not x.fmt.signed,
                f"a sum must be of unsigned values, not {x.fmt}")  # fmt: skip
        most = KINDS[self.kind].largest(self, x)
        require(self, most < MAX_STATISTIC,
                f"the statistic of {self.row(x)} values of {x.fmt} must be below 2^52")  # fmt: skip
        found = KINDS[self.kind].bounds(self, x)
        low, high = found.bias
        require(self, RECORD.min <= low and high <= RECORD.max,
                f"the bias of {self.row(x)} values of {x.fmt} must fit 32 bits, "
                f"not {low} to {high}")  # fmt: skip
        require(self, found.shift <= MAX_SHIFT,
                f"the shift must be at most {MAX_SHIFT}, not {found.shift}: take a fraction that "
                f"is larger by {found.shift - MAX_SHIFT} or narrower inputs")  # fmt: skip

    def per_token(self, *operands: MapType) -> bool:
        """Return that it works on positions alone."""
        return True

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return the records."""
        count, height, width, channels = values[0].shape
        rows = values[0].reshape(-1, channels // self.heads)
        records = KINDS[self.kind].compute(self, rows)
        made = np.stack(np.broadcast_arrays(*records), axis=1).astype(np.int64)
        return made.reshape(count, height, width, -1)

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return the table and the powers of two."""
        table = KINDS[self.kind].table(self)
        return {} if table is None else {
            "table": np.array(table), "powers": np.int64(1) << np.arange(52)}  # fmt: skip

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Count powers of two instead of asking for a leading one."""
        import torch

        rows = tensors[0].unflatten(3, (self.heads, -1))  # (N, H, W, heads, C)
        records = KINDS[self.kind].torch(self, rows, buffers)
        return torch.stack(torch.broadcast_tensors(*records), dim=4).flatten(3, 4)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Compare with powers of two, in double precision."""
        height, width, channels = builder.types[self.name].shape
        row = builder.types[self.input].channels // self.heads
        rows = builder.reshape(operands[0], height * width, self.heads, row)
        records = KINDS[self.kind].onnx(self, builder, rows, row)
        # Every part is (N, P, heads, 1); the first one has the batch's size.
        made = builder.node("Concat", records, axis=3)
        return builder.reshape(made, height, width, channels)

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return what `KINDS` says of a row, for all rows."""
        (x,) = operands
        rows = x.shape[0] * x.shape[1] * self.heads
        terms, additions, shifts, lookups = KINDS[self.kind].work(self, self.row(x), x.fmt)
        return Counts(terms=rows * terms, kind="statistics", additions=rows * additions,
                      shifts=rows * shifts, lookups=rows * lookups)  # fmt: skip

    def describe(self, *operands: MapType) -> str:
        """Return kind, operand and heads."""
        return f"stats {self.kind} {self.input}" + f", {self.heads} heads" * (self.heads > 1)

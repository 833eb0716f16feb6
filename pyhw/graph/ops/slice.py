"""A part of a map."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..records import int_tuple
from ..rules import require
from .base import MapType, Unary, operation

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Slice"]


@operation("slice")
@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Unary):
    """The rows, columns and channels from `start` to before `stop`.

    Parameters
    ----------
    name, input : str
    start, stop : (int, int, int)
        Row, column and channel; 0 <= start < stop.
    """

    since: ClassVar[int] = 4
    name: str
    input: str
    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    def __post_init__(self) -> None:
        self._set("start", int_tuple("Slice", "start", self.start, 3))
        self._set("stop", int_tuple("Slice", "stop", self.stop, 3))

    def infer(self, *operands: MapType) -> MapType:
        """Return the part's shape."""
        height, width, channels = (b - a for a, b in zip(self.start, self.stop))
        return replace(operands[0], shape=(height, width, channels))

    def check_fields(self, *operands: MapType) -> None:
        """Check that the part lies in the map."""
        shape = operands[0].shape
        require(self, all(0 <= a < b <= n for a, b, n in zip(self.start, self.stop, shape)),
                f"start {self.start} to stop {self.stop} must lie in the map {shape}")  # fmt: skip

    def check_operands(self, *operands: MapType) -> None:
        """Take every format."""

    def per_token(self, *operands: MapType) -> bool:
        """Return whether it takes all positions."""
        return self.start[:2] == (0, 0) and self.stop[:2] == operands[0].shape[:2]

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Take the part."""
        rows, columns, channels = map(slice, self.start, self.stop)
        return values[0][:, rows, columns, channels]

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Take the part."""
        part = tensors[0]
        for axis, (start, stop) in enumerate(zip(self.start, self.stop), 1):
            part = part.narrow(axis, start, stop - start)
        return part

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Take the part."""
        ends = [builder.constant(part) for part in (self.start, self.stop, (1, 2, 3))]
        return builder.node("Slice", [operands[0], *ends])

    def describe(self, *operands: MapType) -> str:
        """Return what is taken."""
        parts = [f"{a}..{b - 1}" for a, b, n in zip(self.start, self.stop, operands[0].shape)
                 if (a, b) != (0, n)]  # fmt: skip
        return " ".join(["slice", self.input, *parts])

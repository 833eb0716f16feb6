"""A map that is there from the start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyhw.hdl.formats import Format

from ..records import frozen_array
from ..rules import MAX_SIDE, require
from .base import Counts, MapType, Operation, operation

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Constant"]


@operation("constant")
@dataclass(frozen=True, eq=False, kw_only=True)
class Constant(Operation):
    """The same map for every image, such as position embeddings: stored once, read as any map.

    Parameters
    ----------
    name : str
    values : int16 array (H, W, C)
    fmt : Format
        Of the values, 2 to 16 bits.
    """

    since: ClassVar[int] = 4
    constant: ClassVar[bool] = True
    name: str
    values: np.ndarray
    fmt: Format

    def __post_init__(self) -> None:
        self._set("values", frozen_array("Constant", "values", self.values, np.int32, 3))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: none."""
        return ()

    def infer(self, *operands: MapType) -> MapType:
        """Return the values' shape and format."""
        height, width, channels = self.values.shape
        return MapType((height, width, channels), self.fmt)

    def check_fields(self, *operands: MapType) -> None:
        """Check the shape."""
        require(self, all(1 <= side <= MAX_SIDE for side in self.values.shape),
                f"values must have three sides from 1 to {MAX_SIDE}, not {self.values.shape}")

    def check_operands(self, *operands: MapType) -> None:
        """Check that the format holds the values."""
        require(self, 2 <= self.fmt.width <= 16, f"must be 2 to 16 bits wide, not {self.fmt}")
        low, high = int(self.values.min()), int(self.values.max())
        require(self, self.fmt.min <= low and high <= self.fmt.max,
                f"values must be in the format {self.fmt}, not {low} to {high}")  # fmt: skip

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return the map once for every image, of which an executor gives the batch."""
        return np.broadcast_to(self.values.astype(np.int64), (len(values[0]), *self.values.shape))

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return the map."""
        return {"values": self.values.astype(np.int64)}

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Return the map once for every image."""
        return buffers["values"].expand(tensors[0].shape[0], -1, -1, -1)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Return the map once for every image."""
        shape = builder.node("Shape", operands, start=0, end=1)
        shape = builder.node("Concat", [shape, builder.constant([1, 1, 1])], axis=0)
        return builder.node("Expand", [builder.constant(self.values[None]), shape])

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return its values as weights that are read."""
        return Counts(weights=self.values.size, weight_bits=8 * self.fmt.bytes * self.values.size)

    def describe(self, *operands: MapType) -> str:
        """Return its name."""
        return "constant"

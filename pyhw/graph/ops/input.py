"""The images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

from ..records import int_tuple
from ..rules import MAX_SIDE, require
from .base import MapType, Operation, operation
from .processed import check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Input"]


@operation("input")
@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Operation):
    """The images: a map of `shape` (H, W, C) in format `fmt`; the first operation of a graph."""

    name: str
    shape: tuple[int, int, int]
    fmt: Format

    def __post_init__(self) -> None:
        self._set("shape", int_tuple("Input", "shape", self.shape, 3))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: none."""
        return ()

    def infer(self, *operands: MapType) -> MapType:
        """Return what the record says."""
        return MapType(self.shape, self.fmt)

    def check_fields(self, *operands: MapType) -> None:
        """Check the shape."""
        require(
            self,
            all(1 <= side <= MAX_SIDE for side in self.shape),
            f"shape must be three integers from 1 to {MAX_SIDE}, not {self.shape}",
        )

    def check_operands(self, *operands: MapType) -> None:
        """Check the images' format."""
        check_narrow(self, MapType(self.shape, self.fmt))

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return the images, which an executor gives as the one value."""
        return values[0].astype(np.int64)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Return the images as int64."""
        return tensors[0].long()

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Cast the images, which have the input's name."""
        return builder.cast(operands[0], "INT64")

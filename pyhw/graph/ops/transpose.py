"""Positions become channels, and channels positions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import MapType, Unary, operation

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Transpose"]


@operation("transpose")
@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Unary):
    """Token-last copy of a channel-last map: ``out[0, c, p] = x[p, c]``.

    p counts the positions of x row by row; a map (H, W, C) becomes (1, C, H * W).
    """

    since: ClassVar[int] = 4
    name: str
    input: str

    def infer(self, *operands: MapType) -> MapType:
        """Return channels as positions and positions as channels."""
        height, width, channels = operands[0].shape
        return replace(operands[0], shape=(1, channels, height * width))

    def check_operands(self, *operands: MapType) -> None:
        """Take every format."""

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Exchange the axes."""
        count, height, width, channels = values[0].shape
        tokens = values[0].reshape(count, 1, height * width, channels)
        return np.ascontiguousarray(tokens.transpose(0, 1, 3, 2))

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Exchange the axes."""
        return tensors[0].permute(0, 3, 1, 2).flatten(2, 3).unsqueeze(1)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Exchange the axes."""
        _, channels, positions = builder.types[self.name].shape
        moved = builder.node("Transpose", [operands[0]], perm=[0, 3, 1, 2])
        return builder.reshape(moved, 1, channels, positions)

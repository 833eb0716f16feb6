"""Positions in another order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..records import frozen_array
from ..rules import require
from .base import MapType, Unary, operation
from .processed import check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["Permute"]


@operation("permute")
@dataclass(frozen=True, eq=False, kw_only=True)
class Permute(Unary):
    """A permutation of positions: output position p is input position ``index[p]``.

    Positions count row by row; `index` is an int32 array (H * W,).
    """

    name: str
    input: str
    index: np.ndarray

    def __post_init__(self) -> None:
        self._set("index", frozen_array("Permute", "index", self.index, np.int32, 1))

    def infer(self, *operands: MapType) -> MapType:
        """Return the operand's own shape and format."""
        return operands[0]

    def check_fields(self, *operands: MapType) -> None:
        """Check that the index is a permutation."""
        height, width, _ = operands[0].shape
        require(
            self,
            np.array_equal(np.sort(self.index), np.arange(height * width)),
            f"index must hold every position of the {height}x{width} map once",
        )

    def check_operands(self, *operands: MapType) -> None:
        """Check the format."""
        check_narrow(self, operands[0])

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Gather positions."""
        x = values[0]
        count, height, width, channels = x.shape
        return x.reshape(count, height * width, channels)[:, self.index].reshape(x.shape)

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return the index."""
        return {"index": self.index.astype(np.int64)}

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Gather positions."""
        tokens = tensors[0].flatten(1, 2)  # (N, H * W, C)
        return tokens.index_select(1, buffers["index"]).reshape(tensors[0].shape)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Gather positions."""
        height, width, channels = builder.types[self.name].shape
        tokens = builder.reshape(operands[0], height * width, channels)
        found = builder.node("Gather", [tokens, builder.constant(self.index)], axis=1)
        return builder.reshape(found, height, width, channels)

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """A few, where allowed."""
        return 0.06 * limits.permute

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Permute":
        """Shuffle positions."""
        height, width, _ = draw.types[last].shape
        return cls(name=name, input=last, index=draw.rng.permutation(height * width))

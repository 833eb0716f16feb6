"""Post-processing alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..post import DUMMY, Post
from ..rules import require
from .base import MapType, operation
from .processed import Processed, check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["Pointwise"]


@operation("pointwise")
@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Processed):
    """Post-processing alone: the accumulator is the stored value of `input`."""

    name: str
    input: str
    post: Post

    def infer(self, *operands: MapType) -> MapType:
        """Return the operand's shape in the format of the post-processing."""
        return self.stores(*operands[0].shape)

    def per_token(self, *operands: MapType) -> bool:
        """Return that it works on positions alone."""
        return True

    def check_operands(self, *operands: MapType) -> None:
        """Check the format, and that a wide map leaves the residual's place free."""
        check_narrow(self, operands[0], 16)
        require(
            self,
            operands[0].fmt.width <= 8 or self.post.residual is None,
            "an input of more than 8 bits takes the residual's place in the first step",
        )

    def acc_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the operand's format."""
        fmt, channels = operands[0].fmt, operands[0].channels
        return np.full(channels, fmt.min), np.full(channels, fmt.max)

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return the operand."""
        return values[0].astype(np.int64)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Return the operand."""
        return tensors[0]

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Return the operand."""
        return operands[0]

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """A tenth, where allowed."""
        return 0.1 * limits.pointwise

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Pointwise":
        """Draw one; everything of it is in the post-processing."""
        return cls(name=name, input=last, post=DUMMY)

    def describe(self, *operands: MapType) -> str:
        """Return its name."""
        return "pointwise"

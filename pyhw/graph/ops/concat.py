"""Channels of several maps, one behind the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..rules import require
from .base import MapType, Operation, operation

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["Concat"]


@operation("concat")
@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Operation):
    """The channels of several values of one height, width and format, in order."""

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        names: object = self.inputs
        if isinstance(names, str):
            raise TypeError(f"Concat.inputs must be a sequence of names, not {names!r}")
        self._set("inputs", tuple(self.inputs))

    def infer(self, *operands: MapType) -> MapType:
        """Return the first operand's height, width and format, and all channels."""
        height, width, _ = operands[0].shape
        return MapType((height, width, sum(x.channels for x in operands)), operands[0].fmt)

    def per_token(self, *operands: MapType) -> bool:
        """Return that it works on positions alone."""
        return True

    def check_operands(self, *operands: MapType) -> None:
        """Check that sides and formats agree."""
        sides = sorted({x.shape[:2] for x in operands})
        require(self, len(sides) == 1, f"inputs must have one height and width, not {sides}")
        found = sorted({str(x.fmt) for x in operands})
        require(self, len(found) == 1, f"inputs must have one format, not {', '.join(found)}")

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Join the channels."""
        return np.concatenate(values, axis=3)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Join the channels."""
        import torch

        return torch.cat(tensors, dim=3)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Join the channels."""
        return builder.node("Concat", operands, axis=3)

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """A fifth, where allowed."""
        return 0.2 * limits.concat

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Concat | None":
        """Join the last value with an earlier one, in either order."""
        here = draw.types[last]
        like = [
            op.name for op in draw.ops[:-1]
            if draw.types[op.name].shape[:2] == here.shape[:2]
            and draw.types[op.name].fmt == here.fmt
            and draw.types[op.name].channels + here.channels <= draw.limits.max_channels
        ]  # fmt: skip
        if not like:
            return None
        both = [last, str(draw.rng.choice(like))]
        return cls(name=name, inputs=tuple(both if draw.chance(0.5) else both[::-1]))

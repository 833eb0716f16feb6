"""Adder weights: on the grid of what they are compared with, clipped to its range exactly."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

from ..settings import Settings
from ..stage import Stage
from ..weights import adder_weights
from .base import Quantised, WeightForm, weight_form

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..fake import FakeValue

__all__ = ["Distances"]


@weight_form
class Distances(WeightForm):
    """Weights of adder layers."""

    name = "adder"
    compares = True

    def convolve(self, stage: Stage, x: "Tensor", weight: "Tensor") -> "Tensor":
        """Sum L1 distances."""
        from pyhw.nn.functional import adder_conv2d

        return adder_conv2d(x, weight, stage.stride, 0, stage.dilation, stage.groups)

    def quantise(
        self, stage: Stage, scale: float, fmt: Format, wanted: float, bits: int, settings: Settings
    ) -> Quantised:
        """Round to the grid; what clipping takes is a constant, which calibration corrects."""
        assert stage.weight is not None
        made = adder_weights(stage.weight, scale, fmt, bits)
        return Quantised(
            fields={"term": "l1", "weight": made.weight, "ex": made.ex, "ew": made.ew},
            slope=np.full(stage.channels, made.step),
        )

    def rounded(self, stage: Stage, scale: float, fmt: Format, bits: int, digits: int) -> Stage:
        """Return rounded weights; what clipping takes goes into the bias."""
        assert stage.weight is not None
        made = adder_weights(stage.weight, scale, fmt, bits)
        bias = made.constant * made.step
        return replace(stage, weight=(made.weight << made.ew) * made.step,
                       bias=bias + (0 if stage.bias is None else stage.bias))  # fmt: skip

    def fake(
        self, stage: Stage, bits: int, settings: Settings, read: "FakeValue"
    ) -> "nn.Module | None":
        """Round on the way to the grid of what is read."""
        from ..fake import FakeAdderWeight

        return FakeAdderWeight(bits, read)

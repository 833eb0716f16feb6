"""Ordinary weights: integers of a few signed digits, a scale for each output channel."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

from ..affine import snap
from ..settings import Settings
from ..stage import Stage
from ..weights import CODE_WIDTH, digit_grid, digits_of, fit_scales, round_to
from .base import Quantised, WeightForm, weight_form

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..fake import FakeValue

__all__ = ["Products"]


@weight_form
class Products(WeightForm):
    """Weights of ordinary convolutions and linear layers."""

    name = "conv"
    wide_at_edges = True
    linear = True

    def convolve(self, stage: Stage, x: "Tensor", weight: "Tensor") -> "Tensor":
        """Sum products."""
        from torch.nn import functional as F

        return F.conv2d(
            x, weight, stride=stage.stride, dilation=stage.dilation, groups=stage.groups
        )

    def quantise(
        self, stage: Stage, scale: float, fmt: Format, wanted: float, bits: int, settings: Settings
    ) -> Quantised:
        """Round to digits, scaled so that the multiplier m is exact."""
        assert stage.weight is not None
        grid, allowed = digit_grid(bits, settings.digits), settings.multipliers
        steps = fit_scales(stage.weight, grid)
        gains = stage.first.gain(stage.channels) * steps * scale / wanted
        steps = steps * np.array([snap(v, allowed) / v if v else 1.0 for v in gains.tolist()])
        sign, exponent = digits_of(round_to(stage.weight / steps[:, None, None, None], grid))
        return Quantised(
            fields={"term": "shift", "sign": sign, "exponent": exponent, "code_width": CODE_WIDTH},
            slope=steps * scale,
            digits=len(sign),
        )

    def rounded(self, stage: Stage, scale: float, fmt: Format, bits: int, digits: int) -> Stage:
        """Return rounded weights."""
        assert stage.weight is not None
        grid = digit_grid(bits, digits)
        steps = fit_scales(stage.weight, grid)[:, None, None, None]
        return replace(stage, weight=round_to(stage.weight / steps, grid) * steps)

    def fake(
        self, stage: Stage, bits: int, settings: Settings, read: "FakeValue"
    ) -> "nn.Module | None":
        """Round on the way to digits."""
        from ..fake import FakeWeight

        return FakeWeight(bits, settings.digits, stage.channels)

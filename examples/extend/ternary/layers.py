"""Training: layers whose weights round to -1, 0 or 1 times a scale of each output channel.

Source: Li, Zhang, Liu, "Ternary Weight Networks", 2016, equations 3 and 6: the threshold is 0.7 of
the mean magnitude, the scale the mean magnitude of the weights above it. Gradients pass the
rounding as if it were not there (straight-through).
"""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.nn.kinds import Counts, Kind, LayerClass, kind, layer_class, plain
from pyhw.quantizer.forms import Quantised, weight_form
from pyhw.quantizer.forms.products import Products

THRESHOLD = 0.7


class TernaryWeight:
    """What both layers have in common; `weight` is what is trained."""

    weight: Tensor

    def ternary(self) -> Tensor:
        """Return the weights that activations meet."""
        flat = self.weight.flatten(1)  # (O, K)
        size = flat.abs()
        kept = (size > THRESHOLD * size.mean(1, keepdim=True)).to(flat.dtype)
        scale = (size * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
        rounded = (flat.sign() * kept * scale).view_as(self.weight)
        return self.weight + (rounded - self.weight).detach()


class TernaryConv2d(TernaryWeight, nn.Conv2d):
    """A convolution with ternary weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O, H', W')."""
        return self._conv_forward(x, self.ternary(), self.bias)


class TernaryLinear(TernaryWeight, nn.Linear):
    """A linear layer with ternary weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O)."""
        return F.linear(x, self.ternary(), self.bias)


@weight_form
class TernaryForm(Products):
    """How the quantiser takes such weights: as they are, their scale into the multiplier."""

    name = "ternary"
    wide_at_edges = False
    linear = False  # a scale of an input channel would leave no ternary weights

    def quantise(self, stage, scale, fmt, wanted, bits, settings):
        """Return the signs, and what 1 of each output channel stands for."""
        size = np.abs(stage.weight).max(axis=(1, 2, 3))
        signs = np.sign(stage.weight).astype(np.int16)
        return Quantised(fields={"term": "ternary", "weight": signs},
                         slope=np.where(size > 0, size, 1.0) * scale)

    def rounded(self, stage, scale, fmt, bits, digits):
        """Return the stage: nothing is to be rounded."""
        return stage

    def fake(self, stage, bits, settings, read):
        """Nothing is to be rounded in training for the quantiser either."""
        return None


layer_class(LayerClass(
    classes=(TernaryConv2d, TernaryLinear), form="ternary",
    weight=lambda layer: layer.ternary(), counts=lambda layer, pairs: Counts(additions=pairs)))
kind(Kind(name="ternary", conv=plain(TernaryConv2d), linear=plain(TernaryLinear), epochs=200,
          recipe={"lr": 0.05, "weight_decay": 1e-4}))

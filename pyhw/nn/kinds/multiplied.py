"""Ordinary layers, with products: what others replace and are compared with."""

import math
from typing import Any

import torch
from torch import nn

from .base import Counts, Kind, LayerClass, kind, layer_class, plain

__all__ = ["gaussian"]


def gaussian(shape: tuple[int, ...]) -> torch.Tensor:
    """Draw weights as those of a trained CNN are distributed (Kaiming's deviation)."""
    return torch.randn(shape) * math.sqrt(2 / math.prod(shape[1:]))


def _draw(layer: Any) -> None:
    layer.weight.copy_(gaussian(tuple(layer.weight.shape)))


layer_class(LayerClass(
    classes=(nn.Conv2d, nn.Linear), form="conv", multiplies=True, draw=_draw,
    weight=lambda layer: layer.weight, counts=lambda layer, pairs: Counts(products=pairs),
))  # fmt: skip
# The CNN is trained as AdderNet is, to compare.
kind(Kind(name="conv", conv=plain(nn.Conv2d), linear=plain(nn.Linear), epochs=400))

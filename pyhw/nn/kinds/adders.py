"""AdderNet: layers of L1 distances."""

from typing import Any

import torch

from pyhw.nn.adder import AdderConv2d, AdderLinear

from .base import Counts, Kind, LayerClass, Rename, Source, kind, layer_class, with_options

__all__: list[str] = []

SCALE = 0.55
"""Scale of the Laplacian of drawn weights: of 270,896 draws the largest is then about 7, which is
the published range of trained weights."""


def _draw(layer: Any) -> None:
    laplacian = torch.distributions.Laplace(0.0, SCALE)
    layer.weight.copy_(laplacian.sample(layer.weight.shape))


layer_class(LayerClass(
    classes=(AdderConv2d, AdderLinear), form="adder", exact_sums=True, draw=_draw,
    weight=lambda layer: layer.weight, counts=lambda layer, pairs: Counts(differences=pairs),
    increased=lambda layer: (layer.weight,),
))  # fmt: skip
# AdderNet (CVPR 2020), section 4.1: the recipe that others change.
kind(Kind(
    name="adder", edge="conv", epochs=400, options=("gradient", "eta", "increase", "teacher"),
    conv=with_options(AdderConv2d, "eta", "gradient"),
    linear=with_options(AdderLinear, "eta", "gradient"),
    # huawei-noah/AdderNet: adder2d keeps its weight as `adder`; ResNet names are torchvision's.
    sources={"addernet": Source(
        ops="adder", renames=(Rename(r"\.adder$", ".weight"),), normalised=("cifar10", "imagenet"),
    )},
))  # fmt: skip

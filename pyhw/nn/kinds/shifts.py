"""DeepShift: weights are sums of powers of two; and coded layers of one's own."""

from typing import Any

from torch import nn

from pyhw.nn.coded import CodedWeight
from pyhw.nn.options import LayerOptions
from pyhw.nn.shift import ShiftConv2d, ShiftLinear
from pyhw.nn.shiftadd import start

from .base import Counts, Kind, LayerClass, Make, Source, kind, layer_class
from .multiplied import gaussian

__all__ = ["coded_counts", "shift_layers"]


def coded_counts(layer: Any, pairs: int) -> Counts:
    """Count a shift for each power of two of a weight."""
    return Counts(shifts=pairs * getattr(layer, "terms", 1))


def shift_layers(layer: Make, mode: str) -> Make:
    """Return a maker of shift layers of a mode, ``ps`` or ``q``."""

    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        named |= {name: getattr(options, name) for name in ("bits", "terms", "low")}
        made: Any = layer(*sizes, **named, mode=mode)
        start(made, options.frozen, options.prune)
        return made

    return make


def _draw(layer: Any) -> None:
    if isinstance(layer, ShiftConv2d):  # linear ones start as published
        layer.load_weight(gaussian(layer.weight_shape))


def _take_over(new: Any, old: Any, underflow: str) -> str:
    if new.frozen:
        return "fresh weights"
    new.load_weight(old.weight.detach(), underflow)
    if new.bias is not None:
        new.bias.data.copy_(old.bias.detach())
    return "weights rounded to powers of two"


_CODED: dict[str, Any] = {
    "form": "coded", "subclasses": True, "counts": coded_counts,
    "weight": lambda layer: layer.effective_weight(),
}  # fmt: skip
layer_class(LayerClass(classes=(CodedWeight,), **_CODED))  # type: ignore[arg-type]
layer_class(LayerClass(
    classes=(ShiftConv2d, ShiftLinear), **_CODED, take_over=_take_over,
    latents=lambda layer: (layer.shift, layer.sign) if layer.mode == "ps" else (),
    draw=_draw,
))  # fmt: skip
# DeepShift (CVPRW 2021): PS does not train with plain SGD. The published rate, 0.01, is for 200
# epochs: after six on MNIST it is behind 0.1 by 0.7 points (Q) and more (PS).
kind(Kind(
    name="shift-ps", conv=shift_layers(ShiftConv2d, "ps"), linear=shift_layers(ShiftLinear, "ps"),
    recipe={"optimizer": "radam", "weight_decay": 1e-4}, options=("bits", "terms", "low"),
))  # fmt: skip
kind(Kind(
    name="shift-q", conv=shift_layers(ShiftConv2d, "q"), linear=shift_layers(ShiftLinear, "q"),
    recipe={"weight_decay": 1e-4}, options=("bits", "terms", "low"),
    # mostafaelhoushi/DeepShift: PS keeps latent shift and sign, Q a float weight.
    # Its CIFAR networks have shortcuts without weights, its ImageNet ones are torchvision's.
    sources={"deepshift": Source(
        ops="shift-q", markers=((r"\.shift$", "shift-ps", ""),),
        networks=(
            (r"^linear\.", {f"resnet{depth}": f"resnet{depth}-a" for depth in (18, 20, 32)}),
            (r"^fc\.", {"resnet18": "resnet18-fc", "resnet50": "resnet50-fc"}),
        ),
        normalised=("mnist", "cifar10", "imagenet"),
    )},
))  # fmt: skip

"""ShiftAddNet: a shift layer and an adder layer in a row."""

from functools import partial

from pyhw.nn.shift import ShiftConv2d, ShiftLinear
from pyhw.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear

from .base import Kind, Rename, Source, kind, with_options
from .shifts import shift_layers

__all__: list[str] = []

_OPTIONS = ("bits", "terms", "low", "frozen", "prune", "gradient", "eta")
_NESTED = r"\.downsample\.0\.0\."

# ShiftAddNet (NeurIPS 2020) trains with SGD and steps at 80 and 120 of 160 epochs. Its shift layers
# are DeepShift-PS's, and want what those want: after six epochs on MNIST 98.8 % instead of 95.9 %.
kind(Kind(
    name="shiftadd", edge="shiftadd-edge", epochs=160,
    conv=with_options(ShiftAddConv2d, *_OPTIONS), linear=with_options(ShiftAddLinear, *_OPTIONS),
    recipe={"optimizer": "radam", "weight_decay": 1e-4}, options=(*_OPTIONS, "increase"),
    # GATECH-EIC/ShiftAddNet: a cascade is a Sequential of shift (0) and adder (1); older files
    # call the adder's tensor `weight`. The cascade of a downsample path is nested in its ResNet-18,
    # -34 and -50 only. Its ResNet-18 has a 1x1 convolution in place of each block's first.
    sources={"shiftaddnet": Source(
        ops="shiftadd",
        renames=(
            Rename(r"\.adder$", ".weight"),
            Rename(r"\.downsample\.([01])\.", r".downsample.0.\1.", _NESTED),
            Rename(r"\.downsample\.2\.", ".downsample.1.", _NESTED),
        ),
        ignored=(r"\.quantize_input_fw\.", r"\.(p|s|mask)$"),
        markers=((r"\.mask$", "shiftadd", "frozen"),),
        networks=((r"^layer1\.0\.conv1\.", {"resnet18": "resnet18-1x1"}),),
        normalised=("mnist", "cifar10", "imagenet"),
    )},
))  # fmt: skip
kind(Kind(
    name="shiftadd-edge", asked=False, linear=shift_layers(ShiftLinear, "ps"),
    conv=shift_layers(partial(ShiftConv2d, first=None), "ps"),  # as ShiftAddNet starts them
))  # fmt: skip

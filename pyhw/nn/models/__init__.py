"""Networks by name, each from any kind of layers.

Their `forward` can be traced by `torch.fx`, which is how the quantiser reads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from pyhw.nn.attention import FORMS
from pyhw.nn.kinds import OPS
from pyhw.nn.models.convmixer import ConvMixer
from pyhw.nn.models.deit import DeiT
from pyhw.nn.models.digits import DigitsConv, DigitsLinear
from pyhw.nn.models.ds_cnn import DSCNN
from pyhw.nn.models.lenet import LeNet1, LeNet5
from pyhw.nn.models.pvt import PVT, PVTSizes, PVTv2
from pyhw.nn.models.resnet import (
    BasicBlock,
    Bottleneck,
    ImageResNet,
    PointwiseBlock,
    SmallResNet,
)
from pyhw.nn.models.resnet_a import PlainResNet
from pyhw.nn.models.sret import SReT, SReTSizes
from pyhw.nn.models.vgg import VGG19Small, VGGSmall
from pyhw.nn.options import LayerOptions

__all__ = ["MODELS", "OPS", "ConvMixer", "DSCNN", "DeiT", "ImageResNet", "LeNet1", "LeNet5",
           "Network", "PVT", "PVTSizes", "PVTv2", "PlainResNet", "SReT", "SReTSizes",
           "SmallResNet", "VGG19Small", "VGGSmall", "build_model", "network_options"]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network that can be built by name.

    Attributes
    ----------
    build : callable
        Takes `ops`, `classes` and `layers` by name.
    input_shape : (int, int, int)
        Channels, height and width of an image, pixels scaled to 0..1.
    classes : int
        Outputs unless told otherwise.
    kinds : tuple of str
        Kinds of layers that it can have, the usual one first.
    options : tuple of str
        Options of `LayerOptions` that only some networks read, this one among them.
    attention : tuple of str
        Forms of attention that it can have; see `LayerOptions`.
    recipe : dict
        What its recipe changes of the data set's and the kind's, by data set; ``""`` for all.
    theirs : bool
        It is here for checkpoints of a reference implementation.
    """

    build: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]
    classes: int = 10
    kinds: tuple[str, ...] = ("adder", *(name for name in OPS if name != "adder"))
    options: tuple[str, ...] = ()
    attention: tuple[str, ...] = ("softmax",)
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    theirs: bool = False


MNIST, CIFAR, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)

WITHOUT_NORM = ("conv", "shift-ps", "shift-q")
"""Kinds of layers that want no batch norm after each, as those of transformers have none."""
DEIT = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 5.0, "smoothing": 0.1}
"""Recipe of transformers: Touvron et al., "Training data-efficient image transformers", 2021."""

SMALL: dict[str, dict[str, Any]] = {
    "": {**DEIT, "lr": 2e-3},
    "digits": {"epochs": 40, "batch": 32},
    "mnist": {"epochs": 15, "batch": 128},
    "cifar10": {"epochs": 100, "batch": 128},
}
"""The same for small images, where training is short."""

_SRET_T = SReTSizes(
    channels=(64, 128, 256), heads=(2, 4, 8), blocks=(2, 5, 3),
    slices=((8, 2), (4, 1), (1, 1)), hidden=3.6,
)  # fmt: skip
_SRET_S = replace(
    _SRET_T, channels=(126, 252, 504), heads=(3, 6, 12), hidden=3.0, projection=2.0
)
_SRET_MNIST = SReTSizes(
    channels=(32, 64), heads=(1, 2), blocks=(1, 1), slices=((7, 7), (1, 1)), hidden=2.0,
    stem=(2, 2), side=28,
)  # fmt: skip
_SRET_CIFAR = SReTSizes(
    channels=(32, 64, 128), heads=(1, 2, 4), blocks=(1, 2, 1), slices=((4, 1), (2, 1), (1, 1)),
    hidden=3.0, stem=(1, 2, 1), side=32,
)  # fmt: skip
SRETS = (
    ("sret-t", _SRET_T, IMAGENET, 1000, {"": DEIT}),
    ("sret-lt", replace(_SRET_T, hidden=4.0), IMAGENET, 1000, {"": DEIT}),
    ("sret-s", _SRET_S, IMAGENET, 1000, {"": DEIT}),
    ("sret-cifar", _SRET_CIFAR, CIFAR, 10, SMALL),
    ("sret-mnist", _SRET_MNIST, MNIST, 10, SMALL),
)
_PVT_B0 = PVTSizes(
    channels=(32, 64, 160, 256), heads=(1, 2, 5, 8), hidden=(8, 8, 4, 4), blocks=(2, 2, 2, 2)
)
_PVT_B1 = replace(_PVT_B0, channels=(64, 128, 320, 512))
_PVT_CIFAR = PVTSizes(
    channels=(32, 64, 128), heads=(1, 2, 4), hidden=(4, 4, 4), blocks=(1, 2, 1), ratios=(0, 0, 0),
    kernels=(3, 3, 3), strides=(2, 2, 2), last=False, along_tokens=False, side=32,
)  # fmt: skip
_PVT_MNIST = PVTSizes(
    channels=(32, 64), heads=(1, 2), hidden=(4, 4), blocks=(1, 1), ratios=(0, 0),
    kernels=(7, 3), strides=(4, 2), last=False, along_tokens=False, side=28,
)  # fmt: skip
PVTS = (
    ("pvtv2-b0", PVTv2, _PVT_B0, IMAGENET, 1000, {"": DEIT}),
    ("pvtv2-b1", PVTv2, _PVT_B1, IMAGENET, 1000, {"": DEIT}),
    ("pvt-tiny", PVT, replace(_PVT_B1, kernels=(4, 2, 2, 2)), IMAGENET, 1000, {"": DEIT}),
    ("shiftaddvit-cifar", PVTv2, _PVT_CIFAR, CIFAR, 10, SMALL),
    ("shiftaddvit-mnist", PVTv2, _PVT_MNIST, MNIST, 10, SMALL),
)

MODELS = {
    "lenet1": Network(LeNet1, (1, 28, 28)),
    "lenet5": Network(LeNet5, (1, 28, 28)),
    "vgg-small": Network(VGGSmall, CIFAR),
    "resnet8": Network(partial(SmallResNet, 1), CIFAR),
    "resnet20": Network(partial(SmallResNet, 3), CIFAR),
    "resnet32": Network(partial(SmallResNet, 5), CIFAR),
    "resnet18": Network(partial(ImageResNet, BasicBlock, (2, 2, 2, 2)), IMAGENET, 1000),
    "resnet50": Network(partial(ImageResNet, Bottleneck, (3, 4, 6, 3)), IMAGENET, 1000),
    "convmixer-256-6": Network(partial(ConvMixer, 256, 6), CIFAR),
    "convmixer-256-8": Network(partial(ConvMixer, 256, 8), CIFAR),
    "ds-cnn": Network(DSCNN, (1, 10, 49), 12),
    **{
        name: Network(
            partial(SReT, sizes, shape[0]), shape, classes, kinds=WITHOUT_NORM,
            options=("attention", "sliced", "loops", "drop_path"), attention=tuple(FORMS),
            recipe=recipe,
        )
        for name, sizes, shape, classes, recipe in SRETS
    },
    **{
        name: Network(
            partial(build, sizes, shape[0]), shape, classes, kinds=WITHOUT_NORM,
            options=("attention", "mlp", "latency_ratio", "gate_scale", "drop_path"),
            attention=(*FORMS, "msa", "linear", "shiftadd"), recipe=recipe,
        )
        for name, build, sizes, shape, classes, recipe in PVTS
    },
    "deit-tiny": Network(
        DeiT, IMAGENET, 1000, kinds=WITHOUT_NORM, options=("attention", "drop_path"),
        attention=tuple(FORMS), recipe={"": DEIT},
    ),
    "mnist-linear": Network(DigitsLinear, (1, 28, 28), theirs=True),
    "mnist-conv": Network(DigitsConv, (1, 28, 28), theirs=True),
    "vgg19-small": Network(VGG19Small, CIFAR, theirs=True),
    "resnet20-a": Network(partial(PlainResNet, 3), CIFAR, theirs=True),
    "resnet32-a": Network(partial(PlainResNet, 5), CIFAR, theirs=True),
    "resnet44-a": Network(partial(PlainResNet, 7), CIFAR, theirs=True),
    "resnet56-a": Network(partial(PlainResNet, 9), CIFAR, theirs=True),
    "resnet18-a": Network(partial(PlainResNet, 2, width=64, stages=4), CIFAR, theirs=True),
    "resnet18-fc": Network(
        partial(ImageResNet, BasicBlock, (2, 2, 2, 2), last_norm=False), IMAGENET, 1000, theirs=True
    ),
    "resnet50-fc": Network(
        partial(ImageResNet, Bottleneck, (3, 4, 6, 3), last_norm=False), IMAGENET, 1000, theirs=True
    ),
    "resnet18-1x1": Network(
        partial(ImageResNet, PointwiseBlock, (2, 2, 2, 2)), IMAGENET, 1000, theirs=True
    ),
}
"""Every network that `build_model` and the command line know."""


def network_options() -> set[str]:
    """Return the fields of `LayerOptions` that only some networks read (`Network.options`)."""
    return {option for network in MODELS.values() for option in network.options}


def build_model(
    name: str,
    ops: str | None = None,
    classes: int | None = None,
    layers: LayerOptions | None = None,
) -> nn.Module:
    """Build a network with fresh weights from PyTorch's global random state.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    ops : str
        Kind of the layers, one of `OPS` that the network can have; by default the usual one.
    classes : int, optional
        Outputs; by default those of the data set that the network was published for.
    layers : LayerOptions, optional
        What the layers are told.

    Returns
    -------
    torch.nn.Module
        In training mode.

    Raises
    ------
    ValueError
        If `name` or `ops` is not known, or the network cannot have such layers.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {', '.join(MODELS)}, not {name!r}")
    network = MODELS[name]
    ops = network.kinds[0] if ops is None else ops
    if ops in OPS and ops not in network.kinds:
        raise ValueError(
            f"{name} has no batch norm after its layers, which {ops} layers need: choose one of "
            f"{', '.join(network.kinds)}"
        )
    return network.build(
        ops=ops, classes=network.classes if classes is None else classes, layers=layers
    )

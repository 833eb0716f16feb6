"""Networks by name, each from any kind of layers.

Their `forward` can be traced by `torch.fx`, which is how the quantiser reads them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from pyhw.nn.kinds import OPS
from pyhw.nn.models.convmixer import ConvMixer
from pyhw.nn.models.ds_cnn import DSCNN
from pyhw.nn.models.lenet import LeNet1, LeNet5
from pyhw.nn.models.resnet import BasicBlock, Bottleneck, ImageResNet, SmallResNet
from pyhw.nn.models.vgg import VGGSmall
from pyhw.nn.options import LayerOptions

__all__ = ["MODELS", "OPS", "ConvMixer", "DSCNN", "ImageResNet", "LeNet1", "LeNet5",
           "Network", "SmallResNet", "VGGSmall", "build_model"]  # fmt: skip


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
    """

    build: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]
    classes: int = 10


CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

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
}
"""Every network that `build_model` and the command line know."""


def build_model(
    name: str,
    ops: str = "adder",
    classes: int | None = None,
    layers: LayerOptions | None = None,
) -> nn.Module:
    """Build a network with fresh weights from PyTorch's global random state.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    ops : str
        Kind of the layers, one of `OPS`.
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
        If `name` or `ops` is not known.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {', '.join(MODELS)}, not {name!r}")
    network = MODELS[name]
    return network.build(
        ops=ops, classes=network.classes if classes is None else classes, layers=layers
    )

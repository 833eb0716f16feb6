"""Two networks for handwritten digits without batch norm, as DeepShift's authors train them."""

from collections import OrderedDict

from torch import nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["DigitsConv", "DigitsLinear"]


class DigitsLinear(nn.Sequential):
    """Three linear layers of 512, 512 and 10 outputs, for 28x28 pixels in one channel.

    ``flatten  fc1 relu1  fc2 relu2  fc3``, each layer with a bias; what the authors drop out in
    training has no part in it.

    Parameters
    ----------
    ops, classes, layers
        As of `LeNet5`; adder layers do not train without a batch norm.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    DeepShift (CVPR workshops 2021), its authors' code.
    """

    def __init__(
        self, ops: str = "shift-ps", classes: int = 10, layers: LayerOptions | None = None
    ) -> None:
        make = Layers(ops, layers)
        super().__init__(
            OrderedDict(
                flatten=nn.Flatten(),  # (N, 784)
                fc1=make.linear(28 * 28, 512, bias=True, edge=True),
                relu1=nn.ReLU(),
                fc2=make.linear(512, 512, bias=True),
                relu2=nn.ReLU(),
                fc3=make.linear(512, classes, bias=True, edge=True),
            )
        )
        make.finish(self)


class DigitsConv(nn.Sequential):
    """Two 5x5 convolutions and two linear layers, for 28x28 pixels in one channel.

    ``conv1 relu1 pool1  conv2 relu2 pool2  flatten  fc1 relu3  fc2``, each layer with a bias.

    Parameters
    ----------
    ops, classes, layers
        As of `LeNet5`; adder layers do not train without a batch norm.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    DeepShift (CVPR workshops 2021), its authors' code.
    """

    def __init__(
        self, ops: str = "shift-ps", classes: int = 10, layers: LayerOptions | None = None
    ) -> None:
        make = Layers(ops, layers)
        super().__init__(
            OrderedDict(
                conv1=make.conv(1, 20, 5, bias=True, edge=True),  # (N, 20, 24, 24)
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=make.conv(20, 50, 5, bias=True),  # (N, 50, 8, 8)
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),  # (N, 800)
                fc1=make.linear(4 * 4 * 50, 500, bias=True),
                relu3=nn.ReLU(),
                fc2=make.linear(500, classes, bias=True, edge=True),
            )
        )
        make.finish(self)

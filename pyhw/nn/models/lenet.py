"""LeNet-1 and LeNet-5 with batch norm."""

from collections import OrderedDict

from torch import nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["LeNet1", "LeNet5"]


class LeNet5(nn.Sequential):
    """LeNet-5 with batch norm, for 28x28 pixels in one channel scaled to 0..1.

    ``conv1 bn1 relu1 pool1  conv2 bn2 relu2 pool2  conv3 bn3 relu3  flatten  fc1 bn4 relu4
    fc2 bn5``. The field is 32x32 by a border of 2 in `conv1`; `conv3` is the classic 400-to-120
    layer, written as the 5x5 convolution on a 5x5 map that it is. `conv1` and `fc2` are its edge
    layers, and a batch norm follows the classifier as in the published adder networks. No layer
    has a bias: a batch norm follows each.

    Parameters
    ----------
    ops : str
        Kind of the layers, one of `pyhw.nn.OPS`.
    classes : int
        Outputs, at least 2.
    layers : LayerOptions
        What the layers are told.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, for the sizes;
    AdderNet (CVPR 2020), section 4.1, for batch norm and which layers become adders.
    """

    def __init__(
        self, ops: str = "adder", classes: int = 10, layers: LayerOptions | None = None
    ) -> None:
        make = Layers(ops, layers)
        super().__init__(
            OrderedDict(
                conv1=make.conv(1, 6, 5, padding=2, edge=True),  # (N, 6, 28, 28)
                bn1=nn.BatchNorm2d(6),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),  # (N, 6, 14, 14)
                conv2=make.conv(6, 16, 5),  # (N, 16, 10, 10)
                bn2=nn.BatchNorm2d(16),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),  # (N, 16, 5, 5)
                conv3=make.conv(16, 120, 5),  # (N, 120, 1, 1)
                bn3=nn.BatchNorm2d(120),
                relu3=nn.ReLU(),
                flatten=nn.Flatten(),  # (N, 120)
                fc1=make.linear(120, 84),
                bn4=nn.BatchNorm1d(84),
                relu4=nn.ReLU(),
                fc2=make.linear(84, classes, edge=True),
                bn5=nn.BatchNorm1d(classes),
            )
        )
        make.finish(self)


class LeNet1(nn.Sequential):
    """LeNet-1 with batch norm, for 28x28 pixels in one channel scaled to 0..1.

    ``conv1 bn1 relu1 pool1  conv2 bn2 relu2 pool2  flatten  fc bn3``: 3,220 weights, for devices
    with a few kilobytes of memory. Every map of `conv2` sees all four of `conv1`. `conv1` and `fc`
    are its edge layers; no layer has a bias.

    Parameters
    ----------
    ops, classes, layers
        As of `LeNet5`.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    LeCun et al., "Comparison of Learning Algorithms for Handwritten Digit Recognition", 1995, for
    the sizes.
    """

    def __init__(
        self, ops: str = "adder", classes: int = 10, layers: LayerOptions | None = None
    ) -> None:
        make = Layers(ops, layers)
        super().__init__(
            OrderedDict(
                conv1=make.conv(1, 4, 5, edge=True),  # (N, 4, 24, 24)
                bn1=nn.BatchNorm2d(4),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),  # (N, 4, 12, 12)
                conv2=make.conv(4, 12, 5),  # (N, 12, 8, 8)
                bn2=nn.BatchNorm2d(12),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),  # (N, 12, 4, 4)
                flatten=nn.Flatten(),  # (N, 192)
                fc=make.linear(192, classes, edge=True),
                bn3=nn.BatchNorm1d(classes),
            )
        )
        make.finish(self)

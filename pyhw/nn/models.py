"""Networks by name, as plain sequences of named layers that the quantiser can walk."""

from collections import OrderedDict

from torch import nn

from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.options import LayerOptions

OPS = ("adder", "conv")


class LeNet5(nn.Sequential):
    """LeNet-5 with batch norm, for 28x28 pixels in one channel scaled to 0..1.

    ``conv1 bn1 relu1 pool1  conv2 bn2 relu2 pool2  conv3 bn3 relu3  flatten  fc1 bn4 relu4
    fc2 bn5``. The field is 32x32 by a border of 2 in `conv1`; `conv3` is the classic 400-to-120
    layer, written as the 5x5 convolution on a 5x5 map that it is. As in the published adder
    networks the first and the last layer stay ordinary, and a batch norm follows the classifier.
    No layer has a bias: a batch norm follows each.

    Parameters
    ----------
    ops : {"adder", "conv"}
        Kind of the three inner layers `conv2`, `conv3`, `fc1`: L1 distance, or the ordinary one.
    classes : int
        Outputs, at least 2.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, for the sizes;
    AdderNet (CVPR 2020), section 4.1, for batch norm and which layers become adders.
    """

    def __init__(self, ops: str = "adder", classes: int = 10) -> None:
        if ops not in OPS:
            raise ValueError(f"ops must be one of {', '.join(OPS)}, not {ops!r}")
        conv = AdderConv2d if ops == "adder" else nn.Conv2d
        linear = AdderLinear if ops == "adder" else nn.Linear
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 6, 5, padding=2, bias=False),  # (N, 6, 28, 28)
                bn1=nn.BatchNorm2d(6),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),  # (N, 6, 14, 14)
                conv2=conv(6, 16, 5, bias=False),  # (N, 16, 10, 10)
                bn2=nn.BatchNorm2d(16),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),  # (N, 16, 5, 5)
                conv3=conv(16, 120, 5, bias=False),  # (N, 120, 1, 1)
                bn3=nn.BatchNorm2d(120),
                relu3=nn.ReLU(),
                flatten=nn.Flatten(),  # (N, 120)
                fc1=linear(120, 84, bias=False),
                bn4=nn.BatchNorm1d(84),
                relu4=nn.ReLU(),
                fc2=nn.Linear(84, classes, bias=False),
                bn5=nn.BatchNorm1d(classes),
            )
        )


MODELS = {"lenet5": LeNet5}
"""Every network that `build_model` and the command line know."""


def build_model(
    name: str,
    ops: str = "adder",
    classes: int = 10,
    layers: LayerOptions = LayerOptions(),  # noqa: B008 (frozen)
) -> nn.Sequential:
    """Build a network with fresh weights from PyTorch's global random state.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    ops : {"adder", "conv"}
        Kind of the inner layers.
    classes : int
        Outputs.
    layers : LayerOptions
        Options of the inner layers.

    Returns
    -------
    torch.nn.Sequential
        In training mode.

    Raises
    ------
    ValueError
        If `name` or `ops` is not known.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {', '.join(MODELS)}, not {name!r}")
    model = MODELS[name](ops=ops, classes=classes)
    for module in model.modules():
        if isinstance(module, (AdderConv2d, AdderLinear)):
            module.eta = layers.eta
    return model

"""VGG-small and VGG-19-small, plain stacks of 3x3 convolutions."""

from collections import OrderedDict

from torch import Tensor, nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["VGG19Small", "VGGSmall"]

WIDTHS = (128, 128, 256, 256, 512, 512)
STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and convolutions between the poolings of VGG-19."""


class VGGSmall(nn.Sequential):
    """VGG-small for 32x32 pixels: six 3x3 convolutions, one linear classifier.

    ``conv0 bn0 relu0  conv1 bn1 relu1 pool1 ... conv5 bn5 relu5 pool5  flatten  fc bn6``; every
    second convolution is followed by a 2x2 max pooling. `conv0` and `fc` are its edge layers.

    Parameters
    ----------
    ops, classes, layers
        As in :class:`LeNet5`.
    channels : int
        Of the images.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Zhang et al., "LQ-Nets", ECCV 2018, to which AdderNet's authors refer; the published code of
    neither defines where pooling stands, here it follows the activation.
    """

    def __init__(
        self,
        ops: str = "adder",
        classes: int = 10,
        layers: LayerOptions | None = None,
        channels: int = 3,
    ) -> None:
        make = Layers(ops, layers)
        stack: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = channels
        for i, width in enumerate(WIDTHS):
            stack[f"conv{i}"] = make.conv(inputs, width, 3, padding=1, edge=i == 0)
            stack[f"bn{i}"] = nn.BatchNorm2d(width)
            stack[f"relu{i}"] = nn.ReLU()
            if i % 2:
                stack[f"pool{i}"] = nn.MaxPool2d(2)  # 32 -> 16 -> 8 -> 4
            inputs = width
        stack["flatten"] = nn.Flatten()  # (N, 8192)
        stack["fc"] = make.linear(inputs * 4 * 4, classes, edge=True)
        stack["bn6"] = nn.BatchNorm1d(classes)
        super().__init__(stack)
        make.finish(self)


class VGG19Small(nn.Module):
    """VGG-19 for 32x32 pixels: sixteen 3x3 convolutions, two ordinary linear layers.

    ``features`` counts convolution, batch norm, ReLU and, behind each stage, 2x2 max pooling;
    ``classifier`` is linear, ReLU, linear, both with a bias and, whatever `ops`, with products.

    Parameters
    ----------
    ops, classes, layers
        As in :class:`LeNet5`.
    shrink : int
        Divides all channels, for trials.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    ShiftAddNet (NeurIPS 2020), its authors' code, which leaves the classifier as it is;
    configuration E of Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale
    Image Recognition", ICLR 2015.
    """

    def __init__(
        self,
        ops: str = "shiftadd",
        classes: int = 10,
        layers: LayerOptions | None = None,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        make = Layers(ops, layers)
        stack: list[nn.Module] = []
        inputs = 3
        for wide, count in STAGES:
            width = wide // shrink
            for _ in range(count):
                stack += [make.conv(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            stack.append(nn.MaxPool2d(2))  # 32 -> 16 -> 8 -> 4 -> 2 -> 1
        self.features = nn.Sequential(*stack)
        self.flatten = nn.Flatten()
        hidden = nn.Linear(inputs, inputs)
        self.classifier = nn.Sequential(hidden, nn.ReLU(), nn.Linear(inputs, classes))
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        logits: Tensor = self.classifier(self.flatten(self.features(x)))
        return logits

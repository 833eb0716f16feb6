"""Residual networks whose shortcuts have no weights: a smaller map is a part of the larger one."""

import torch
from torch import Tensor, nn

from pyhw.nn.coded_layers import CodedConv2d
from pyhw.nn.kinds import Layers
from pyhw.nn.models.resnet import TwoConvolutions
from pyhw.nn.options import LayerOptions

__all__ = ["PaddedShortcut", "PlainBlock", "PlainResNet"]


class PaddedShortcut(CodedConv2d):
    """Take every second position and put channels of zeros around those there are.

    It is written as a 1x1 convolution whose weights are 1 and 0, codes for the accelerator, so
    that nothing is rounded. There are no parameters.

    Parameters
    ----------
    inputs, outputs : int
        Channels; `outputs` at least `inputs`, half of the rest before them.
    stride : int
        Distance of the positions taken.

    Source
    ------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3, option A.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride)
        weight = torch.zeros(outputs, inputs)
        before = (outputs - inputs) // 2
        weight[before : before + inputs].fill_diagonal_(1)
        self.register_buffer("_weight", weight[:, :, None, None], persistent=False)

    def effective_weight(self) -> Tensor:
        """Return the ones and zeros."""
        weight: Tensor = self._weight  # type: ignore[assignment]
        return weight

    def codes(self) -> tuple[Tensor, Tensor]:
        """Return them as signs; every exponent is 0."""
        sign = self.effective_weight().to(torch.int8)[None]
        return sign, torch.zeros_like(sign)


class PlainBlock(TwoConvolutions):
    """Two 3x3 convolutions beside the map itself, or beside a part of it.

    Parameters
    ----------
    make : Layers
        Makes the convolutions.
    inputs, width : int
        Channels in and out.
    stride : int
        Of the first convolution and the shortcut.
    """

    def __init__(self, make: Layers, inputs: int, width: int, stride: int) -> None:
        super().__init__(make, inputs, width, stride)
        same = stride == 1 and inputs == width
        self.shortcut = nn.Sequential() if same else PaddedShortcut(inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, shape (N, width, H / stride, W / stride)."""
        return self.relu2(self.convolved(x) + self.shortcut(x))


class PlainResNet(nn.Module):
    """Residual network for small images with option-A shortcuts and a linear classifier.

    ``conv1 bn1 relu  layer1 layer2 layer3 ...  avgpool  flatten  linear``; each stage after the
    first halves the map and doubles the channels. `conv1` and `linear` are the edge layers; no
    batch norm follows the classifier, which has a bias.

    Parameters
    ----------
    blocks : int
        Per stage: 3 (ResNet-20), 5 (-32), 7 (-44), 9 (-56) with three stages, 2 (-18) with four.
    ops, classes, layers
        As in :class:`LeNet5`.
    width, stages : int
        Channels of the first stage, and how many there are.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2; DeepShift
    (CVPR workshops 2021), its authors' code, for the names and for ResNet-18.
    """

    def __init__(
        self,
        blocks: int,
        ops: str = "shift-ps",
        classes: int = 10,
        layers: LayerOptions | None = None,
        width: int = 16,
        stages: int = 3,
    ) -> None:
        super().__init__()
        make = Layers(ops, layers)
        self.conv1 = make.conv(3, width, 3, padding=1, edge=True)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        inputs, names = width, [f"layer{number}" for number in range(1, stages + 1)]
        for name in names:
            stride = 1 if name == names[0] else 2
            first = PlainBlock(make, inputs, width, stride)
            rest = [PlainBlock(make, width, width, 1) for _ in range(blocks - 1)]
            self.add_module(name, nn.Sequential(first, *rest))
            inputs, width = width, 2 * width
        self._stages = names
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = make.linear(inputs, classes, bias=True, edge=True)
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        return self.linear(self.flatten(self.avgpool(x)))

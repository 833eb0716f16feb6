"""Residual networks for small and for large images.

Layers are named as in the published code, so that checkpoints are imported by name.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["BasicBlock", "Bottleneck", "ImageResNet", "PointwiseBlock", "SmallResNet",
           "TwoConvolutions"]  # fmt: skip


def _shortcut(make: Layers, inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        make.conv(inputs, outputs, 1, stride=stride),
        nn.BatchNorm2d(outputs),
    )


class TwoConvolutions(nn.Module):
    """What blocks of two 3x3 convolutions share: all but the shortcut.

    Parameters
    ----------
    make, inputs, width, stride
        As in :class:`BasicBlock`.
    """

    def __init__(self, make: Layers, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = make.conv(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = make.conv(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)

    def convolved(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))


class BasicBlock(TwoConvolutions):
    """Two 3x3 convolutions beside a shortcut: the map itself, or a 1x1 convolution of it.

    Parameters
    ----------
    make : Layers
        Makes the convolutions.
    inputs, width : int
        Channels in and out.
    stride : int
        Of the first convolution and the shortcut.
    """

    expansion = 1

    def __init__(self, make: Layers, inputs: int, width: int, stride: int) -> None:
        super().__init__(make, inputs, width, stride)
        self.downsample = _shortcut(make, inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, shape (N, width, H / stride, W / stride)."""
        y = self.convolved(x)
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut; the stride is on the 3x3 one.

    Parameters
    ----------
    make, inputs, width, stride
        As in :class:`BasicBlock`; the block returns ``4 * width`` channels.
    """

    expansion = 4

    def __init__(self, make: Layers, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = make.conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = make.conv(width, width, 3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = make.conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(make, inputs, 4 * width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, shape (N, 4 * width, H / stride, W / stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.downsample is None else self.downsample(x)))


class PointwiseBlock(nn.Module):
    """A 1x1 and a 3x3 convolution, each with a ReLU, beside a shortcut.

    Parameters
    ----------
    make, inputs, width, stride
        As in :class:`BasicBlock`; the stride is on the 3x3 convolution.

    Source
    ------
    ShiftAddNet (NeurIPS 2020), its authors' code of ResNet-18.
    """

    expansion = 1

    def __init__(self, make: Layers, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = make.conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = make.conv(width, width, 3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.downsample = _shortcut(make, inputs, width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, shape (N, width, H / stride, W / stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        return self.relu3(y + (x if self.downsample is None else self.downsample(x)))


Block = type[BasicBlock] | type[Bottleneck] | type[PointwiseBlock]


def _stage(
    make: Layers, block: Block, inputs: int, width: int, count: int, stride: int
) -> nn.Sequential:
    blocks = [block(make, inputs, width, stride)]
    blocks += [block(make, width * block.expansion, width, 1) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


class SmallResNet(nn.Module):
    """Residual network for small images: a 3x3 stem, three stages of 16, 32 and 64 channels.

    ``conv1 bn1 relu  layer1 layer2 layer3  avgpool  fc bn2  flatten``; `fc` is a 1x1 convolution
    without bias. The second and third stage halve the map; there the shortcut is a 1x1
    convolution of the layers' kind with batch norm. `conv1` and `fc` are the edge layers. With
    one block a stage it is the topology of MLPerf Tiny's network (which has biases, but no batch
    norm in the shortcuts and behind the classifier).

    Parameters
    ----------
    blocks : int
        Per stage: 1 (ResNet-8), 3 (ResNet-20), 5 (ResNet-32).
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
    AdderNet (CVPR 2020), section 4.2, and its authors' code; Banbury et al., "MLPerf Tiny
    Benchmark", NeurIPS datasets and benchmarks 2021.
    """

    def __init__(
        self,
        blocks: int,
        ops: str = "adder",
        classes: int = 10,
        layers: LayerOptions | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        make = Layers(ops, layers)
        self.conv1 = make.conv(channels, 16, 3, padding=1, edge=True)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(make, BasicBlock, 16, 16, blocks, 1)
        self.layer2 = _stage(make, BasicBlock, 16, 32, blocks, 2)
        self.layer3 = _stage(make, BasicBlock, 32, 64, blocks, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = make.conv(64, classes, 1, edge=True)
        self.bn2 = nn.BatchNorm2d(classes)
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.bn2(self.fc(self.avgpool(x)))
        return torch.flatten(x, 1)


class ImageResNet(nn.Module):
    """Residual network for large images: a 7x7 stem, max pooling, four stages.

    ``conv1 bn1 relu maxpool  layer1 layer2 layer3 layer4  avgpool  fc bn2  flatten``; `fc` is a
    1x1 convolution with a bias. `conv1` and `fc` are the edge layers.

    Parameters
    ----------
    block : type
        `BasicBlock` (ResNet-18), `Bottleneck` (ResNet-50), or `PointwiseBlock`.
    blocks : sequence of int
        Per stage.
    ops, classes, layers
        As in :class:`LeNet5`.
    last_norm : bool
        Whether a batch norm follows the classifier; torchvision's networks have none.
    width : int
        Channels of the first stage; each stage after it doubles them.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    AdderNet (CVPR 2020), section 4.3, and its authors' code, which has ResNet-50.
    """

    def __init__(
        self,
        block: Block,
        blocks: Sequence[int],
        ops: str = "adder",
        classes: int = 1000,
        layers: LayerOptions | None = None,
        last_norm: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__()
        make = Layers(ops, layers)
        wide = width * block.expansion
        self.conv1 = make.conv(3, width, 7, stride=2, padding=3, edge=True)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(make, block, width, width, blocks[0], 1)
        self.layer2 = _stage(make, block, wide, 2 * width, blocks[1], 2)
        self.layer3 = _stage(make, block, 2 * wide, 4 * width, blocks[2], 2)
        self.layer4 = _stage(make, block, 4 * wide, 8 * width, blocks[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = make.conv(8 * wide, classes, 1, bias=True, edge=True)
        self.bn2 = nn.BatchNorm2d(classes) if last_norm else nn.Identity()
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.bn2(self.fc(self.avgpool(x)))
        return torch.flatten(x, 1)

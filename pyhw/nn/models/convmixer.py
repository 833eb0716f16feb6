"""ConvMixer: patches, then blocks of a depthwise and a pointwise convolution."""

from torch import Tensor, nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["ConvMixer"]


class Residual(nn.Module):
    """Add a map to what a module makes of it.

    Parameters
    ----------
    fn : torch.nn.Module
        Keeps the shape.
    """

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """Return ``fn(x) + x``."""
        return self.fn(x) + x


class ConvMixer(nn.Sequential):
    """ConvMixer for 32x32 pixels: 2x2 patches, kernel 5, no biases.

    ``0`` patches, ``1 2`` norm and activation, from ``3`` on the blocks, each a depthwise
    convolution with a residual connection around it and a pointwise convolution, at last global
    average pooling, flatten and a linear classifier. The patches and the classifier are its edge
    layers.

    Parameters
    ----------
    width, depth : int
        Channels and blocks.
    ops, classes, layers
        As in :class:`LeNet5`.
    channels : int
        Of the images.
    published : bool
        GELU and then batch norm, as in the published code, whose checkpoints then fit by name.
        By default batch norm and then ReLU: adder layers cannot train otherwise (their sums are
        never positive, so that ReLU would leave nothing), and the accelerator has ReLU.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Trockman, Kolter, "Patches Are All You Need?", 2022; PEMN (NeurIPS 2022) and its authors' code
    for the sizes.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        ops: str = "pemn",
        classes: int = 10,
        layers: LayerOptions | None = None,
        channels: int = 3,
        published: bool = False,
    ) -> None:
        make = Layers(ops, layers)

        def norm() -> list[nn.Module]:
            batch_norm = nn.BatchNorm2d(width)
            return [nn.GELU(), batch_norm] if published else [batch_norm, nn.ReLU()]

        stack = [make.conv(channels, width, 2, stride=2, edge=True), *norm()]
        for _ in range(depth):
            depthwise = make.conv(width, width, 5, padding=2, groups=width)
            mixed = Residual(nn.Sequential(depthwise, *norm()))
            stack.append(nn.Sequential(mixed, make.conv(width, width, 1), *norm()))
        stack += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), make.linear(width, classes, edge=True)]
        super().__init__(*stack)
        make.finish(self)

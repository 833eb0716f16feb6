"""DS-CNN: a small network for spoken keywords, of depthwise and pointwise convolutions."""

from collections import OrderedDict
from dataclasses import replace

from torch import nn

from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions

__all__ = ["DSCNN"]

WIDTH, BLOCKS = 64, 4


def _block(make: Layers) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            depthwise=make.conv(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
            bn1=nn.BatchNorm2d(WIDTH),
            relu1=nn.ReLU(),
            pointwise=make.conv(WIDTH, WIDTH, 1),
            bn2=nn.BatchNorm2d(WIDTH),
            relu2=nn.ReLU(),
        )
    )


class DSCNN(nn.Sequential):
    """Depthwise separable network for a second of speech: 10 spectral features, 49 times.

    ``conv bn relu  block1 block2 block3 block4  avgpool flatten fc``; a block is ``depthwise bn1
    relu1 pointwise bn2 relu2``. Features are rows and time runs along them. `conv` has a 4x10
    kernel with stride 2 and makes 5x25 positions of 64 channels; they keep that size. No layer but
    the classifier has a bias, because a batch norm
    follows each. `conv` and `fc` are its edge layers. In an adder network `conv` is a shift layer
    (mode 'ps', 4 bits), a single power of two per weight, instead of an ordinary one: it has an
    eighth of the terms, and an 8-bit weight takes up to five cycles for each.

    The padding of `conv` is the same on both sides, 1 row and 5 columns; the reference, which has
    time run downwards and pads 4 rows above, sees every window one step later. Rows are long here
    because a chain of taps reads two columns more than a row has (``docs/depthwise.md``).

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
    Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017; Banbury et al.,
    "MLPerf Tiny Benchmark", NeurIPS datasets and benchmarks 2021, and its reference code.
    """

    def __init__(
        self,
        ops: str = "adder",
        classes: int = 12,
        layers: LayerOptions | None = None,
        channels: int = 1,
    ) -> None:
        make = Layers(ops, layers)
        first = make
        if ops == "adder":
            first = Layers("shift-ps", replace(layers or LayerOptions(), bits=4, terms=1))
        stack: OrderedDict[str, nn.Module] = OrderedDict(
            conv=first.conv(channels, WIDTH, (4, 10), stride=2, padding=(1, 5), edge=True),
            bn=nn.BatchNorm2d(WIDTH),
            relu=nn.ReLU(),
        )
        for number in range(BLOCKS):
            stack[f"block{number + 1}"] = _block(make)  # (N, 64, 5, 25)
        stack["avgpool"] = nn.AdaptiveAvgPool2d(1)
        stack["flatten"] = nn.Flatten()  # (N, 64)
        stack["fc"] = make.linear(WIDTH, classes, bias=True, edge=True)
        super().__init__(stack)
        make.finish(self)

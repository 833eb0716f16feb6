"""SReT: a vision transformer whose blocks are each run several times in a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pyhw.nn.attention import SoftmaxAttention
from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions
from pyhw.nn.tokens import (
    Coefficient,
    DropPath,
    Mlp,
    PositionEmbedding,
    ToMap,
    ToTokens,
    drop_shares,
)

__all__ = ["SReT", "SReTSizes"]

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class SReTSizes:
    """Sizes of a network.

    Attributes
    ----------
    channels, heads, blocks : tuple of int
        For each stage; heads have 32 channels (42 in SReT-S).
    slices : tuple of tuple of int
        For each stage, in how many slices each loop through a block attends.
    hidden, projection : float
        Hidden channels of MLPs and of non-linear projections over those of the tokens.
    stem : tuple of int
        Strides of the 3x3 convolutions before the first stage.
    side : int
        Of the images, pixels.
    """

    channels: tuple[int, ...]
    heads: tuple[int, ...]
    blocks: tuple[int, ...]
    slices: tuple[tuple[int, ...], ...]
    hidden: float
    projection: float = 1.0
    stem: tuple[int, ...] = (2, 2, 2)
    side: int = 224


class _Block(nn.Module):
    """Attention and MLP on normalised tokens beside scaled shortcuts."""

    def __init__(
        self, make: Layers, channels: int, heads: int, hidden: int, tokens: int,
        slices: Sequence[int], form: str, drop: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attn = SoftmaxAttention(make, channels, heads, tokens, slices, form)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(make, channels, hidden)
        self.drop_path = DropPath(drop)
        self.coefficient1, self.coefficient2 = Coefficient(), Coefficient()
        self.coefficient3, self.coefficient4 = Coefficient(), Coefficient()

    def forward(self, x: Tensor, turn: int) -> Tensor:
        y = self.drop_path(self.attn(self.norm1(x), turn))
        x = self.coefficient1(x) + self.coefficient2(y)
        y = self.drop_path(self.mlp(self.norm2(x)))
        return self.coefficient3(x) + self.coefficient4(y)


class _Projection(nn.Module):
    """A small MLP beside a scaled shortcut, which tells the loops through a block apart."""

    def __init__(self, make: Layers, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(make, channels, hidden)
        self.coefficient1, self.coefficient2 = Coefficient(), Coefficient()

    def forward(self, x: Tensor) -> Tensor:
        return self.coefficient1(x) + self.coefficient2(self.mlp(self.norm1(x)))


class _Recursion(nn.Module):
    """One block, run as often as there are projections: ``x = after_i(block(x))``."""

    def __init__(self, block: _Block, after: Sequence[_Projection]) -> None:
        super().__init__()
        self.block = block
        self.after = nn.ModuleList(after)

    def forward(self, x: Tensor) -> Tensor:
        for turn, projection in enumerate(self.after):
            x = projection(self.block(x, turn))
        return x


class _Stem(nn.Module):
    """3x3 convolutions, each with batch norm and ReLU; the first has half the channels."""

    def __init__(self, make: Layers, inputs: int, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.count = len(strides)
        for number, stride in enumerate(strides, 1):
            outputs = channels if number > 1 or self.count == 1 else channels // 2
            conv = make.conv(
                inputs, outputs, 3, stride=stride, padding=1, bias=True, edge=number == 1
            )
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            self.add_module(f"relu{number}", nn.ReLU())
            inputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class SReT(nn.Module):
    """Sliced recursive transformer.

    ``patch_embed pos_embed  stage (pool stage)*  avgpool flatten norm head``. A stage turns the map
    into tokens, runs its recursions and turns them back; a pool is a 3x3 depthwise convolution with
    stride 2 that makes two channels of each. In a recursion (`stages.S.R`) one block is run twice,
    and a non-linear projection of its own follows each run::

        block:       x = c1 x + c2 attn(norm1(x));  x = c3 x + c4 mlp(norm2(x))
        projection:  x = c1 x + c2 mlp(norm1(x))

    Tokens attend within slices; see :class:`pyhw.nn.attention.SoftmaxAttention`. The edge layers
    are `patch_embed.conv1` and `head`.

    Parameters
    ----------
    sizes : SReTSizes
    channels : int
        Of the images.
    ops, classes, layers
        As in :class:`pyhw.nn.LeNet5`. Of the layers' options, `attention` is ``softmax``,
        ``log2``, ``adder`` or ``binary``, `sliced` tells whether there are slices, `loops` how
        often each block runs, and `drop_path` which share of the images skips the last block's
        branches; earlier blocks skip fewer.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Shen, Liu, Xing, "Sliced Recursive Transformer", ECCV 2022, and its authors' code. The order of
    the sliced tokens is fixed here; there it is drawn anew at each pass.
    """

    def __init__(
        self,
        sizes: SReTSizes,
        channels: int = 3,
        ops: str = "conv",
        classes: int = 1000,
        layers: LayerOptions | None = None,
    ) -> None:
        super().__init__()
        make, options = Layers(ops, layers), layers or LayerOptions()
        width, side = sizes.channels[0], sizes.side
        for stride in sizes.stem:
            side = -(-side // stride)
        self.patch_embed = _Stem(make, channels, width, sizes.stem)
        self.pos_embed = PositionEmbedding(width, side, side)
        self.stages, self.pools = nn.ModuleList(), nn.ModuleList()
        drops = iter(drop_shares(options.drop_path, sum(sizes.blocks)))
        for stage, width in enumerate(sizes.channels):
            if stage:
                half = sizes.channels[stage - 1]
                pool = make.conv(half, width, 3, stride=2, padding=1, groups=half, bias=True)
                self.pools.append(nn.Sequential())
                self.pools[-1].add_module("conv", pool)
                side = -(-side // 2)
            slices = _slices(sizes.slices[stage], options)
            recursions = []
            for _ in range(sizes.blocks[stage]):
                block = _Block(
                    make, width, sizes.heads[stage], int(width * sizes.hidden), side * side,
                    slices, options.attention, next(drops),
                )  # fmt: skip
                hidden = int(width * sizes.projection)
                recursions.append(
                    _Recursion(block, [_Projection(make, width, hidden) for _ in slices])
                )
            self.stages.append(nn.Sequential(ToTokens(), *recursions, ToMap(side, side)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = make.linear(width, classes, bias=True, edge=True)
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        x = self.pos_embed(self.patch_embed(x))
        for number, stage in enumerate(self.stages):
            if number:
                x = self.pools[number - 1](x)
            x = stage(x)
        return self.head(self.norm(self.flatten(self.avgpool(x))))


def _slices(published: tuple[int, ...], options: LayerOptions) -> tuple[int, ...]:
    """Return the slices of each loop; loops beyond the published ones are as the last."""
    counts = published + published[-1:] * options.loops
    return tuple(count if options.sliced else 1 for count in counts[: options.loops])

"""PVT and PVTv2, and what ShiftAddViT makes of them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from pyhw.nn.attention import FORMS, BinaryLinearAttention, ReducedAttention, SoftmaxAttention
from pyhw.nn.kinds import Layers
from pyhw.nn.mixture import Mixture
from pyhw.nn.options import LayerOptions
from pyhw.nn.tokens import (
    Block,
    ClassToken,
    Mlp,
    PositionEmbedding,
    ToMap,
    ToTokens,
    drop_shares,
)

__all__ = ["PVT", "PVTSizes", "PVTv2", "SHIFT_KIND"]

EPS = 1e-6
SHIFT_KIND = "shift-ps"
"""Kind of the shift layers of ShiftAddViT."""


@dataclass(frozen=True, kw_only=True)
class PVTSizes:
    """Sizes of a network, for each stage.

    Attributes
    ----------
    channels, heads, hidden, blocks : tuple of int
        `hidden` is that of MLPs over the channels.
    ratios : tuple of int
        Of spatial reduction in softmax attention; 0 for plain softmax attention, whose projections
        are one layer.
    kernels, strides : tuple of int
        Of the convolutions that begin a stage.
    last : bool
        Whether the last stage keeps softmax attention in every form of the network, as published.
    along_tokens : bool
        Values are convolved along the tokens, as published; see `BinaryLinearAttention`.
    side : int
        Of the images, pixels.
    """

    channels: tuple[int, ...]
    heads: tuple[int, ...]
    hidden: tuple[int, ...]
    blocks: tuple[int, ...]
    ratios: tuple[int, ...] = (8, 4, 2, 1)
    kernels: tuple[int, ...] = (7, 3, 3, 3)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    last: bool = True
    along_tokens: bool = True
    side: int = 224


@dataclass(frozen=True)
class _Place:
    """Where a block is: its stage and the side of the map there."""

    sizes: PVTSizes
    stage: int
    side: int

    @property
    def channels(self) -> int:
        return self.sizes.channels[self.stage]

    @property
    def is_last(self) -> bool:
        return self.stage + 1 == len(self.sizes.channels)


class _Maker:
    """Makes attention and MLPs as the options say."""

    def __init__(self, make: Layers, options: LayerOptions) -> None:
        self.make, self.options = make, options
        self.shift = Layers(SHIFT_KIND, options)

    def attention(self, place: _Place) -> nn.Module:
        sizes, stage, kind = place.sizes, place.stage, self.options.attention
        heads = sizes.heads[stage]
        linear = kind in ("linear", "shiftadd")
        if linear and not (sizes.last and place.is_last):
            make = self.shift if kind == "shiftadd" else self.make
            side = None if sizes.along_tokens else place.side
            return BinaryLinearAttention(make, place.channels, heads, side, self.make)
        form = kind if kind in FORMS else "softmax"
        ratio = sizes.ratios[stage]
        if not ratio or linear or kind == "msa":
            tokens = place.side**2
            return SoftmaxAttention(self.make, place.channels, heads, tokens, form=form)
        return ReducedAttention(self.make, place.channels, heads, place.side, ratio, form)

    def either(self, channels: int, part: Callable[[Layers], nn.Module]) -> nn.Module:
        """Return a part of ordinary layers, of shift layers, or a mixture of both."""
        if self.options.mlp == "moe":
            latencies = (self.options.latency_ratio, 1.0)
            experts = (part(self.make), part(self.shift))
            return Mixture(channels, experts, latencies, self.options.gate_scale)
        return part({"dense": self.make, "shift": self.shift}[self.options.mlp])


class _MapMlp(nn.Module):
    """MLP with a 3x3 depthwise convolution on the map: ``fc2(gelu(dwconv(fc1(x))))``."""

    def __init__(self, maker: _Maker, place: _Place) -> None:
        super().__init__()
        channels, hidden = place.channels, place.channels * place.sizes.hidden[place.stage]
        self.fc1 = maker.either(channels, lambda make: make.linear(channels, hidden, bias=True))
        self.to_map = ToMap(place.side, place.side)
        self.dwconv = maker.make.conv(hidden, hidden, 3, padding=1, groups=hidden, bias=True)
        self.to_tokens = ToTokens()
        self.act = nn.GELU()
        self.fc2 = maker.either(hidden, lambda make: make.linear(hidden, channels, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.to_tokens(self.dwconv(self.to_map(self.fc1(x))))
        return self.fc2(self.act(x))


class _PatchEmbed(nn.Module):
    """A convolution with stride, tokens and a layer norm."""

    def __init__(
        self, make: Layers, inputs: int, channels: int, kernel: int, stride: int, edge: bool
    ) -> None:
        super().__init__()
        padding = kernel // 2 if kernel > stride else 0
        self.proj = make.conv(
            inputs, channels, kernel, stride=stride, padding=padding, bias=True, edge=edge
        )
        self.to_tokens = ToTokens()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.to_tokens(self.proj(x)))


class _Pyramid(nn.Module):
    """What both versions share: stages of blocks, each begun by a patch embedding.

    Stages count from 1 in names, as published: ``patch_embed1 block1 ... norm1``.
    """

    def __init__(
        self,
        sizes: PVTSizes,
        channels: int = 3,
        ops: str = "conv",
        classes: int = 1000,
        layers: LayerOptions | None = None,
    ) -> None:
        super().__init__()
        make, options = Layers(ops, layers), layers or LayerOptions()
        maker, side, inputs = _Maker(make, options), sizes.side, channels
        self.count = len(sizes.channels)
        drops = iter(drop_shares(options.drop_path, sum(sizes.blocks)))
        for stage, width in enumerate(sizes.channels):
            embed = _PatchEmbed(
                make, inputs, width, sizes.kernels[stage], sizes.strides[stage], stage == 0
            )
            self.add_module(f"patch_embed{stage + 1}", embed)
            side, inputs = -(-side // sizes.strides[stage]), width
            place = _Place(sizes, stage, side)
            blocks = nn.ModuleList(
                Block(maker.attention(place), self._mlp(maker, place), width, next(drops), EPS)
                for _ in range(sizes.blocks[stage])
            )
            self.add_module(f"block{stage + 1}", blocks)
            self._finish_stage(place)
        self.head = make.linear(width, classes, bias=True, edge=True)
        make.finish(self)

    def _mlp(self, maker: _Maker, place: _Place) -> nn.Module:
        raise NotImplementedError

    def _finish_stage(self, place: _Place) -> None:
        raise NotImplementedError


class PVTv2(_Pyramid):
    """Pyramid vision transformer, version 2, in any form of ShiftAddViT.

    A stage is ``patch_embedS`` (an overlapping convolution with stride and a layer norm),
    ``blockS.0`` and so on, ``normS``; at the end ``mean head``. A block is ``x + attn(norm1(x))``,
    ``x + mlp(norm2(x))``, an MLP ``fc1 dwconv act fc2`` with a 3x3 depthwise convolution on the
    map. The edge layers are `patch_embed1.proj` and `head`.

    Parameters
    ----------
    sizes : PVTSizes
    channels : int
        Of the images.
    ops, classes, layers
        As in :class:`pyhw.nn.LeNet5`. Of the layers' options, `attention` is ``softmax`` (with
        spatial reduction), ``msa`` (without), ``log2``, ``adder`` or ``binary`` (forms of
        ``softmax``), ``linear`` (`BinaryLinearAttention`) or ``shiftadd`` (that with shift layers
        for projections); `mlp` is ``dense``, ``shift`` (shift layers) or ``moe`` (each linear layer
        of an MLP a `Mixture` of both, with a router of its own).

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Wang et al., "PVT v2: Improved Baselines with Pyramid Vision Transformer", 2022; You et al.,
    "ShiftAddViT", NeurIPS 2023, and its authors' code.
    """

    def _mlp(self, maker: _Maker, place: _Place) -> nn.Module:
        return _MapMlp(maker, place)

    def _finish_stage(self, place: _Place) -> None:
        number = place.stage + 1
        self.add_module(f"norm{number}", nn.LayerNorm(place.channels, eps=EPS))
        self.add_module(f"to_map{number}", ToMap(place.side, place.side))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        for number in range(1, self.count + 1):
            x = getattr(self, f"patch_embed{number}")(x)
            for block in getattr(self, f"block{number}"):
                x = block(x)
            x = getattr(self, f"norm{number}")(x)
            if number < self.count:
                x = getattr(self, f"to_map{number}")(x)
        return self.head(x.mean(1))


class PVT(_Pyramid):
    """Pyramid vision transformer, version 1, in any form of ShiftAddViT.

    As :class:`PVTv2`, but patches do not overlap, each stage adds a position embedding
    (``pos_embedS``), the MLP is ``fc1 act fc2`` and as a whole an expert, there is one layer norm,
    `norm`, at the end, and the last stage has a class token, `cls_token`, which is classified.

    Parameters
    ----------
    sizes, channels, ops, classes, layers
        As of :class:`PVTv2`.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Wang et al., "Pyramid Vision Transformer", ICCV 2021; You et al., "ShiftAddViT", NeurIPS 2023,
    and its authors' code.
    """

    def _mlp(self, maker: _Maker, place: _Place) -> nn.Module:
        width = place.channels
        hidden = width * place.sizes.hidden[place.stage]
        return maker.either(width, lambda make: Mlp(make, width, hidden))

    def _finish_stage(self, place: _Place) -> None:
        number, last = place.stage + 1, place.is_last
        embedding = PositionEmbedding(place.side**2 + last, place.channels)
        self.add_module(f"pos_embed{number}", embedding)
        if last:
            self.cls_token = ClassToken(place.channels)
            self.norm = nn.LayerNorm(place.channels, eps=EPS)
        else:
            self.add_module(f"to_map{number}", ToMap(place.side, place.side))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        for number in range(1, self.count + 1):
            x = getattr(self, f"patch_embed{number}")(x)
            if number == self.count:
                x = self.cls_token(x)
            x = getattr(self, f"pos_embed{number}")(x)
            for block in getattr(self, f"block{number}"):
                x = block(x)
            if number < self.count:
                x = getattr(self, f"to_map{number}")(x)
        return self.head(self.norm(x)[:, 0])

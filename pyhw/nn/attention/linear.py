"""Binary linear attention: its work grows with the tokens, not with their square."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.nn.attention.binary import Binarise
from pyhw.nn.attention.products import Context, Reading, check_parts
from pyhw.nn.kinds import Counts, Layers
from pyhw.nn.tokens import TokenModule, ToMap, ToTokens

__all__ = ["BinaryLinearAttention", "BinaryLinearCore", "HeadNorm", "TokenConvolution"]


class HeadNorm(TokenModule):
    """Bring the channels of each head of a token to length 1: ``y = x / |x|``; zeros stay zeros.

    Parameters
    ----------
    heads : int
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C) for such."""
        return F.normalize(x.unflatten(2, (self.heads, -1)), dim=-1).flatten(2)

    def extra_repr(self) -> str:
        """Return the heads as ``print(model)`` shows them."""
        return f"heads={self.heads}"


class TokenConvolution(TokenModule):
    """A filter along the tokens, row after row, one for each head.

    Parameters
    ----------
    heads : int
        Each has a filter, which all its channels share.
    taps : int
        Odd.

    Source
    ------
    ShiftAddViT's authors' code (`dconv`).
    """

    def __init__(self, heads: int, taps: int = 9) -> None:
        super().__init__()
        self.heads, self.taps = heads, taps
        self.weight = nn.Parameter(nn.Conv2d(heads, heads, (taps, 1), groups=heads).weight.detach())

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return a product for each tap of each value."""
        return Counts(products=output.numel() * self.taps)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C) for such."""
        heads = x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, T, D)
        padding = (self.taps // 2, 0)
        y = F.conv2d(heads, self.weight, padding=padding, groups=self.heads)
        return y.transpose(1, 2).flatten(2)

    def extra_repr(self) -> str:
        """Return the sizes as ``print(model)`` shows them."""
        return f"heads={self.heads}, taps={self.taps}"


class BinaryLinearCore(nn.Module):
    """Binary linear attention proper, between the projections.

    ``q, k = sign(q - t_q), sign(k - t_k)``; ``y = norm(v + (2 / (pi D)) q (k^T v)) + conv(v)``,
    with norm per token and head. That is linear angular attention,
    ``sim(q, k) = 1/2 + q k^T / pi`` for q and k of length 1: D signs have the length sqrt(D), and
    norm makes a common factor of 2 vanish.

    Parameters
    ----------
    channels, heads : int
        D is channels / heads.
    dconv : torch.nn.Module
        The convolution of values: takes and returns tokens (N, T, C).

    Raises
    ------
    ValueError
        If heads do not divide the channels.

    Source
    ------
    You et al., "ShiftAddViT: Mixture of Multiplication Primitives Towards Efficient Vision
    Transformer", NeurIPS 2023, section 4.1, and its authors' code, which adds v itself where
    linear angular attention (You et al., "Castling-ViT", CVPR 2023, equation 5) has the sum of v.
    """

    def __init__(self, channels: int, heads: int, dconv: nn.Module) -> None:
        super().__init__()
        check_parts(1, channels, 1, heads)
        self.binarise_q, self.binarise_k = Binarise(heads), Binarise(heads)
        self.context = Context(heads)
        self.reading = Reading(heads, scale=2 * heads / (math.pi * channels))
        self.norm = HeadNorm(heads)
        self.dconv = dconv

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return tokens (N, T, C) for queries, keys and values of the same shape."""
        context = self.context(self.binarise_k(k), v)
        y = self.norm(v + self.reading(self.binarise_q(q), context))
        return y + self.dconv(v)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what `attend` does."""
        return self.attend(q, k, v)


class BinaryLinearAttention(BinaryLinearCore):
    """Attention of signs, products ordered so that no token meets another.

    ``q, k, v = qkv(x)``, ``y = proj(attend(q, k, v))``; see `BinaryLinearCore`.

    Parameters
    ----------
    make : Layers
        Makes the projections.
    channels, heads : int
    side : int or None
        Of the square map, for a 3x3 depthwise convolution of values on it; None for
        `TokenConvolution`, as published.
    values : Layers, optional
        Makes that depthwise convolution; `make` by default.

    Raises
    ------
    ValueError
        If heads do not divide the channels.
    """

    def __init__(
        self,
        make: Layers,
        channels: int,
        heads: int,
        side: int | None = None,
        values: Layers | None = None,
    ) -> None:
        dconv: nn.Module
        if side is None:
            dconv = TokenConvolution(heads)
        else:
            conv = (values or make).conv(channels, channels, 3, padding=1, groups=channels)
            dconv = nn.Sequential(ToMap(side, side), conv, ToTokens())
        super().__init__(channels, heads, dconv)
        self.qkv = make.linear(channels, 3 * channels, bias=True)
        self.proj = make.linear(channels, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return tokens (N, T, C) for such."""
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(self.attend(q, k, v))

"""What vision transformers are built of beside attention: tokens, positions, residuals, blocks.

Tokens are (N, T, C): T places of a map row by row, channels last, so that a map in PyTorch's
channels-last order becomes tokens without moving anything.
"""

import torch
from torch import Tensor, nn

from pyhw.nn.kinds import Counts, Layers

__all__ = ["Block", "ClassToken", "Coefficient", "DropPath", "Mlp", "Permutation",
           "PositionEmbedding", "ToMap", "ToTokens", "TokenModule", "drop_shares"]  # fmt: skip

SPREAD = 0.02
"""Standard deviation of fresh position embeddings (SReT, PVT and DeiT alike)."""


class TokenModule(nn.Module):
    """A module that tracers take whole: what it does is one operation of the integer graph."""

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return what it did for one image, given what it was called with for one; nothing here."""
        return Counts()


class ToTokens(TokenModule):
    """Turn a map into tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, H * W, C) for a map (N, C, H, W)."""
        return x.flatten(2).transpose(1, 2)


class ToMap(TokenModule):
    """Turn tokens into a map.

    Parameters
    ----------
    height, width : int
        Of the map.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for tokens (N, H * W, C)."""
        return x.transpose(1, 2).unflatten(2, (self.height, self.width))

    def extra_repr(self) -> str:
        """Return the map's size as ``print(model)`` shows it."""
        return f"{self.height}, {self.width}"


class PositionEmbedding(TokenModule):
    """Add a trained number to every channel of every place.

    Parameters
    ----------
    *shape : int
        Of what it is added to, without the batch: (C, H, W) of a map, (T, C) of tokens.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(1, *shape))
        nn.init.trunc_normal_(self.embedding, std=SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.embedding


class ClassToken(TokenModule):
    """Put a trained token before all others, the same for every image.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 1 + T, C) for tokens (N, T, C)."""
        return torch.cat((self.token.expand(len(x), -1, -1), x), 1)


class Coefficient(TokenModule):
    """Scale a branch of a residual sum by one trained number, 1 at first.

    Source
    ------
    SReT (ECCV 2022), section 3.3: learnable residual connections.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``scale * x``."""
        return self.scale * x


class DropPath(TokenModule):
    """Leave a residual branch out for some images of a batch, in training only.

    Parameters
    ----------
    share : float
        Of the images, from 0 to below 1; what stays is scaled up to keep the mean.

    Raises
    ------
    ValueError
        If the share is out of range.

    Source
    ------
    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"share must be from 0 to below 1, not {share!r}")
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch, or zeros in its place."""
        if not self.training or not self.share:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.share
        return x * kept / (1 - self.share)

    def extra_repr(self) -> str:
        """Return the share as ``print(model)`` shows it."""
        return f"{self.share:g}"


def drop_shares(last: float, blocks: int) -> list[float]:
    """Return the share of `DropPath` for each block: 0 in the first, `last` in the last one."""
    return [last * number / max(1, blocks - 1) for number in range(blocks)]


class Permutation(TokenModule):
    """Put tokens into another order, drawn once and kept in the checkpoint.

    The published code draws a new one at every pass, in evaluation too, so that the same image
    gives other answers each time; here it is part of the network.

    Parameters
    ----------
    tokens : int
        How many.

    Source
    ------
    SReT (ECCV 2022), section 3.2.
    """

    order: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(tokens))

    def forward(self, x: Tensor, back: bool = False) -> Tensor:
        """Return the tokens (N, T, C) in the new order, or from it in the first one."""
        return x.index_select(1, self.order.argsort() if back else self.order)

    def extra_repr(self) -> str:
        """Return the number of tokens as ``print(model)`` shows it."""
        return str(len(self.order))


class Mlp(nn.Module):
    """Two linear layers with GELU between them, on each token alone.

    ``y = fc2(gelu(fc1(x)))``.

    Parameters
    ----------
    make : Layers
        Makes the linear layers.
    channels, hidden : int
        Of the tokens, and between the layers.
    """

    def __init__(self, make: Layers, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = make.linear(channels, hidden, bias=True)
        self.act = nn.GELU()
        self.fc2 = make.linear(hidden, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """A block of a transformer: ``x = x + attn(norm1(x))``, ``x = x + mlp(norm2(x))``.

    Parameters
    ----------
    attn, mlp : torch.nn.Module
        Take and return tokens (N, T, C).
    channels : int
    drop : float
        Share of the images that skip a branch in training.
    eps : float
        Of the layer norms.
    """

    def __init__(
        self, attn: nn.Module, mlp: nn.Module, channels: int, drop: float, eps: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attn = attn
        self.drop_path = DropPath(drop)
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

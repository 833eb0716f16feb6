"""Products of attention: of two maps of tokens, head by head and slice by slice.

Tokens (N, T, C) are cut into `slices` runs of T / slices tokens, and channels into `heads` runs of
C / heads; attention happens within a slice and a head. Between the two products of softmax
attention values are (N, slices, heads, T / slices, S / slices): a row for each query.
"""

import torch
from torch import Tensor

from pyhw.nn.kinds import Counts
from pyhw.nn.tokens import TokenModule

__all__ = ["Context", "Distances", "Reading", "Scores", "Weighing", "check_parts", "merge", "split"]


def check_parts(tokens: int, channels: int, slices: int, heads: int) -> None:
    """Refuse tokens that slices, or channels that heads do not divide.

    Raises
    ------
    ValueError
        Naming both numbers.
    """
    if slices < 1 or tokens % slices:
        raise ValueError(f"slices must divide the {tokens} tokens, not be {slices}")
    if heads < 1 or channels % heads:
        raise ValueError(f"heads must divide the {channels} channels, not be {heads}")


def split(x: Tensor, slices: int, heads: int) -> Tensor:
    """Return (N, slices, heads, T / slices, C / heads) for tokens (N, T, C)."""
    count, tokens, channels = x.shape
    check_parts(tokens, channels, slices, heads)
    parts = x.reshape(count, slices, tokens // slices, heads, channels // heads)
    return parts.transpose(2, 3)


def merge(x: Tensor) -> Tensor:
    """Return tokens (N, T, C) for (N, slices, heads, T / slices, C / heads)."""
    return x.transpose(2, 3).flatten(3).flatten(1, 2)


class _Product(TokenModule):
    def __init__(self, heads: int, slices: int = 1) -> None:
        super().__init__()
        self.heads, self.slices = heads, slices

    def extra_repr(self) -> str:
        """Return heads and slices as ``print(model)`` shows them."""
        return f"heads={self.heads}, slices={self.slices}"


class _ScaledProduct(_Product):
    def __init__(self, heads: int, slices: int = 1, scale: float = 1.0) -> None:
        super().__init__(heads, slices)
        self.scale = scale


class Scores(_ScaledProduct):
    """How much each query has in common with each key: ``s[i, j] = scale * sum_c q[i, c] k[j, c]``.

    Parameters
    ----------
    heads, slices : int
        As the module's text says.
    scale : float
        Usually one over the root of a head's channels.
    signs : bool
        Whether queries and keys are -1 and 1, so that nothing is multiplied.
    """

    def __init__(
        self, heads: int, slices: int = 1, scale: float = 1.0, signs: bool = False
    ) -> None:
        super().__init__(heads, slices, scale)
        self.signs = signs

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return a product for each channel of a head of each score."""
        pairs = output.numel() * inputs[0].shape[2] // self.heads
        return Counts(additions=pairs) if self.signs else Counts(products=pairs)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scores of queries (N, T, C) and keys (N, S, C)."""
        q, k = (split(x, self.slices, self.heads) for x in (q, k))
        return self.scale * q @ k.transpose(-1, -2)


class Weighing(_Product):
    """Sum values by the weights of each query: ``y[i, c] = sum_j w[i, j] v[j, c]``.

    Parameters
    ----------
    heads, slices : int
        As the module's text says.
    powers : bool
        Whether weights are powers of two over their sum, so that values are shifted.
    """

    def __init__(self, heads: int, slices: int = 1, powers: bool = False) -> None:
        super().__init__(heads, slices)
        self.powers = powers

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return a product for each value that a token weighs."""
        pairs = output.numel() * inputs[0].shape[-1]
        return Counts(shifts=pairs) if self.powers else Counts(products=pairs)

    def forward(self, weights: Tensor, v: Tensor) -> Tensor:
        """Return tokens (N, T, C) for weights as `Scores` shapes them, and values (N, S, C)."""
        return merge(weights @ split(v, self.slices, self.heads))


class Distances(_ScaledProduct):
    """Scores without products: ``s[i, j] = -scale * sum_c |q[i, c] - k[j, c]|``.

    The gradient is the derivative, the sign of each difference.

    Parameters
    ----------
    heads, slices : int
        As the module's text says.
    scale : float
        Usually one over the root of a head's channels.

    Source
    ------
    Shu et al., "Adder Attention for Vision Transformer", NeurIPS 2021.
    """

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return a difference for each channel of a head of each score."""
        return Counts(differences=output.numel() * inputs[0].shape[2] // self.heads)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scores of queries (N, T, C) and keys (N, S, C), never positive."""
        q, k = (split(x.float(), self.slices, self.heads).contiguous() for x in (q, k))
        return -self.scale * torch.cdist(q, k, p=1)


class Context(_Product):
    """What keys say of values: ``z[c, d] = sum_j k[j, c] v[j, d]``.

    Parameters
    ----------
    heads, slices : int
        As the module's text says.
    """

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return an addition for each token of each entry: keys are -1 and 1."""
        return Counts(additions=output.numel() * inputs[0].shape[1] // self.slices)

    def forward(self, k: Tensor, v: Tensor) -> Tensor:
        """Return (N, slices, heads, D, D) for keys and values (N, S, C)."""
        k, v = (split(x, self.slices, self.heads) for x in (k, v))
        return k.transpose(-1, -2) @ v


class Reading(_ScaledProduct):
    """What queries take of a context: ``y[i, d] = scale * sum_c q[i, c] z[c, d]``.

    Parameters
    ----------
    heads, slices : int
        As the module's text says.
    scale : float
    """

    def counts(self, inputs: tuple[Tensor, ...], output: Tensor) -> Counts:
        """Return an addition for each channel of a head: queries are -1 and 1."""
        return Counts(additions=output.numel() * inputs[1].shape[-2])

    def forward(self, q: Tensor, context: Tensor) -> Tensor:
        """Return tokens (N, T, C) for queries (N, T, C) and a `Context`."""
        return self.scale * merge(split(q, self.slices, self.heads) @ context)

"""Softmax attention, whole or in slices."""

from collections.abc import Sequence

from torch import Tensor, nn

from pyhw.nn.attention.products import Scores, Weighing, check_parts
from pyhw.nn.kinds import Layers
from pyhw.nn.tokens import Permutation

__all__ = ["SoftmaxAttention", "SoftmaxCore"]


class SoftmaxCore(nn.Module):
    """Attention proper, after the projections: ``softmax(q k^T / sqrt(D)) v``.

    Parameters
    ----------
    channels, heads, slices : int
        D is channels / heads.

    Source
    ------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1; in slices: SReT
    (ECCV 2022), section 3.2.
    """

    def __init__(self, channels: int, heads: int, slices: int = 1) -> None:
        super().__init__()
        self.scores = Scores(heads, slices, (channels // heads) ** -0.5)
        self.softmax = nn.Softmax(-1)
        self.weighing = Weighing(heads, slices)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return tokens (N, T, C) for queries (N, T, C), keys and values (N, S, C)."""
        return self.weighing(self.softmax(self.scores(q, k)), v)


class SoftmaxAttention(nn.Module):
    """Multi-head self-attention, perhaps within slices of the tokens.

    ``q, k, v = qkv(x)``, ``y = proj(softmax(q k^T / sqrt(D)) v)``. A module that is used several
    times in a row may have other slices each time; from the second time on, slices are of tokens
    in another order, which is drawn when the module is made and kept in the checkpoint.

    Parameters
    ----------
    make : Layers
        Makes the linear layers.
    channels, heads : int
        Heads divide the channels.
    tokens : int
        How many there are; slices divide them.
    slices : sequence of int
        For each time that the module is used in a row.

    Raises
    ------
    ValueError
        If heads or slices do not divide.

    Source
    ------
    SReT (ECCV 2022), section 3.2 and its authors' code: `slices` are its groups.
    """

    def __init__(
        self,
        make: Layers,
        channels: int,
        heads: int,
        tokens: int,
        slices: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        for count in slices:
            check_parts(tokens, channels, count, heads)
        self.qkv = make.linear(channels, 3 * channels, bias=True)
        self.cores = nn.ModuleList(SoftmaxCore(channels, heads, count) for count in slices)
        self.orders = nn.ModuleList(
            Permutation(tokens) if turn and count > 1 else nn.Identity()
            for turn, count in enumerate(slices)
        )
        self.proj = make.linear(channels, channels, bias=True)

    def forward(self, x: Tensor, turn: int = 0) -> Tensor:
        """Return tokens (N, T, C) for such; `turn` is how often it was used before in a row."""
        order = self.orders[turn]
        moved = isinstance(order, Permutation)
        if moved:
            x = order(x)
        q, k, v = self.qkv(x).chunk(3, -1)
        y = self.proj(self.cores[turn](q, k, v))
        return order(y, back=True) if moved else y

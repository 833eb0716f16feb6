"""Attention by weights of each pair of tokens: softmax attention and its cheaper forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from pyhw.nn.attention.binary import Binarise, Log2Softmax
from pyhw.nn.attention.products import Distances, Scores, Weighing, check_parts
from pyhw.nn.kinds import Layers
from pyhw.nn.tokens import Permutation, ToMap, ToTokens

__all__ = ["FORMS", "Form", "ReducedAttention", "SoftmaxAttention", "SoftmaxCore"]


@dataclass(frozen=True)
class Form:
    """How weights come of queries and keys.

    Attributes
    ----------
    scores : callable
        Takes heads, slices and scale, makes the module of scores.
    softmax : callable
        Makes the module that turns a row of scores into weights.
    binary : bool
        Whether queries and keys become -1 and 1 first.
    powers : bool
        Whether weights are powers of two over their sum.
    """

    scores: Callable[..., nn.Module] = Scores
    softmax: Callable[[], nn.Module] = lambda: nn.Softmax(-1)
    binary: bool = False
    powers: bool = False


FORMS = {
    "softmax": Form(),
    "log2": Form(softmax=Log2Softmax, powers=True),
    "adder": Form(scores=Distances),
    "binary": Form(scores=partial(Scores, signs=True), binary=True),
}
"""By name: softmax attention; with powers of two for weights; by L1 distances; of signs."""


class SoftmaxCore(nn.Module):
    """Attention proper, after the projections: ``softmax(q k^T / sqrt(D)) v``.

    Parameters
    ----------
    channels, heads, slices : int
        D is channels / heads.
    form : str
        A key of `FORMS`: ``log2`` has weights of powers of two, ``adder`` the scores
        ``-|q - k| / sqrt(D)``, ``binary`` the signs of q and k in their place.

    Source
    ------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1; in slices: SReT
    (ECCV 2022), section 3.2. Of the forms, `Log2Softmax`, `Distances` and `Binarise` tell.
    """

    def __init__(
        self, channels: int, heads: int, slices: int = 1, form: str = "softmax"
    ) -> None:
        super().__init__()
        made = FORMS[form]
        self.binarise_q: nn.Module = Binarise(heads) if made.binary else nn.Identity()
        self.binarise_k: nn.Module = Binarise(heads) if made.binary else nn.Identity()
        self.scores = made.scores(heads, slices, (channels // heads) ** -0.5)
        self.softmax = made.softmax()
        self.weighing = Weighing(heads, slices, made.powers)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return tokens (N, T, C) for queries (N, T, C), keys and values (N, S, C)."""
        scores = self.scores(self.binarise_q(q), self.binarise_k(k))
        return self.weighing(self.softmax(scores), v)


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
    form : str
        As of `SoftmaxCore`.

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
        form: str = "softmax",
    ) -> None:
        super().__init__()
        for count in slices:
            check_parts(tokens, channels, count, heads)
        self.qkv = make.linear(channels, 3 * channels, bias=True)
        self.cores = nn.ModuleList(SoftmaxCore(channels, heads, count, form) for count in slices)
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


class ReducedAttention(nn.Module):
    """Softmax attention to a smaller map (spatial-reduction attention).

    ``q = q(x)``, ``k, v = kv(norm(sr(x)))``, ``y = proj(softmax(q k^T / sqrt(D)) v)``; with a
    `ratio` of 1 keys and values are of the tokens themselves.

    Parameters
    ----------
    make : Layers
        Makes the layers.
    channels, heads : int
    side : int
        Of the square map, a multiple of `ratio` (what is over is not attended to).
    ratio : int
        Kernel and stride of the convolution `sr`.
    form : str
        As of `SoftmaxCore`.

    Source
    ------
    Wang et al., "Pyramid Vision Transformer", ICCV 2021, equations 1-3.
    """

    def __init__(
        self, make: Layers, channels: int, heads: int, side: int, ratio: int = 1,
        form: str = "softmax",
    ) -> None:  # fmt: skip
        super().__init__()
        check_parts(side * side, channels, 1, heads)
        self.q = make.linear(channels, channels, bias=True)
        self.kv = make.linear(channels, 2 * channels, bias=True)
        self.reduced = ratio > 1
        if self.reduced:
            self.to_map, self.to_tokens = ToMap(side, side), ToTokens()
            self.sr = make.conv(channels, channels, ratio, stride=ratio, bias=True)
            self.norm = nn.LayerNorm(channels)
        self.core = SoftmaxCore(channels, heads, form=form)
        self.proj = make.linear(channels, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, C) for such."""
        near = self.norm(self.to_tokens(self.sr(self.to_map(x)))) if self.reduced else x
        k, v = self.kv(near).chunk(2, -1)
        return self.proj(self.core(self.q(x), k, v))

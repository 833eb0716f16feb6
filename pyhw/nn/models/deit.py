"""DeiT: the plain vision transformer, to compare with."""

from torch import Tensor, nn

from pyhw.nn.attention import SoftmaxAttention
from pyhw.nn.kinds import Layers
from pyhw.nn.options import LayerOptions
from pyhw.nn.tokens import Block, ClassToken, Mlp, PositionEmbedding, ToTokens, drop_shares

__all__ = ["DeiT"]

EPS = 1e-6
PATCH, SIDE = 16, 224


class DeiT(nn.Module):
    """Vision transformer with a class token, without distillation.

    ``patch_embed.proj`` (16x16, stride 16), `cls_token`, `pos_embed`, ``blocks.0`` ... ``norm
    head``; a block is ``x + attn(norm1(x))``, ``x + mlp(norm2(x))``. The edge layers are
    `patch_embed.proj` and `head`.

    Parameters
    ----------
    channels, heads, blocks : int
        192, 3 and 12 of DeiT-tiny.
    ops, classes, layers
        As in :class:`pyhw.nn.LeNet5`; `attention` is ``softmax``, ``log2``, ``adder`` or
        ``binary``.

    Raises
    ------
    ValueError
        If `ops` is not known.

    Source
    ------
    Touvron et al., "Training data-efficient image transformers", ICML 2021; names are those of its
    authors' code.
    """

    def __init__(
        self,
        channels: int = 192,
        heads: int = 3,
        blocks: int = 12,
        ops: str = "conv",
        classes: int = 1000,
        layers: LayerOptions | None = None,
    ) -> None:
        super().__init__()
        make, options = Layers(ops, layers), layers or LayerOptions()
        tokens = (SIDE // PATCH) ** 2 + 1
        self.patch_embed = nn.Sequential()
        stem = make.conv(3, channels, PATCH, stride=PATCH, bias=True, edge=True)
        self.patch_embed.add_module("proj", stem)
        self.patch_embed.add_module("to_tokens", ToTokens())
        self.cls_token = ClassToken(channels)
        self.pos_embed = PositionEmbedding(tokens, channels)
        self.blocks = nn.Sequential(*[
            Block(
                SoftmaxAttention(make, channels, heads, tokens, form=options.attention),
                Mlp(make, channels, 4 * channels), channels, drop, EPS,
            )
            for drop in drop_shares(options.drop_path, blocks)
        ])  # fmt: skip
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.head = make.linear(channels, classes, bias=True, edge=True)
        make.finish(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (N, classes)."""
        x = self.patch_embed(x)
        x = self.pos_embed(self.cls_token(x))
        return self.head(self.norm(self.blocks(x))[:, 0])

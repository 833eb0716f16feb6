"""Binary linear attention: signs, the context of keys and values, its reading, norms of heads."""

from dataclasses import replace

import numpy as np

from pyhw.graph.ops import MatMul, Pointwise, Stats
from pyhw.graph.post import Post, token_step
from pyhw.hdl.formats import Format

from ..layer import Made
from ..operation import Value
from ..report import report_of
from ..scales import activation_scale
from ..stage import Stage
from ..token_kinds import Chain, Context, TokenKind, token_kind
from .attention import CODE_WIDTH, heads_of, one_step, together
from .norm import nearest_places

__all__ = ["Binary", "HeadNorm", "KeysOfValues", "Queries"]

SIGNS = Format(2, True)


@token_kind
class Binary(TokenKind):
    """-1 and 1 by a threshold; `options` hold a `threshold` for each channel."""

    name = "binary"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Compare."""
        return np.where(reads[0] > stage.options["threshold"], 1.0, -1.0)

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Take the threshold off, exactly on the grid of what is read; the table has the sign."""
        read = context.values[stage.source]
        fmt = Format(8, True)
        bias = -np.floor(stage.options["threshold"] / read.scale).astype(np.int64) - 1
        table = np.where(np.arange(256) < 128, 1, -1)  # by the low 8 bits
        step = replace(token_step(stage.channels, fmt), bias=bias)
        op = Pointwise(name=context.name, input=read.name,
                       post=Post(step, table=table, table_format=SIGNS))  # fmt: skip
        value = Value(context.name, SIGNS, 1.0, Chain((read,)).add(op))
        return Made(op, value, report_of(stage, value, context.reals[stage.path], None, 0, 0.0))


class _Product(TokenKind):
    """A product with signs, of one step for all its values."""

    form: str

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Scale to bytes."""
        a, b = (context.values[path] for path in stage.sources)
        real = context.reals[stage.path]
        fmt = Format(context.settings.bits, True)
        scale = activation_scale(real.z, fmt)

        def product(post: Post) -> MatMul:
            return MatMul(name=context.name, a=a.name, b=b.name, form=self.form, post=post,
                          heads=stage.options["heads"], slices=stage.options["slices"],
                          coded="a", digits=1, code_width=CODE_WIDTH)  # fmt: skip

        slope = stage.options.get("scale", 1.0) * a.scale * b.scale / scale
        op, x, beyond = one_step(stage, context, product, (a, b), fmt, slope,
                                 float(real.z.mean()) / scale)  # fmt: skip
        value = Value(context.name, fmt, scale, x)
        return Made(op, value, report_of(stage, value, real, None, 0, beyond))


@token_kind
class KeysOfValues(_Product):
    """``k^T v`` of a slice and head, a map (slices, D, C); `options` hold `heads`, `slices`."""

    name, form = "context", "tn"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Multiply."""
        slices = stage.options["slices"]
        k, v = (heads_of(x, slices, stage.options["heads"]) for x in reads)
        made = np.matmul(k.swapaxes(-1, -2), v)
        return together(made, slices, made.shape[3])


@token_kind
class Queries(_Product):
    """``scale * q z`` of a context z; `options` hold `heads`, `slices`, `scale`."""

    name, form = "reading", "nn"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Multiply."""
        slices, heads = stage.options["slices"], stage.options["heads"]
        q, z = (heads_of(x, slices, heads) for x in reads)
        return together(stage.options["scale"] * np.matmul(q, z), *reads[0].shape[1:3])


@token_kind
class HeadNorm(TokenKind):
    """``x / |x|`` of each head of a token; `options` hold `heads`."""

    name = "head_norm"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Normalise; zeros stay."""
        parts = reads[0].reshape(*reads[0].shape[:3], stage.options["heads"], -1)
        size = np.sqrt((parts * parts).sum(axis=4, keepdims=True))
        return (parts / np.maximum(size, 1e-12)).reshape(reads[0].shape)

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Choose the binary places with the least error."""
        read, real = context.values[stage.source], context.reals[stage.path]
        heads, fmt = stage.options["heads"], Format(context.settings.bits, True)
        root = np.sqrt(stage.channels // heads)  # a record makes the root mean square 1
        places = nearest_places(real.z * root, fmt)
        stats = Stats(name=context.part("stats"), input=read.name, kind="l2", heads=heads,
                      fraction=places, terms=context.settings.token_terms)  # fmt: skip
        point = Pointwise(name=context.name, input=read.name, post=Post(
            token_step(stage.channels, fmt), token=stats.name))  # fmt: skip
        chain = Chain((read,))
        chain.add(stats)
        value = Value(context.name, fmt, float(2.0**-places / root), chain.add(point))
        return Made(point, value, report_of(stage, value, real, None, 0, 0.0), (stats,))

"""Constants and permutations."""

import numpy as np

from pyhw.graph.ops import Constant, Permute
from pyhw.hdl.formats import Format

from ..layer import Made
from ..operation import Value
from ..report import report_of
from ..stage import Stage
from ..token_kinds import Chain, Context, TokenKind, token_kind

__all__ = ["Moved", "Positions"]


@token_kind
class Positions(TokenKind):
    """A map of numbers; `options` hold its `values` (H, W, C)."""

    name = "constant"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Return the map once for every image."""
        values = stage.options["values"]
        return np.broadcast_to(values, (images, *values.shape))

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Round it to signed bytes on a grid of its own, which the sum's multiplier knows."""
        real = context.reals[stage.path]
        values = stage.options["values"]
        fmt = Format(8, True)
        scale = float(np.abs(values).max()) / fmt.max or 1.0
        rounded = np.rint(values / scale).astype(np.int64)
        op = Constant(name=context.name, values=rounded, fmt=fmt)
        value = Value(context.name, fmt, scale, np.broadcast_to(rounded, real.z.shape))
        return Made(op, value, report_of(stage, value, real, None, 0, 0.0))


@token_kind
class Moved(TokenKind):
    """Tokens in another order; `options` hold the `order`."""

    name = "permute"
    signed = None
    moves = True

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Gather tokens."""
        count, height, width, channels = reads[0].shape
        tokens = reads[0].reshape(count, height * width, channels)
        return tokens[:, stage.options["order"]].reshape(reads[0].shape)

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Keep format and step."""
        read = context.values[stage.source]
        op = Permute(name=context.name, input=read.name, index=stage.options["order"])
        value = Value(context.name, read.fmt, read.scale, Chain((read,)).add(op))
        return Made(op, value, report_of(stage, value, context.reals[stage.path], None, 0, 0.0))

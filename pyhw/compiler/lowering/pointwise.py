"""Post-processing alone, and copies: a layer of the pooling unit that reads each value once."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from pyhw.graph.ops import MapType, Pointwise
from pyhw.graph.post import Post, Step
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.isa import Opcode
from pyhw.hdl.records import Instruction

from ..job import Job
from ..maps import Map
from .base import Context, Demands, LayerShape, Lowering, lowers
from .window import common_shape, pool_fields, residual_of, window_fields

__all__ = ["PointwiseLowering", "copy_job", "pointwise_job"]


@lowers(Pointwise)
class PointwiseLowering(Lowering[Pointwise]):
    """One layer of the pooling unit."""

    def jobs(self, op: Pointwise, context: Context) -> list[Job]:
        """Return the layer."""
        return [pointwise_job(op, context.config, context.maps)]

    def shapes(self, op: Pointwise, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return the layer."""
        shared = common_shape(op, known)
        shared["residual"] = shared["residual"] or known[op.input].fmt.bytes > 1
        yield LayerShape(engine="pool", block=known[op.name].channels, runs=1, run=1,
                         **shared)  # type: ignore[arg-type]

    def demands(self, op: Pointwise, known: Mapping[str, MapType]) -> Demands:
        """Return whether it reads a wide map."""
        return Demands(layers=1 + (op.post.second is not None),
                       wide=known[op.input].fmt.bytes > 1)


def pointwise_job(op: Pointwise, config: Config, maps: Mapping[str, Map]) -> Job:
    """Return the layer that post-processes a map."""
    source, target = maps[op.input], maps[op.name]
    residual = residual_of(op.post, maps)
    if source.fmt.bytes > 1:
        # Engines read bytes: a wide map comes through the residual, with m in r's place.
        first = op.post.first
        op = replace(op, post=replace(op.post, residual=op.input, first=replace(
            first, m_sign=np.zeros_like(first.m_sign), m_exponent=np.zeros_like(first.m_exponent),
            r_sign=first.m_sign, r_exponent=first.m_exponent)))
        residual = source
    window, offset = window_fields(source, target.shape, (0, 0, 0, 0), (1, 1))
    return Job(op, POOLING, source, target, residual,
               layer=Instruction.of(**window, **pool_fields(target.shape[2], config)),
               source_offset=offset)


def copy_job(name: str, source: Map, target: Map, config: Config, maps: Mapping[str, Map]) -> Job:
    """Return the layer that stores a map unchanged, or the move if there is a unit for it.

    Parameters
    ----------
    name : str
        Of the operation.
    source, target : Map
        The target may be wider: its first channels are written.
    config : Config
    maps : dict of str to Map
    """
    if not config.moves.copy:
        part = replace(target, name=name, fmt=source.fmt,
                       shape=(*target.shape[:2], source.shape[2]))
        job = pointwise_job(_copy_of(name, source), config, {**maps, name: part})
        job.target = target
        return job
    rows, columns, _ = target.shape
    strides = source.strides(columns, rows)
    return Job(_copy_of(name, source), POOLING, source, target, opcode=Opcode.COPY,
               layer=Instruction.of(n_x=columns, n_y=rows, burst=1, n_blocks=1, block_rows=1,
                                    rows=source.pixel, in_x=strides.x, in_y=strides.y,
                                    in_slot=strides.slot))


def _copy_of(name: str, source: Map) -> Pointwise:
    """Return an operation that stores a map unchanged."""
    channels = source.shape[2]
    zero = np.zeros(channels, np.int64)
    return Pointwise(name=name, input=source.name, post=Post(first=Step(
        m_sign=np.ones((1, channels), np.int8), m_exponent=np.zeros((1, channels), np.int8),
        bias=zero, shift=zero, fmt=source.fmt)))

"""Concatenation: every part is copied to its channels."""

from collections.abc import Iterable, Mapping

from pyhw.graph.ops import Concat, MapType

from ..job import Job
from .base import Context, Demands, LayerShape, Lowering, lowers
from .pointwise import copy_job
from .window import common_shape

__all__ = ["ConcatLowering"]


@lowers(Concat)
class ConcatLowering(Lowering[Concat]):
    """A layer of the pooling unit for each part."""

    def jobs(self, op: Concat, context: Context) -> list[Job]:
        """Return a copy of each part."""
        maps = context.maps
        target, offset, jobs = maps[op.name], 0, []
        for name in op.inputs:
            source = maps[name]
            job = copy_job(op.name, source, target, context.config, maps)
            job.target_offset = offset
            offset += source.pixel
            jobs.append(job)
        return jobs

    def shapes(self, op: Concat, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return a layer of each part."""
        for name in op.inputs:
            part = known[name].channels
            yield LayerShape(engine="pool", block=part, runs=1, run=1,
                             **common_shape(op, known) | {"channels": part})  # type: ignore[arg-type]

    def demands(self, op: Concat, known: Mapping[str, MapType]) -> Demands:
        """Return a layer of each part."""
        return Demands(layers=len(op.inputs))

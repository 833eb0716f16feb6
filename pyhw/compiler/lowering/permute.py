"""Permutation: a copy that reads positions by an index list."""

from collections.abc import Iterable, Mapping

import numpy as np

from pyhw.graph.ops import MapType, Permute

from ..errors import CompileError
from ..job import Job
from .base import Context, Demands, LayerShape, Lowering, lowers
from .pointwise import copy_job
from .window import common_shape

__all__ = ["PermuteLowering"]


@lowers(Permute)
class PermuteLowering(Lowering[Permute]):
    """One layer of the pooling unit."""

    def jobs(self, op: Permute, context: Context) -> list[Job]:
        """Return the layer and its index list."""
        source, target = context.maps[op.input], context.maps[op.name]
        if context.config.memory.index_entries == 0:
            raise CompileError(
                op.name, "permutes positions and the configuration has no index lists",
                "take a configuration with index_entries above 0")
        job = copy_job(op.name, source, target, context.config, context.maps)
        job.index = op.index.astype(np.int64) * source.pixel
        job.layer = job.layer.changed(in_x=0, in_y=0, in_slot=source.slot, index_mode=1)
        return [job]

    def shapes(self, op: Permute, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return the layer."""
        yield LayerShape(engine="pool", block=known[op.name].channels, runs=1, run=1,
                         **common_shape(op, known))  # type: ignore[arg-type]

    def demands(self, op: Permute, known: Mapping[str, MapType]) -> Demands:
        """Return the length of the index list."""
        return Demands(index_entries=op.index.size)

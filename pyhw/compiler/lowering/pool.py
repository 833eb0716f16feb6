"""Pooling: channels as lanes of the pooling unit."""

from collections.abc import Iterable, Mapping

import numpy as np

from pyhw.graph.ops import MapType, Pool
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.formats import Format
from pyhw.hdl.records import Instruction

from ..errors import CompileError
from ..job import Job, Weights
from ..maps import Map
from .base import Context, Demands, LayerShape, Lowering, lowers
from .window import common_shape, pool_fields, residual_of, window_fields

__all__ = ["PoolLowering"]


@lowers(Pool)
class PoolLowering(Lowering[Pool]):
    """One layer of the pooling unit."""

    def jobs(self, op: Pool, context: Context) -> list[Job]:
        """Return the layer."""
        return [_pool_job(op, context.config, context.maps)]

    def shapes(self, op: Pool, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return the layer."""
        yield LayerShape(engine="pool", block=known[op.name].channels, runs=op.taps, run=1,
                         **common_shape(op, known))  # type: ignore[arg-type]

    def demands(self, op: Pool, known: Mapping[str, MapType]) -> Demands:
        """Return what its accumulators hold."""
        fmt, summed = known[op.input].fmt, op.kind == "sum"
        return Demands(layers=1 + (op.post.second is not None), pool_max=not summed,
                       pool_sum=op.taps * max(fmt.max, -fmt.min) if summed else 0)


def _pool_job(op: Pool, config: Config, maps: Mapping[str, Map]) -> Job:
    source, target = maps[op.input], maps[op.name]
    channels = source.shape[2]
    if op.kind == "sum":
        _prove_pool(op, source.fmt, op.kernel[0] * op.kernel[1], config)
    elif not config.pool.maximum:
        raise CompileError(op.name, "is a maximum and the pooling unit only adds up",
                           "take a configuration with pool_max")
    window, offset = window_fields(source, target.shape, op.padding, op.stride)
    shared = pool_fields(channels, config)
    kh, kw = op.kernel
    shared |= {"n_kx": kw, "kx_addr": source.pixel, "kx_xb": source.pixel, "n_ky": kh,
               "ky_addr": source.row, "ky_iy": 1, "pool_max": op.kind == "max"}
    pads = op.border_values(channels, source.fmt)
    weights = None
    if any(op.padding) and pads.any():
        blocks, rows = shared["n_blocks"], shared["block_rows"]
        lanes = np.zeros((blocks, kh * kw, config.pool.lanes), np.uint8)
        for b in range(blocks):
            part = pads[b * rows:(b + 1) * rows] & 0xFF
            lanes[b, :, :len(part)] = part
        weights = Weights(np.zeros((blocks, kh * kw, 0, 0), np.uint8), lanes,
                          np.zeros(channels, np.int64))
    return Job(op, POOLING, source, target, residual_of(op.post, maps),
               layer=Instruction.of(**window, **shared), weights=weights, source_offset=offset)


def _prove_pool(op: Pool, fmt: Format, taps: int, config: Config) -> None:
    need = (taps * max(fmt.max, -fmt.min)).bit_length() + 1
    if need > config.pool.acc_width:
        raise CompileError(op.name, f"its sums need {need} bits and the pooling accumulators have "
                           f"{config.pool.acc_width}",
                           f"take a configuration with pool_acc_width of at least {need}")

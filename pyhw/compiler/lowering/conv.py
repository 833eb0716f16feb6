"""Convolutions: runs of a window as lanes, output channels as rows."""

from collections.abc import Iterable, Mapping

import numpy as np

from pyhw.graph.content import content_hash
from pyhw.graph.ops import Conv, Input, MapType
from pyhw.hdl.config import Config
from pyhw.hdl.records import Instruction

from ..codes import conv_weights
from ..errors import CompileError
from ..job import Job
from ..maps import Map
from ..masks import masks_of
from ..packing import CodeOrder
from .base import Context, Demands, LayerShape, Lowering, lowers
from .depthwise import depthwise_job, is_depthwise
from .window import common_shape, residual_of, window_fields

__all__ = ["ConvLowering", "window_runs"]


def window_runs(op: Conv, columns: int) -> tuple[int, int, int]:
    """Return the runs of a window over a map of so many columns: rows of them, columns, bytes.

    A run is the whole window where it is as wide as the map, else a kernel row, else a tap.
    """
    (kh, kw), per_group = op.kernel, op.weight_shape[3]
    if op.groups > 1 or op.dilation[1] > 1:
        return kh, kw, per_group
    whole = kw == columns and not any(op.padding) and kh * kw > 1
    if whole and (kh == 1 or op.dilation[0] == 1):
        return 1, 1, kh * kw * per_group
    return kh, 1, kw * per_group


@lowers(Conv)
class ConvLowering(Lowering[Conv]):
    """One layer, or one for each group whose channels are more than the rows."""

    def jobs(self, op: Conv, context: Context) -> list[Job]:
        """Return the layers of an engine."""
        return _conv_jobs(op, context.config, context.maps, context.fold)

    def shapes(self, op: Conv, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return one layer."""
        shared = common_shape(op, known)
        kw, source = op.kernel[1], known[op.input]
        n_ky, n_kx, run = window_runs(op, source.shape[1])
        values, chain = op.border_values(source.channels, source.fmt), None
        pads = bool(values.any())
        if op.depthwise:
            chain = kw, kw if op.stride[1] == op.dilation[1] == 1 else 1
        yield LayerShape(
            engine=op.term, block=op.out_channels // op.groups, runs=n_ky * n_kx, run=run,
            digits=op.digits, chain=chain, masked=op.prototype is not None and not pads,
            pads=pads, content=content_hash(op.weight, op.sign, op.exponent, values),
            **shared)  # type: ignore[arg-type]

    def demands(self, op: Conv, known: Mapping[str, MapType]) -> Demands:
        """Return the convolution itself."""
        return Demands(layers=1 + (op.post.second is not None), conv=op)

    def unfolds(self, op: Conv, source: Input, config: Config) -> Conv | None:
        """Return it if folding fills more lanes."""
        if source.name in op.post.residuals:
            return None  # a residual reads the map as it is
        kh, kw = op.kernel
        channels = source.shape[2]
        engine = config.engines.get(op.term)
        if (engine is None or kh == 1 or channels > 4 or op.groups != 1
                or op.dilation != (1, 1) or channels * kh > 255
                or (kw == source.shape[1] and not any(op.padding))):
            return None
        run, folded = kw * channels, kw * channels * kh
        plain_vectors = kh * -(-run // engine.lanes)
        return op if -(-folded // engine.lanes) < plain_vectors else None


def _conv_jobs(op: Conv, config: Config, maps: Mapping[str, Map], fold: int = 1) -> list[Job]:
    engine = config.engines.get(op.term)
    if engine is None:
        raise CompileError(op.name, f"needs the {op.term} engine, which the configuration "
                           f"{config.name!r} does not have", "take one with it")
    source, target = maps[op.input], maps[op.name]
    base, offset = window_fields(source, target.shape, op.padding, op.stride)
    if is_depthwise(op, config):
        return [depthwise_job(op, engine, config, source, target, (base, offset),
                              residual_of(op.post, maps))]
    kh = op.kernel[0]
    per_group, group_rows = op.weight_shape[3], op.out_channels // op.groups
    n_ky, n_kx, run = window_runs(op, source.shape[1])
    runs = list(np.arange(n_ky * n_kx * run).reshape(n_ky * n_kx, run))
    loops = {"n_kx": n_kx, "n_ky": n_ky}
    if n_ky < kh:  # kernel rows follow each other
        base |= {"row_bytes": run}
    if op.groups > 1 or op.dilation[1] > 1:
        step = op.dilation[1] * source.pixel
        loops |= {"kx_addr": step, "kx_xb": step}
    loops |= {"ky_addr": op.dilation[0] * source.row, "ky_iy": op.dilation[0]}
    lanes = engine.lanes
    taps = [run[i:i + lanes] for run in runs for i in range(0, len(run), lanes)]
    loops |= {"n_chunks": -(-len(runs[0]) // lanes), "run_bytes": len(runs[0]),
              "n_digits": op.digits, "chunk_bytes": lanes}

    # A group of channels larger than the rows takes a job of its own.
    slices = ([slice(0, op.out_channels)] if op.groups == 1 or group_rows <= engine.rows else
              [slice(g * group_rows, (g + 1) * group_rows) for g in range(op.groups)])
    block_rows = min(engine.rows, group_rows)
    pads = op.border_values(source.shape[2], source.fmt)
    jobs = []
    for part in slices:
        blocks = [range(r, min(r + block_rows, part.stop))
                  for r in range(part.start, part.stop, block_rows)]
        order = CodeOrder.dense(taps, blocks, engine.rows, engine.lanes)
        weights = conv_weights(op, engine, source.fmt, order, pads)
        weights.masks = masks_of(op, engine, order, blocks, fold)
        jobs.append(Job(
            op, op.term, source, target,
            residual_of(op.post, maps), weights=weights, channels=part,
            source_offset=offset + part.start // group_rows * per_group,
            target_offset=part.start * target.fmt.bytes,
            layer=Instruction.of(
                **base, **loops, x_shift=op.ex, w_shift=op.ew, n_blocks=len(blocks),
                block_rows=block_rows, rows=part.stop - part.start,
                block_in=per_group if op.groups > 1 and len(slices) == 1 else 0)))
    return jobs

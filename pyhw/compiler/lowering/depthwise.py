"""Depthwise convolutions, channel by channel (``docs/depthwise.md``)."""

import numpy as np

from pyhw.engines import host_engine
from pyhw.graph.ops import Conv
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.records import Instruction

from ..codes import code_table
from ..errors import CompileError
from ..job import Job, Weights
from ..loop_nest import burst_length
from ..maps import Map
from ..masks import depthwise_masks
from ..packing import CodeOrder

__all__ = ["depthwise_job", "is_depthwise"]


def is_depthwise(op: Conv, config: Config) -> bool:
    """Return whether an operation can run channel by channel."""
    return bool(config.depthwise.columns) and op.depthwise


def _columns_at_once(op: Conv, columns: int, config: Config) -> int:
    """Return how many kernel columns go through the chain together."""
    if op.stride[1] != 1 or op.dilation[1] != 1 or columns > config.burst_depth:
        return 1
    width = op.kernel[1]
    return max(c for c in range(1, config.depthwise.columns + 1) if width % c == 0)


def depthwise_job(op: Conv, engine: EngineConfig, config: Config, source: Map, target: Map,
                  window: tuple[dict[str, int], int], residual: Map | None) -> Job:
    """Return the one job of a depthwise convolution.

    Parameters
    ----------
    op : Conv
    engine : EngineConfig
        Shape of the engine that makes the terms.
    config : Config
    source, target, residual : Map
    window : (dict, int)
        Fields of windows over the source for the target's positions, and the first one's offset.
    """
    kh, kw = op.kernel
    rows, columns, channels = target.shape
    together = _columns_at_once(op, columns, config)
    width = min(config.pool.lanes, engine.lanes, channels)
    blocks = [range(c, min(c + width, channels)) for c in range(0, channels, width)]
    fields, offset = window
    if together > 1:
        # A row has `together - 1` warm-up columns in front.
        wide = columns + together - 1
        strides = source.strides(wide, rows, op.stride)
        fields = fields | {
            "warmup": together - 1, "in_x": strides.x, "in_y": strides.y, "in_slot": strides.slot,
            "xb_y": -(wide - 1) * fields["xb_x"],
            "burst": burst_length(
                columns * rows * source.slots, config.burst_depth, columns)}
    step = together * op.dilation[1] * source.pixel
    fields = fields | {
        "depthwise": 1, "n_digits": op.digits, "n_chunks": 1, "chunk_bytes": 0,
        "run_bytes": width, "n_kx": kw // together, "kx_addr": step, "kx_xb": step, "n_ky": kh,
        "ky_addr": op.dilation[0] * source.row, "ky_iy": op.dilation[0], "x_shift": op.ex,
        "w_shift": op.ew, "n_blocks": len(blocks), "block_rows": width, "rows": channels,
        "block_in": width}

    host = host_engine(op.term)
    order = CodeOrder.depthwise((channels, kh, kw), together, blocks, config.depthwise.columns,
                                engine.lanes)
    pads = order.pads(op.border_values(channels, source.fmt), op.digits, 1, 1)
    constant = host.chain_constant(op)
    _prove_width(op, source, config, constant)
    codes = order.codes(code_table(op, engine, source.fmt), host.zero_code(engine))
    weights = Weights(codes, pads, constant, depthwise_masks(op, engine, order, together, blocks))
    return Job(op, op.term, source, target, residual,
               layer=Instruction.of(**fields), weights=weights, source_offset=offset)


def _prove_width(op: Conv, source: Map, config: Config, constant: np.ndarray) -> None:
    """Refuse a layer whose sums could overflow the pooling unit's accumulators."""
    need = host_engine(op.term).chain_bits(op, source.fmt)
    if need > config.pool.acc_width:
        raise CompileError(
            op.name, f"its sums need {need} bits and the pooling accumulators have "
            f"{config.pool.acc_width}",
            f"take a configuration with pool_acc_width of at least {need}")

"""Lowering: every operation becomes jobs of one engine each."""

from dataclasses import replace

import numpy as np

from pyhw.graph.infer import formats, most_terms, shapes
from pyhw.graph.ops import Concat, Conv, Graph, Input, Operation, Permute, Pointwise, Pool
from pyhw.graph.post import Post, Step
from pyhw.hdl.config import Config
from pyhw.hdl.formats import Format
from pyhw.hdl.isa import Engine
from pyhw.hdl.records import Instruction

from .codes import conv_weights
from .depthwise import depthwise_job, is_depthwise
from .errors import CompileError
from .fold import FoldedInput, fold_input
from .job import Job, Weights
from .maps import Map
from .masks import masks_of

__all__ = ["lower", "split_steps"]


def split_steps(graph: Graph, config: Config) -> Graph:
    """Give an operation with two stored maps to add, or a second step the hardware lacks, two.

    The second becomes a `Pointwise` operation that reads the stored y.
    """
    ops: list[Operation] = []
    names = {op.name for op in graph.ops}
    format_of = formats(graph)
    for op in graph.ops:
        post = getattr(op, "post", None)
        # A map of more than 8 bits is read in the residual's place.
        first_added = post is not None and (
            post.residual is not None or format_of[op.inputs[0]].width > 8)
        if post is None or post.second is None or (
                config.post.second_step and not (first_added and post.residual2)):
            ops.append(op)
            continue
        inner = _free_name(op.name, names)
        names.add(inner)
        ops.append(replace(op.with_post(replace(post, second=None, residual2=None)), name=inner))
        ops.append(Pointwise(name=op.name, input=inner,
                             post=Post(first=post.second, residual=post.residual2)))
    return replace(graph, ops=tuple(ops))


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name of an operation's first half; a name has at most 64 characters."""
    for number in range(len(taken) + 1):
        ending = f".first{number or ''}"
        if (free := name[:64 - len(ending)] + ending) not in taken:
            return free
    raise AssertionError("more names than there are operations")


def lower(graph: Graph, config: Config, slots: int, *, fold: bool = True
          ) -> tuple[list[Job], dict[str, Map], FoldedInput]:
    """Turn a graph into jobs.

    Parameters
    ----------
    graph : Graph
        Verified, steps split.
    config : Config
    slots : int
        Images per group that memory is laid out for.
    fold : bool
        Store the input unfolded for the first convolution where that is faster.

    Returns
    -------
    jobs, maps by value name, how the input is stored
    """
    folded = fold_input(graph, config, slots, fold=fold)
    shape_of, format_of = shapes(graph), formats(graph)
    maps = {name: Map(name, shape_of[name], format_of[name], slots) for name in shape_of}
    maps[graph.input.name] = folded.map
    jobs: list[Job] = []
    for op in graph.ops:
        if isinstance(op, Input):
            continue
        if isinstance(op, Conv) and folded.conv is not None and op.name == folded.conv.name:
            jobs += _conv_jobs(folded.conv, config, maps, fold=op.kernel[0])
        elif isinstance(op, Conv):
            jobs += _conv_jobs(op, config, maps)
        elif isinstance(op, Pool):
            jobs.append(_pool_job(op, config, maps))
        elif isinstance(op, Pointwise):
            jobs.append(_pointwise_job(op, config, maps))
        elif isinstance(op, Concat):
            jobs += _concat_jobs(op, config, maps)
        else:
            assert isinstance(op, Permute)
            jobs.append(_permute_job(op, config, maps))
    for job in jobs:
        _check_post(job, config)
    return jobs, maps, folded


def _residual(post: Post, maps: dict[str, Map]) -> Map | None:
    name = post.residual or post.residual2
    return None if name is None else maps[name]


def _window(source: Map, shape: tuple[int, int, int], padding: tuple[int, int, int, int],
            stride: tuple[int, int]) -> tuple[dict[str, int], int]:
    """Return position and border fields of windows over a map, and the first one's offset."""
    rows, columns, _ = shape
    top, left, _, _ = padding
    sy, sx = stride
    walk = source.walk(columns, rows, stride)
    return {
        "n_x": columns, "n_y": rows, "in_x": walk.x, "in_y": walk.y, "in_slot": walk.slot,
        "xb_start": -left * source.pixel, "xb_x": sx * source.pixel,
        "xb_y": -(columns - 1) * sx * source.pixel, "row_bytes": source.row,
        "iy_start": -top, "iy_y": sy, "iy_slot": -(rows - 1) * sy, "in_rows": source.shape[0],
    }, -top * source.row - left * source.pixel


def _conv_jobs(op: Conv, config: Config, maps: dict[str, Map], fold: int = 1) -> list[Job]:
    engine = config.engines.get(op.term)
    if engine is None:
        raise CompileError(op.name, f"needs the {op.term} engine, which the configuration "
                           f"{config.name!r} does not have", "take one with both engines")
    source, target = maps[op.input], maps[op.name]
    base, offset = _window(source, target.shape, op.padding, op.stride)
    if is_depthwise(op, config):
        return [depthwise_job(op, engine, config, source, target, (base, offset),
                              _residual(op.post, maps))]
    kh, kw = op.kernel
    per_group, group_rows = op.weight_shape[3], op.out_channels // op.groups
    flat = np.arange(kh * kw * per_group).reshape(kh, kw, per_group)
    whole_row = kw == source.shape[1] and op.padding[1] == op.padding[3] == 0
    if op.groups == 1 and whole_row and (kh == 1 or op.dilation[0] == 1) and kw * kh > 1 \
            and op.dilation[1] == 1 and op.padding[0] == op.padding[2] == 0:
        runs, loops = [flat.reshape(-1)], {"n_kx": 1, "n_ky": 1}
        base |= {"row_bytes": flat.size}
    elif op.groups == 1 and op.dilation[1] == 1:
        runs = list(flat.reshape(kh, -1))
        loops = {"n_kx": 1, "n_ky": kh}
    else:
        runs = list(flat.reshape(kh * kw, -1))
        step = op.dilation[1] * source.pixel
        loops = {"n_kx": kw, "kx_addr": step, "kx_xb": step, "n_ky": kh}
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
        weights = conv_weights(op, engine, source.fmt, taps, blocks, pads)
        weights.masks = masks_of(op, engine, taps, blocks, fold)
        jobs.append(Job(
            op, Engine.L1 if op.term == "l1" else Engine.SHIFT, source, target,
            _residual(op.post, maps), weights=weights, channels=part,
            source_offset=offset + part.start // group_rows * per_group,
            target_offset=part.start * target.fmt.bytes,
            layer=Instruction.of(
                **base, **loops, x_shift=op.ex, w_shift=op.ew, n_blocks=len(blocks),
                block_rows=block_rows, rows=part.stop - part.start,
                block_in=per_group if op.groups > 1 and len(slices) == 1 else 0)))
    return jobs


def _pool_fields(channels: int, config: Config) -> dict[str, int]:
    rows = min(config.pool.lanes, channels)
    return {"n_digits": 1, "n_chunks": 1, "chunk_bytes": 0, "run_bytes": rows,
            "n_blocks": -(-channels // rows), "block_rows": rows, "rows": channels,
            "block_in": rows, "n_kx": 1, "n_ky": 1}


def _pool_job(op: Pool, config: Config, maps: dict[str, Map]) -> Job:
    source, target = maps[op.input], maps[op.name]
    channels = source.shape[2]
    if op.kind == "sum":
        _prove_pool(op, source.fmt, op.kernel[0] * op.kernel[1], config)
    elif not config.pool.maximum:
        raise CompileError(op.name, "is a maximum and the pooling unit only adds up",
                           "take a configuration with pool_max")
    window, offset = _window(source, target.shape, op.padding, op.stride)
    shared = _pool_fields(channels, config)
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
    return Job(op, Engine.POOL, source, target, _residual(op.post, maps),
               layer=Instruction.of(**window, **shared), weights=weights, source_offset=offset)


def _prove_pool(op: Pool, fmt: Format, taps: int, config: Config) -> None:
    need = (taps * max(fmt.max, -fmt.min)).bit_length() + 1
    if need > config.pool.acc_width:
        raise CompileError(op.name, f"its sums need {need} bits and the pooling accumulators have "
                           f"{config.pool.acc_width}",
                           f"take a configuration with pool_acc_width of at least {need}")


def _pointwise_job(op: Pointwise, config: Config, maps: dict[str, Map]) -> Job:
    source, target = maps[op.input], maps[op.name]
    residual = _residual(op.post, maps)
    if source.fmt.bytes > 1:
        # Engines read bytes: a wide map comes through the residual, with m in r's place.
        first = op.post.first
        op = replace(op, post=replace(op.post, residual=op.input, first=replace(
            first, m_sign=np.zeros_like(first.m_sign), m_exponent=np.zeros_like(first.m_exponent),
            r_sign=first.m_sign, r_exponent=first.m_exponent)))
        residual = source
    window, offset = _window(source, target.shape, (0, 0, 0, 0), (1, 1))
    return Job(op, Engine.POOL, source, target, residual,
               layer=Instruction.of(**window, **_pool_fields(target.shape[2], config)),
               source_offset=offset)


def _copy(name: str, source: Map) -> Pointwise:
    """Return an operation that stores a map unchanged."""
    channels = source.shape[2]
    zero = np.zeros(channels, np.int64)
    return Pointwise(name=name, input=source.name, post=Post(first=Step(
        m_sign=np.ones((1, channels), np.int8), m_exponent=np.zeros((1, channels), np.int8),
        bias=zero, shift=zero, fmt=source.fmt)))


def _concat_jobs(op: Concat, config: Config, maps: dict[str, Map]) -> list[Job]:
    target, offset, jobs = maps[op.name], 0, []
    for name in op.inputs:
        source = maps[name]
        part = replace(source, name=op.name)
        job = _pointwise_job(_copy(op.name, source), config, maps | {op.name: part})
        job.target, job.target_offset = target, offset
        offset += source.pixel
        jobs.append(job)
    return jobs


def _permute_job(op: Permute, config: Config, maps: dict[str, Map]) -> Job:
    source = maps[op.input]
    if config.memory.index_entries == 0:
        raise CompileError(op.name, "permutes positions and the configuration has no index lists",
                           "take a configuration with index_entries above 0")
    job = _pointwise_job(_copy(op.name, source), config, maps)
    job.index = op.index.astype(np.int64) * source.pixel
    job.layer = job.layer.changed(in_x=0, in_y=0, in_slot=source.slot, index_mode=1)
    return job


def _check_post(job: Job, config: Config) -> None:
    post = job.post
    if job.residual is not None and not config.residual.exists:
        wide = job.residual is job.source and job.source.fmt.bytes > 1
        what = "reads a map of more than 8 bits" if wide else "adds a stored map"
        raise CompileError(job.name, f"{what} and the configuration has no residual unit",
                           "take a configuration with residual_terms of at least 1")
    if job.residual is not None and job.residual.fmt.bytes > 1 and not config.residual.wide:
        raise CompileError(job.name, "adds or reads a map of more than 8 bits and the "
                           "configuration's residual unit takes bytes",
                           "take a configuration with residual_wide")
    if post.table is not None and config.post.tables == 0:
        raise CompileError(job.name, "uses a function table and the configuration has none",
                           "take a configuration with tables of at least 1")
    for step in filter(None, (post.first, post.second)):
        for what, sign, name in (("multipliers", step.m_sign, "terms"),
                                 ("residual's multipliers", step.r_sign, "residual_terms")):
            most = config.value(name)
            if sign is not None and (terms := most_terms(sign)) > most:
                raise CompileError(job.name, f"its {what} have {terms} terms and the "
                                   f"post-processor takes {most}",
                                   f"take a configuration with {name} of at least {terms}")

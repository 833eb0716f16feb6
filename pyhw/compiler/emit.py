"""Emission: jobs become instructions, weight words, records, tables and index lists."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from pyhw.graph.infer import largest_exponent, sum_widths
from pyhw.graph.ops import MapType
from pyhw.graph.post import Step
from pyhw.hdl.config import Config
from pyhw.hdl.formats import apply_terms, half
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import Opcode
from pyhw.hdl.records import Instruction

from .errors import CompileError
from .image import Image
from .job import Job
from .loop_nest import burst_length
from .maps import Map
from .masks import expander_remedy, place_prototypes
from .overlap import may_start_early
from .packing import pack_words
from .specialise import check_layer

__all__ = ["emit"]


def emit(jobs: list[Job], config: Config, moves: dict[str, int] | None = None) -> Image:
    """Turn placed jobs into memory contents; each job is one instruction.

    With `moves` all instructions follow a second time, for maps that are so many bytes further on
    (by name).
    """
    image, laid = Image(config), []
    places, image.prototypes = place_prototypes(jobs, config)
    image.remedy = expander_remedy(jobs, places, config)
    for index, job in enumerate(jobs):
        if job.opcode is not Opcode.COMPUTE:
            laid.append(_emit_move(job, image))
            continue
        layer, slots = job.layer, job.source.slots
        positions = layer.nest.n_x * layer.nest.n_y
        layer = layer.changed(
            opcode=Opcode.COMPUTE.value, engine=config.number(job.engine),
            x_signed=job.source.fmt.signed, n_xy=positions, n_slots=slots, slots_from_run=1,
            burst=layer.nest.burst or burst_length(positions * slots, config.burst_depth),
            in_base=(job.source.base + job.source_offset) % (1 << 24))
        layer = _emit_weights(job, layer, image, places.get(index))
        layer = layer.changed(**_emit_store(job, image))
        laid.append(_emit_index(job, layer, image))
    for moved in ({}, moves) if moves else ({},):
        before = None
        for job, layer in zip(jobs, laid, strict=True):
            layer = _moved(job, layer, moved)
            if before is not None:
                layer = layer.changed(early=may_start_early(before, layer))
            before = layer
            check_layer(job.name, layer, config)
            _check_coordinates(job.name, layer, config)
            with _refusing(job.name):
                image.program += instruction(config, job.opcode).encode(layer)
    image.program += Opcode.END.value.to_bytes(4, "little")
    image.check()
    return image


def _emit_move(job: Job, image: Image) -> Instruction:
    """Return the instruction of a job that no engine works on."""
    nest, target = job.layer.nest, job.target
    strides = target.strides(nest.n_x, nest.n_y)
    layer = job.layer.changed(
        opcode=job.opcode.value, n_xy=nest.n_x * nest.n_y, n_slots=job.source.slots,
        slots_from_run=1, in_base=job.source.base + job.source_offset,
        out_base=target.base + job.target_offset, out_x=strides.x, out_y=strides.y,
        out_slot=strides.slot)
    return _emit_index(job, layer, image)


def _emit_index(job: Job, layer: Instruction, image: Image) -> Instruction:
    """Emit the index list, if there is one."""
    if job.index is None:
        return layer
    return layer.changed(index_base=image.index.add(job.index.astype("<u4").tobytes()))


def _moved(job: Job, layer: Instruction, moves: dict[str, int]) -> Instruction:
    """Return a job's instruction when some of its maps have moved."""
    bases = {"in_base": (job.source, layer.read.in_base),
             "res_base": (job.residual, layer.residual.res_base),
             "out_base": (job.target, layer.write.out_base)}
    return layer.changed(**{
        name: (base + moves[stored.name]) % (1 << 24)
        for name, (stored, base) in bases.items() if stored is not None and stored.name in moves})


def _check_coordinates(name: str, layer: Instruction, config: Config) -> None:
    """Refuse a layer whose windows go further beside a row than the hardware can count."""
    window, steps = layer.window, layer.steps
    right = window.xb_start + (layer.nest.n_x + layer.chain.warmup - 1) * window.xb_x
    right += steps.n_kx * window.kx_xb + steps.run_bytes
    most = 1 << (config.coordinate_width - 1)
    if window.xb_start < -most or right >= most:
        raise CompileError(name, f"its padding reaches {max(-window.xb_start, right):,} bytes "
                           f"beside a row and the hardware counts to {most:,}",
                           "take a configuration with more scratch_bytes or less padding")


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Refuse a layer of which a value does not fit its field."""
    try:
        yield
    except ValueError as error:
        raise CompileError(name, f"too large for the instruction set: {error}",
                           "use a smaller map or kernel") from None


def _emit_weights(job: Job, layer: Instruction, image: Image,
                  prototype: int | None) -> Instruction:
    """Emit masks for a prototype at an address, else (None) pad values and codes."""
    config = image.config
    if job.weights is None:
        return layer
    if prototype is not None:
        assert job.weights.masks is not None
        word, bit = image.weights.add_masks(job.weights.masks.bits)
        return replace(layer, expansion=job.weights.masks.expansion).changed(
            w_base=word, mask_bit=bit, proto_base=prototype,
            code_words=config.engines[job.engine].load_words(config.weights.load_bits))
    blocks, steps, rows, lanes = job.weights.codes.shape
    parts = []
    counts = {"pad_words": 0, "code_words": 0}
    if job.weights.pads is not None:
        pads = np.zeros((blocks * steps, config.read_lanes), np.uint8)
        pads[:, :job.weights.pads.shape[-1]] = job.weights.pads.reshape(blocks * steps, -1)
        parts.append(pack_words(config, pads, 8))
        counts["pad_words"] = parts[-1].shape[1]
    if rows:
        engine = config.engines[job.engine]
        assert engine is not None
        codes = job.weights.codes.reshape(blocks * steps, rows * lanes)
        parts.append(pack_words(config, codes, engine.code_width))
        counts["code_words"] = parts[-1].shape[1]
    return layer.changed(
        w_base=image.weights.add(np.concatenate(parts, axis=1).tobytes()), **counts)


def _emit_store(job: Job, image: Image) -> dict[str, int]:
    config, post, target = image.config, job.post, job.target
    serial = target.fmt.bytes > 1
    fields = {"serial": serial, "out_log_bytes": target.fmt.bytes.bit_length() - 1,
              "u_signed": post.first.fmt.signed, "u_width": post.first.fmt.width,
              "param_base": image.params.add(_records(job, image))}
    fields |= _stride_fields("out", target, job, target.base + job.target_offset,
                           1 if serial else config.post.width)
    if post.table is not None:
        key = (post.table & 0xFF).astype(np.uint8).tobytes()
        fields |= {"table": 1, "table_index": image.tables.add(key)}
    if post.second is not None:
        fields |= {"second": 1, "y_signed": post.y_format.signed,
                   "z_signed": post.second.fmt.signed, "z_width": post.second.fmt.width}
    if job.residual is not None:
        fields |= {"res": 1, "res_second": post.residual is None,
                   "res_signed": job.residual.fmt.signed, "res_wide": job.residual.fmt.bytes > 1}
        offset = job.channels.indices(1 << 30)[0] * job.residual.fmt.bytes
        fields |= _stride_fields("res", job.residual, job, job.residual.base + offset,
                               1 if serial else config.post.width)
    return fields


def _stride_fields(prefix: str, stored: Map, job: Job, base: int, vector: int) -> dict[str, int]:
    strides = stored.strides(job.layer.nest.n_x, job.layer.nest.n_y)
    size = stored.fmt.bytes
    return {f"{prefix}_base": base, f"{prefix}_x": strides.x, f"{prefix}_y": strides.y,
            f"{prefix}_slot": strides.slot, f"{prefix}_vector": vector * size,
            f"{prefix}_block": job.layer.nest.block_rows * size}


def _term_fields(prefix: str, terms: list, channel: int) -> dict[str, int]:
    out: dict[str, int] = {}
    present = [(int(s[channel]), int(e[channel])) for s, e in terms if s[channel]]
    for t, (sign, exponent) in enumerate(present):
        out |= {f"{prefix}{t}_exponent": exponent, f"{prefix}{t}_negative": sign < 0}
    return out


def _records(job: Job, image: Image) -> bytes:
    """Return one record per output channel, the engines' constants folded into the bias."""
    first, second = job.post.first, job.post.second
    channels = range(*job.channels.indices(first.channels))
    constant = (np.zeros(first.channels, np.int64) if job.weights is None
                else job.weights.constant)
    bias = first.bias + half(first.shift.astype(np.int64)) - apply_terms(constant, first.m)
    _check_step(job, image.config)
    half_range = 1 << (image.config.sum_width - 1)
    bias = (bias + half_range) % (2 * half_range) - half_range  # sums are modulo their width
    raw = bytearray()
    absent = {name: field.high for name, field in image.layout.fields.items()
              if name.endswith("_exponent")}
    for c in channels:
        fields = {**absent, "bias": int(bias[c]), "shift": int(first.shift[c]),
                  **_term_fields("m", first.m, c)}
        residual_step: Step | None = (
            None if job.residual is None else first if job.post.residual is not None else second)
        if residual_step is not None:
            fields |= _term_fields("r", residual_step.r, c)
        if second is not None:
            shift2 = int(second.shift[c])
            fields |= {"bias2": int(second.bias[c]) + half(shift2), "shift2": shift2,
                       **_term_fields("n", second.m, c)}
        with _refusing(job.name):
            raw += image.layout.encode(**fields)
    return bytes(raw)


def _check_step(job: Job, config: Config) -> None:
    """Refuse multipliers and sums that are too large for the post-processor."""
    post, added = job.post, None if job.residual is None else job.residual.fmt
    low, high = job.op.acc_bounds(MapType(job.source.shape, job.source.fmt))
    need, *second = sum_widths(post, low, high, added if post.residual else None,
                               added if post.residual2 else None)  # fmt: skip
    if need > config.sum_width:
        raise CompileError(
            job.name, f"its sums take {need} bits and the post-processor's have "
            f"{config.sum_width}", f"take a configuration with sum_bits of at least {need}, or 0")
    assert max(second, default=0) <= 36
    largest = max(map(largest_exponent, filter(None, (post.first, post.second))))
    if largest > config.post.exponent:
        raise CompileError(
            job.name, f"its multipliers have exponents up to {largest} and the post-processor's "
            f"go to {config.post.exponent}", f"take a configuration with exponent of at least "
            f"{largest}, or quantise with --exponent {max(config.post.exponent, 4)}")

"""Masked layers for the weight expander: mask bits in its order, prototypes in its memory."""


from pyhw.engines import DoesNotFit, host_engine
from pyhw.graph.ops import Conv
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.isa import Space
from pyhw.hdl.records import Expansion

from .disassemble import layer_instructions
from .job import Job, Masks
from .packing import CodeOrder
from .program import Program

__all__ = ["depthwise_masks", "expander_remedy", "mask_summary", "masks_of", "place_prototypes"]


def masks_of(conv: Conv, engine: EngineConfig, order: CodeOrder, blocks: list[range],
             fold: int) -> Masks | None:
    """Return how the weight expander takes a layer's weights; None if it cannot.

    Parameters
    ----------
    conv : Conv
        As the engine runs it: with ``fold`` kernel rows folded into channels.
    engine : EngineConfig
    order : CodeOrder
        Which weight every lane of its rows sees.
    blocks : list of range
        Output channels of every row block.
    fold : int
        Kernel rows of the convolution before folding, 1 if it is not folded.
    """
    if conv.prototype is None:
        return None
    height, width, channels = conv.weight_shape[1:]
    if fold > 1:
        height, channels = fold, channels // fold
    # The next tap is the next channel; after the last one, the next kernel row (if folded)
    # or column, then the next column.
    plane, back = height * width, (channels - 1) * height * width
    steps = (plane, width - back, 1 - (height - 1) * width - back)
    if fold == 1:
        steps = (plane, 1 - back, 1 - back)
    taps_of_row = order.taps
    return _masks(conv, engine, order, {
        "block_bits": len(blocks[0]) * taps_of_row, "last_bits": len(blocks[-1]) * taps_of_row,
        "n_tap0": channels, "n_tap1": height if fold > 1 else 1,
    }, {
        "proto_first": blocks[0].start * taps_of_row, "proto_row": taps_of_row,
        "proto_block": len(blocks[0]) * taps_of_row,
    } | {f"proto_tap{k}": step for k, step in enumerate(steps)})


def depthwise_masks(conv: Conv, engine: EngineConfig, order: CodeOrder, together: int,
                    blocks: list[range]) -> Masks | None:
    """Return the same for a layer that runs channel by channel, or None.

    Parameters
    ----------
    conv : Conv
        Depthwise.
    engine : EngineConfig
    order : CodeOrder
    together : int
        Kernel columns of a step.
    blocks : list of range
        Channels of every block; all must have as many.
    """
    if conv.prototype is None or len({len(block) for block in blocks}) > 1:
        return None
    lanes, plane = len(blocks[0]), order.taps
    return _masks(conv, engine, order, {
        "block_bits": lanes * plane, "last_bits": lanes * plane, "n_tap0": lanes, "n_tap1": 1,
    }, {
        "proto_first": 0, "proto_row": 1, "proto_block": lanes * plane, "proto_tap0": plane,
        "proto_tap1": 0, "proto_tap2": together - (lanes - 1) * plane,
    })


def _masks(conv: Conv, engine: EngineConfig, order: CodeOrder, counts: dict[str, int],
           steps: dict[str, int]) -> Masks | None:
    """Add the prototype's codes, and take index steps modulo their number; None if too large."""
    assert conv.prototype is not None
    assert conv.sign is not None
    assert conv.code_width is not None
    used = conv.prototype[:conv.sign.size]
    sign, exponent = conv.terms.expand(used, conv.code_width, (1, 1, 1, len(used)))
    try:
        codes = host_engine(conv.term).codes(sign.ravel(), exponent.ravel(), engine.code_width)
    except DoesNotFit:
        return None
    fields = {"masked": 1, "proto_size": len(codes)} | counts | {
        name: step % len(codes) for name, step in steps.items()}
    if any(value > Expansion.layout().fields[name].high for name, value in fields.items()):
        return None
    return Masks(order.bits(conv.sign[0] != 0), codes, Expansion(**fields))


def _candidates(jobs: list[Job]) -> dict[int, Masks]:
    """Return the masks of the jobs that an expander can serve, by the jobs' numbers."""
    return {number: job.weights.masks for number, job in enumerate(jobs)
            if job.weights is not None and job.weights.masks is not None
            and job.weights.pads is None}


def place_prototypes(jobs: list[Job], config: Config) -> tuple[dict[int, int], bytearray]:
    """Choose which masked layers are expanded: those that save most for each prototype code.

    Returns
    -------
    dict of int to int
        Address of the prototype of each job that is expanded, by its number.
    bytearray
        The prototype memory; a vector that lies in another one is not stored again.
    """
    return _place(_candidates(jobs), config.weights.prototypes)


def _place(masks: dict[int, Masks], room: int) -> tuple[dict[int, int], bytearray]:
    weights: dict[bytes, int] = {}
    for mask in masks.values():
        raw = mask.prototype.tobytes()
        weights[raw] = weights.get(raw, 0) + len(mask.bits)
    memory, found = bytearray(), {}
    for raw in sorted(weights, key=lambda raw: (-weights[raw] / len(raw), -len(raw), raw)):
        place = memory.find(raw)
        if place < 0 and len(memory) + len(raw) <= room:
            place = len(memory)
            memory += raw
        if place >= 0:
            found[raw] = place
    places = {number: found[mask.prototype.tobytes()] for number, mask in masks.items()
              if mask.prototype.tobytes() in found}
    return places, memory


def expander_remedy(jobs: list[Job], places: dict[int, int], config: Config) -> str:
    """Return what masks instead of codes would need, to be added to a remedy; empty if nothing."""
    masks = _candidates(jobs)
    if len(places) == len(masks):
        return ""
    limit = 1 << 16
    all_places, memory = _place(masks, limit)
    if len(all_places) == len(places):
        return ""
    stored = {_content(job): _stored_words(job, config) for number, job in enumerate(jobs)
              if number not in all_places}
    words = sum(stored.values())
    bits = sum(map(len, {masks[number].bits.tobytes() for number in all_places}))
    words += -(-bits // config.weights.load_bits)
    return (f", or with prototypes of at least {len(memory)} and weight_words of at least "
            f"{words}: masks instead of codes")


def _content(job: Job) -> tuple[bytes, ...]:
    """Return what the weight memory holds of a job: equal jobs share it."""
    if job.weights is None:
        return ()
    pads = b"" if job.weights.pads is None else job.weights.pads.tobytes()
    return job.weights.codes.tobytes(), pads


def _stored_words(job: Job, config: Config) -> int:
    """Return the weight-memory words of a job whose codes are stored."""
    if job.weights is None:
        return 0
    blocks, steps, rows, _ = job.weights.codes.shape
    words = 0 if job.weights.pads is None else config.most_pad_words
    if rows:
        words += config.engines[job.engine].load_words(config.weights.load_bits)
    return blocks * steps * words


def mask_summary(program: Program, config: Config) -> str:
    """Return what a program's masked layers take in memory, one line; empty without any."""
    masked = [layer for layer in layer_instructions(program, config) if layer.expansion.masked]
    if not masked or config.masked is None:
        return ""
    weights = sum((layer.nest.n_blocks - 1) * layer.expansion.block_bits
                  + layer.expansion.last_bits for layer in masked)
    codes, width = len(program.section(Space.PROTOTYPES)), config.engines[config.masked].code_width
    return (f"masks: {-(-weights // 8):,} bytes, one bit for each of {weights:,} weights in "
            f"{len(masked)} layers; prototypes: {-(-codes * width // 8):,} bytes, {codes:,} codes "
            f"of {width} bits")

"""The cycle model: when every layer of a program starts and ends, before any simulation.

It walks a layer's bursts and steps with the same rules as the gateware (``docs/architecture.md``,
section "Cycles") and is held against the hardware's own counters by tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hdl.config import Config
from hdl.isa import LAYER, Engine, Opcode, Space
from hdl.timing import Timing

from .disassemble import instructions
from .program import Program

__all__ = ["LayerCycles", "estimate", "layer_cycles"]


@dataclass(frozen=True)
class LayerCycles:
    """What one layer takes.

    Parameters
    ----------
    name, engine : str
    cycles : int
        From its start to the last result stored.
    gap : int
        Cycles between the end of the layer before (or the start of the run) and its start.
    vectors : int
        Activation vectors issued.
    stall_weights : int
        Cycles spent waiting for weight words.
    stall_bank : int
        Cycles spent waiting for the post-processor.
    utilisation : float
        Useful terms / (cycles x lanes of the engine); 0 for pooling.
    """

    name: str
    engine: str
    cycles: int
    gap: int
    vectors: int
    stall_weights: int
    stall_bank: int
    utilisation: float


def _bursts(fields: dict[str, int], total: int) -> list[int]:
    full, rest = divmod(total, fields["burst"])
    return [fields["burst"]] * full + ([rest] if rest else [])


def _vectors_of_blocks(fields: dict[str, int], config: Config) -> Iterator[int]:
    """Yield the result vectors of every row block."""
    rows = fields["rows"]
    for _ in range(fields["n_blocks"]):
        here = min(rows, fields["block_rows"])
        rows -= here
        yield here if fields["single"] else -(-here // config.post_width)


def layer_cycles(fields: dict[str, int], slots: int, config: Config) -> tuple[int, int, int, int]:
    """Return cycles, vectors, weight stalls and bank stalls of one LAYER instruction."""
    timing = Timing(config)
    words = fields["pad_words"] + fields["code_words"]
    steps = fields["n_ky"] * fields["n_kx"] * fields["n_chunks"] * fields["n_digits"]
    bursts = _bursts(fields, fields["n_xy"] * slots)
    accumulate = timing.take_to_last(Engine(fields["engine"]).name.lower())
    # Times count from the start strobe. `moment` is when the first vector of the next step is
    # ready to go on past the point where weights switch.
    moment = timing.start_to_take
    loaded = timing.start_to_words + words - 1 if words else 0
    vectors = stall_weights = stall_bank = 0
    freed: list[int] = []
    drain_free = 0
    requested = timing.start_to_request
    end = 0
    for results in _vectors_of_blocks(fields, config):
        for burst in bursts:
            if len(freed) >= 2 and (bank := freed[-2] + timing.free_to_take) > moment:
                stall_bank += bank - moment
                moment = bank
            for _ in range(steps):
                if loaded > moment:
                    stall_weights += loaded - moment
                    moment = loaded
                loaded = moment + words if words else 0
                moment += burst
            vectors += steps * burst
            full = moment - 1 + accumulate
            time = max(full + 1, drain_free)
            for _ in range(results):
                time = max(time, requested + timing.request_to_ready)
                requested = time + timing.take_to_request
                count = burst * config.groups
                if fields["res"]:
                    # Results written and residuals read take turns on the port.
                    flight = timing.issue_to_write
                    rounds, rest = divmod(count - 1, flight)
                    time += rounds * 2 * flight + rest + 1
                else:
                    time += count
            freed.append(time - 1)
            drain_free = time
            end = time - 1 + timing.issue_to_write
    return end + timing.write_to_end, vectors, stall_weights, stall_bank


def estimate(program: Program, config: Config, batch: int | None = None) -> list[LayerCycles]:
    """Estimate a run of a program.

    Parameters
    ----------
    program : Program
    config : Config
        The configuration it was compiled for.
    batch : int, optional
        Images of the run; by default as many as fit.

    Returns
    -------
    list of LayerCycles
        The sum of their `cycles` and `gap` is the run.
    """
    slots = -(-(batch or program.batch) // config.groups)
    images = batch or program.batch
    timing, out, ready = Timing(config), [], 0
    now = 0
    lanes = {name: config.groups * e.rows * e.lanes for name, e in config.engines.items()}
    layers = iter(program.layers)
    for _, opcode, fields in instructions(program.section(Space.PROGRAM)):
        if opcode is not Opcode.LAYER:
            continue
        layer = next(layers)
        ready += LAYER.words + slots + timing.fetch_overhead
        start = max(now + timing.end_to_start, ready)
        cycles, vectors, weights, bank = layer_cycles(fields, slots, config)
        engine = layer.engine.lower()
        useful = layer.useful_terms * images / (cycles * lanes[engine]) if engine in lanes else 0.0
        out.append(LayerCycles(layer.name, layer.engine, cycles, start - now, vectors, weights,
                               bank, useful))
        ready = start
        now = start + cycles
    return out

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

__all__ = ["LayerCycles", "estimate", "layer_cycles", "run_cycles"]


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


class _Ports:
    """What the vectors of one layer and its results lose to each other at the scratchpads.

    A residual is read through the port that writes results, so a result waits while one that was
    asked for `flight` cycles before is written. In block RAM with a single read port the read
    also holds the vectors back, in the cycle after it.
    """

    def __init__(self, residual: bool, flight: int, shared: bool) -> None:
        self._residual, self._flight, self._shared = residual, flight, shared
        self._issued: set[int] = set()
        self._held: set[int] = set()

    def results(self, time: int, count: int) -> tuple[int, int]:
        """Return the first of `count` results from `time` on, and the cycle after the last."""
        if not self._residual:
            return time, time + count
        first = None
        for _ in range(count):
            while time - self._flight in self._issued:
                time += 1
            self._issued.add(time)
            first = time if first is None else first
            if self._shared:
                self._held.add(time + 1)
            time += 1
        assert first is not None
        return first, time

    def hold(self, first: int, end: int) -> None:
        """Hold all vectors back from a cycle to before another."""
        self._held.update(range(first, end))

    def free(self, time: int) -> int:
        """Return the first cycle from `time` on in which the vectors move."""
        while time in self._held:
            time += 1
        return time

    def after(self, time: int, moves: int) -> int:
        """Return the cycle of the last of so many moves after the one at `time`."""
        if not self._held:
            return time + moves
        time = self.free(time)
        for _ in range(moves):
            time = self.free(time + 1)
        return time


class _Vectors:
    """The point where weights switch: when the vectors of step after step pass it.

    Attributes
    ----------
    time : int
        When the first vector of the next step is ready to pass, from the start strobe.
    last : int
        When the last vector passed.
    stall_weights, stall_bank : int
        Cycles waited for weight words and for a free accumulator bank.
    """

    def __init__(self, ports: _Ports, timing: Timing, fields: dict[str, int], steps: int) -> None:
        self._ports, self._timing, self._steps = ports, timing, steps
        self._words = fields["pad_words"] + fields["code_words"]
        self._first, self._all, self._restart = 1, self._words, 0
        start = timing.start_to_words
        if fields["masked"]:
            self._first, self._all = timing.expanded
            self._restart = timing.burst_restart
            start = timing.start_to_expanded(min(fields["chunk_bytes"], fields["run_bytes"]))
        self._loaded = start + self._all - self._first if self._words else 0
        self._taken = 0
        self.time, self.last = timing.start_to_take, 0
        self.stall_weights = self.stall_bank = 0

    def step(self, burst: int) -> None:
        """Pass one step, with the first vector as soon as its weights are loaded."""
        self.wait()
        self._taken += 1
        if self._words:
            # The expander works on while the loader is full, up to its first word.
            restart = 0 if self._taken % self._steps else self._restart
            made = self._loaded + self._first + restart
            self._loaded = max(self.time + 1, made) + self._all - self._first
        self.last = self._ports.after(self.time, burst - 1)
        self.time = self._ports.after(self.last, 1)

    def wait(self) -> None:
        """Wait for the next step's weights, which holds back the vector before it too."""
        if self._loaded > self.time:
            self.stall_weights += self._loaded - self.time
            self._ports.hold(self.time, self._loaded)
            self.time = self._ports.free(self._loaded)

    def bank(self, freed: int) -> int:
        """Return when a burst passes at the earliest whose bank was freed then."""
        return self._ports.after(freed + 1, self._timing.free_to_take - 1)


def layer_cycles(fields: dict[str, int], slots: int, config: Config) -> tuple[int, int, int, int]:
    """Return cycles, vectors, weight stalls and bank stalls of one LAYER instruction."""
    timing = Timing(config)
    steps = fields["n_ky"] * fields["n_kx"] * fields["n_chunks"] * fields["n_digits"]
    order = [(results, burst) for results in _vectors_of_blocks(fields, config)
             for burst in _bursts(fields, fields["n_xy"] * slots)]
    accumulate = timing.take_to_last(Engine(fields["engine"]).name.lower())
    ports = _Ports(bool(fields["res"]), timing.issue_to_write, not config.distributed)
    passing = _Vectors(ports, timing, fields, steps)
    freed = drained = 0
    requested = timing.start_to_request
    for index, (results, burst) in enumerate(order):
        for _ in range(steps):
            passing.step(burst)
        more = index + 1 < len(order)
        # The next burst reuses the bank of the one before this, `freed` when that was drained.
        waits = more and index > 0 and passing.bank(freed) > passing.time
        if more and not waits:
            passing.wait()
        full = ports.free(passing.last + 1) - 1 + accumulate
        bank_before, time = freed, max(full + 1, drained)
        for _ in range(results):
            time = max(time, requested + timing.request_to_ready)
            first, time = ports.results(time, burst * config.groups)
            requested = first + timing.take_to_request
        freed, drained = time - 1, time
        if waits:
            taken = passing.bank(bank_before)
            passing.stall_bank += taken - passing.time
            passing.time = taken
    vectors = steps * sum(burst for _, burst in order)
    return (drained - 1 + timing.issue_to_write + timing.write_to_end, vectors,
            passing.stall_weights, passing.stall_bank)


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
        In order; `run_cycles` adds them up.
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


def run_cycles(layers: list[LayerCycles]) -> int:
    """Return the cycles of a whole run, from its start to its end."""
    return sum(layer.cycles + layer.gap for layer in layers) + Timing.end_of_run

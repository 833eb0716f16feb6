"""The cycle model: when every layer of a program starts and ends, before any simulation.

It goes through the bursts and steps of layer after layer with the same rules as the gateware
(``docs/architecture.md``, section "Cycles") and is held against the hardware's own counters by
tests.
"""

from dataclasses import dataclass

from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.instruction import instruction, opcodes
from pyhw.hdl.isa import Opcode
from pyhw.hdl.records import Instruction
from pyhw.hdl.timing import Timing, copy_pieces

from .activity import Activity, Span
from .disassemble import layer_instructions
from .loop_nest import LoopNest
from .pipeline import Pipeline, ResultPort
from .program import Program

__all__ = ["LayerCycles", "Machine", "estimate", "run_cycles", "trace"]


@dataclass(frozen=True)
class LayerCycles:
    """What one layer takes.

    Parameters
    ----------
    name, engine : str
    cycles : int
        From its start in the compute stage to the start of the next one, or to its own end if that
        comes first.
    gap : int
        Cycles before its start (in the run, or since the layer before) with nothing at work.
    vectors : int
        Activation vectors issued.
    stall_weights : int
        Cycles in which all vectors were held.
    stall_layer, stall_bank : int
        Cycles the address generator waited for the results of the layer before, and for a free
        bank.
    stall_port : int
        Cycles in this time in which the store unit, with whatever layer, waited for scratchpad
        port B.
    utilisation : float
        Useful terms / (cycles x lanes of the engine); 0 for pooling.
    """

    name: str
    engine: str
    cycles: int
    gap: int
    vectors: int
    stall_weights: int
    stall_layer: int
    stall_bank: int
    stall_port: int
    utilisation: float


class Machine:
    """An accelerator in a run: what its layers leave behind for those that follow.

    Parameters
    ----------
    config : Config
    free_residuals : bool
        Pretend that reading residuals costs nothing.
    """

    def __init__(self, config: Config, *, free_residuals: bool = False) -> None:
        self._config, self._timing = config, Timing(config)
        self._free_residuals = free_residuals
        self._words = {opcode: instruction(config, opcode).words for opcode in opcodes(config)}
        self._pipeline = Pipeline()
        self._fetch = 0
        """When the fetch of the next instruction begins."""
        self._may_start = self._may_store = 0
        """First cycles in which the compute stage and the store stage can start with the next
        layer."""
        self._tail = 0
        """First cycle in which all but the last burst of the layer before is stored."""
        self._freed = [-1, -1]
        """When the two banks that were filled last were free, but for requests on their way."""
        self._last_stored = 0

    def run(self, layer: Instruction, slots: int) -> Span:
        """Run one instruction."""
        timing, opcode = self._timing, Opcode(layer.control.opcode)
        fetched = self._fetch + self._words[opcode] + slots + timing.fetch_overhead
        start = max(fetched, self._may_start)
        store = max(start + timing.compute_to_store, self._may_store)
        return (self._compute if opcode is Opcode.COMPUTE else self._copy)(
            layer, slots, start, store)

    def _copy(self, layer: Instruction, slots: int, start: int, store: int) -> Span:
        """Copy a map, from the start of the store stage on."""
        timing, pieces = self._timing, copy_pieces(self._config, layer, slots)
        last = store + pieces
        end = last + timing.copy_to_write
        self._fetch = start if self._config.build.overlap else end + timing.write_to_store
        self._tail = 0
        self._may_start = max(last + timing.copy_to_free + timing.free_to_start,
                              store + timing.store_to_start)
        self._may_store = end + timing.write_to_store
        compute, stores = Activity(), Activity()
        compute.add("layer", start, store)
        compute.add("vectors", store + 1, last + 1)
        stores.add("results", store + 1, last + 1)
        return Span(start, end, pieces, 0, store - start, 0, compute, stores)

    def _compute(self, layer: Instruction, slots: int, start: int, store: int) -> Span:
        """Run an engine over a map and store what it makes."""
        config, timing, pipeline = self._config, self._timing, self._pipeline
        stored = store + timing.store_to_issue
        nest = LoopNest.of(layer, slots)
        bursts = nest.burst_positions()
        engine = POOLING if layer.chain.depthwise else config.engine(layer.terms.engine)
        accumulate = timing.take_to_last(engine)
        port = ResultPort(layer, nest, config, pipeline, free=self._free_residuals)
        order = [(block, number) for block in range(nest.blocks) for number in range(len(bursts))]

        passes = _Passes(pipeline, timing, layer, nest, start)
        requested = store + timing.start_to_request
        results, tail = Activity(), 0
        for index, (block, number) in enumerate(order):
            early = layer.read.early and index == 0
            passes.gate(min(stored, self._tail) if early else stored, self._freed[-2] + 1)
            burst = bursts[number]
            for _ in range(nest.steps):
                passes.step(nest.burst_vectors(burst))
            if index + 1 < len(order) and passes.goes_on(stored, self._freed[-1] + 1):
                passes.wait()
            full = pipeline.free(passes.last + 1) - 1 + accumulate
            time = max(full + 1, self._last_stored)
            for first, count in port.vectors(nest.channels_of(block)):
                time = max(time, requested + timing.request_to_ready)
                begun, time = port.results(time, block, number, first, count, burst)
                results.add("results", begun, time)
                requested = begun + timing.take_to_request
            ahead = 0 if layer.residual.res else min(timing.freed_ahead, burst - 1)
            self._freed = [self._freed[-1], time - 1 - ahead]
            self._last_stored = time
            if index == len(order) - 2:
                tail = time - 1 + timing.issue_to_write + timing.write_to_tail

        end = self._last_stored - 1 + timing.issue_to_write
        self._fetch = start if config.build.overlap else end + timing.write_to_store
        self._tail = tail
        self._may_start = max(
            pipeline.free(passes.last + 1) - 1 + timing.take_to_free(engine)
            + timing.free_to_start,
            store + timing.store_to_start)
        self._may_store = end + timing.write_to_store
        held = pipeline.held(start + 1, pipeline.free(passes.last + 1) + 1)
        return Span(start, end, nest.vectors, len(held), passes.stall_layer, passes.stall_bank,
                    passes.activity, results, held, port.conflicts)


class _Passes:
    """The point where weights switch: when the vectors of step after step pass it.

    Attributes
    ----------
    time : int
        When the next vector is ready to pass.
    last : int
        When the last vector passed.
    stall_layer, stall_bank : int
        As in `LayerCycles`.
    activity : Activity
        As `Span.front`.
    """

    def __init__(self, pipeline: Pipeline, timing: Timing, layer: Instruction,
                 nest: LoopNest, start: int) -> None:
        self._pipeline, self._timing = pipeline, timing
        self._words = layer.operand.pad_words + layer.operand.code_words
        self._first, self._all, self._restart = 1, self._words, 0
        to_first = timing.start_to_words
        if layer.expansion.masked:
            self._first, self._all = timing.expanded
            self._restart = timing.burst_restart
            lanes = layer.steps.run_bytes
            if not layer.chain.depthwise:
                lanes = min(lanes, layer.window.chunk_bytes)
            to_first = timing.start_to_expanded(lanes)
        self._loaded = start + to_first + self._all - self._first if self._words else 0
        self._steps, self._taken = nest.steps, 0
        self.time = pipeline.after(start + 1, timing.issue_to_take)
        self.last = 0
        self.stall_layer = self.stall_bank = 0
        self.activity = Activity()

    def _ready(self, *gates: int) -> int:
        """Return when a vector passes that may be issued from these cycles on."""
        return self._pipeline.after(max(gates), self._timing.issue_to_take)

    def goes_on(self, layer: int, bank: int) -> bool:
        """Return whether the next burst follows without a gap."""
        return self._ready(layer, bank) <= self.time

    def gate(self, layer: int, bank: int) -> None:
        """Wait until a burst may be issued: for the layer before, then for a bank."""
        for name, gate in (("layer", layer), ("bank", bank)):
            ready = self._ready(gate)
            if ready > self.time:
                waited = ready - self.time - len(self._pipeline.held(self.time, ready))
                setattr(self, f"stall_{name}", getattr(self, f"stall_{name}") + waited)
                self.activity.add(name, self.time, ready)
                self.time = ready

    def step(self, burst: int) -> None:
        """Pass one step, with the first vector as soon as its weights are loaded."""
        self.wait()
        self._taken += 1
        if self._words:
            # The expander works on while the loader is full, up to its first word.
            restart = 0 if self._taken % self._steps else self._restart
            made = self._loaded + self._first + restart
            self._loaded = max(self.time + 1, made) + self._all - self._first
        self.last = self._pipeline.after(self.time, burst - 1)
        self.activity.add("vectors", self.time, self.last + 1)
        self.time = self._pipeline.after(self.last, 1)

    def wait(self) -> None:
        """Wait for the next step's weights, which holds back the vector before it too."""
        if self._loaded > self.time:
            self._pipeline.hold(self.time, self._loaded)
            self.time = self._pipeline.free(self._loaded)


def trace(program: Program, config: Config, batch: int | None = None, *,
         alone: bool = False, free_residuals: bool = False) -> list[Span]:
    """Trace a run of a program; parameters as of `estimate` and `Machine`."""
    slots = -(-(batch or program.batch) // config.groups)
    machine, spans = Machine(config, free_residuals=free_residuals), []
    for layer in layer_instructions(program, config):
        machine = Machine(config, free_residuals=free_residuals) if alone else machine
        spans.append(machine.run(layer, slots))
    return spans


def estimate(program: Program, config: Config, batch: int | None = None, *,
             alone: bool = False, spans: list[Span] | None = None) -> list[LayerCycles]:
    """Estimate a run of a program.

    Parameters
    ----------
    program : Program
    config : Config
        The configuration it was compiled for.
    batch : int, optional
        Images of the run; by default as many as fit.
    alone : bool
        Every layer in a run of its own, as in a debug run.
    spans : list of Span, optional
        What `trace` gave for the same parameters, if it is there already.

    Returns
    -------
    list of LayerCycles
        In order; `run_cycles` adds them up.
    """
    images, timing = batch or program.batch, Timing(config)
    lanes = {name: config.groups * e.rows * e.lanes for name, e in config.engines.items()}
    if spans is None:
        spans = trace(program, config, batch, alone=alone)
    out, before = [], 0
    for index, (layer, span) in enumerate(zip(program.layers, spans, strict=True)):
        end = span.end + timing.write_to_halt - 1
        # A store stage works on while the compute stage has the next layer, or the one after.
        stores = [span] if alone else spans[max(0, index - 1):index + 1]
        until = end + 1
        if not alone and index + 1 < len(spans):
            until = spans[index + 1].start
            end = min(end, until)
        port = sum(span.start <= time < until for store in stores for time in store.conflicts)
        cycles, engine = end - span.start, layer.engine.lower()
        useful = layer.useful_terms * images / (cycles * lanes[engine]) if engine in lanes else 0.0
        out.append(LayerCycles(
            layer.name, layer.engine, cycles, span.start - before, span.vectors,
            span.stall_weights, span.stall_layer, span.stall_bank, port, useful))
        before = 0 if alone else end
    return out


def run_cycles(layers: list[LayerCycles]) -> int:
    """Return the cycles of a whole run, from its start to its end."""
    return sum(layer.cycles + layer.gap for layer in layers) + 1

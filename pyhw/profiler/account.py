"""The account of a layer: every lane in every cycle has a useful term or one cause of its loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyhw.compiler.cycles import LayerCycles, estimate, trace
from pyhw.compiler.disassemble import layer_instructions
from pyhw.compiler.loop_nest import LoopNest
from pyhw.compiler.program import Layer, Program
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.records import Instruction
from pyhw.hdl.timing import copy_bytes

__all__ = ["CAUSES", "Counted", "LayerAccount", "account", "engine_shape", "total"]

CAUSES = {
    "useful": "useful terms",
    "reduction": "reduction remainder",
    "channels": "channel remainder",
    "images": "groups without an image",
    "weights": "weights not loaded",
    "layer": "waiting for the layer before",
    "bank": "waiting for post-processing",
    "port": "residuals at the scratchpad",
    "fill": "fill and drain",
}
"""What becomes of a lane in a cycle, each with its name for people; the first is no loss."""


@dataclass(frozen=True)
class Counted:
    """Cycles of a layer, from the model or from the hardware's counters.

    Parameters
    ----------
    cycles, vectors, stall_weights, stall_layer, stall_bank, stall_port : int
        As in `LayerCycles`; the counters `Counter.CYCLES` (without `FETCH`) and so on.
    """

    cycles: int
    vectors: int
    stall_weights: int
    stall_layer: int
    stall_bank: int
    stall_port: int

    @classmethod
    def of_model(cls, layer: LayerCycles) -> "Counted":
        """Take the model's figures."""
        return cls(layer.cycles, layer.vectors, layer.stall_weights, layer.stall_layer,
                   layer.stall_bank, layer.stall_port)

    @classmethod
    def of_hardware(cls, counters: Mapping[str, int]) -> "Counted":
        """Take a set of the hardware's counters."""
        return cls(counters["CYCLES"] - counters["FETCH"], counters["VECTORS"],
                   counters["STALL_WEIGHTS"], counters["STALL_LAYER"], counters["STALL_BANK"],
                   counters["STALL_PORT"])

    @property
    def fill(self) -> int:
        """Cycles with no vector and none of the reasons that are counted."""
        return (self.cycles - self.vectors - self.stall_weights - self.stall_layer
                - self.stall_bank)


@dataclass(frozen=True)
class LayerAccount:
    """What became of all lanes of a layer's engine in all of its cycles.

    Parameters
    ----------
    name : str
    engine : str
        ``L1``, ``SHIFT`` or ``POOL``: the one that makes the terms.
    lanes : int
        Of that engine, all groups together.
    lane_cycles : dict of str to int
        By `CAUSES`, in their order; they add up to `lanes` times the cycles.
    counted : Counted
    """

    name: str
    engine: str
    lanes: int
    lane_cycles: dict[str, int]
    counted: Counted

    @property
    def utilisation(self) -> float:
        """Useful terms / (cycles x lanes), 0 to 1."""
        return self.share("useful")

    def share(self, cause: str) -> float:
        """Return the share of a cause, 0 to 1."""
        return self.lane_cycles[cause] / (self.counted.cycles * self.lanes)


def engine_shape(engine: str, config: Config) -> tuple[int, int]:
    """Return rows and lanes of an engine in each group; the pooling unit's rows have one lane."""
    if engine == POOLING.upper():
        return config.pool.lanes, 1
    if engine == "COPY":  # one group at a time, lanes are bytes
        return 1, copy_bytes(config)
    found = config.engines[engine.lower()]
    return found.rows, found.lanes


def account(program: Program, config: Config, images: int, counted: Sequence[Counted],
            unhindered: Sequence[Counted] | None = None) -> list[LayerAccount]:
    """Account for every lane and cycle of a run.

    Parameters
    ----------
    program : Program
    config : Config
        The configuration it was compiled for.
    images : int
        Images of the run, from 1 to the program's batch.
    counted : sequence of Counted
        Of every layer.
    unhindered : sequence of Counted, optional
        The same in a run in which residuals cost nothing; by default that of the model. Waits for
        a bank, and in block RAM holds, that such a run does not have are put down to residuals.

    Returns
    -------
    list of LayerAccount

    Raises
    ------
    ValueError
        If the vectors counted are not those that a layer has.
    """
    if unhindered is None:
        spans = trace(program, config, images, free_residuals=True)
        unhindered = [Counted.of_model(layer) for layer in
                      estimate(program, config, images, spans=spans)]
    return [_account(layer, made, config, images, one, free) for layer, made, one, free in zip(
        program.layers, layer_instructions(program, config), counted, unhindered, strict=True)]


def _account(layer: Layer, made: Instruction, config: Config, images: int,
             counted: Counted, free: Counted) -> LayerAccount:
    if layer.engine == "COPY":
        return _copy_account(layer, made, config, images, counted)
    rows, lanes = engine_shape(layer.engine, config)
    slots = -(-images // config.groups)
    nest, issued = LoopNest.of(made, 1), LoopNest.of(made, slots).vectors
    if counted.vectors != issued:
        raise ValueError(f"layer {layer.name!r} must issue {issued} vectors, not "
                         f"{counted.vectors}")
    # Vectors an image in each row block; warm-up columns make no result.
    vectors = nest.steps * nest.step_vectors
    # In layers that work channel by channel the channels lie along the lanes, the taps along rows.
    across, along = (lanes, rows) if made.chain.depthwise else (rows, lanes)
    channels = nest.channels
    useful = layer.useful_terms * images
    if layer.engine == POOLING.upper():
        useful = nest.steps * nest.positions * channels * images
    size = config.groups * rows * lanes
    bank = max(0, counted.stall_bank - free.stall_bank)
    held = 0 if config.build.distributed else max(0, counted.stall_weights - free.stall_weights)
    found = {
        "useful": useful,
        "reduction": vectors * images * channels * along - useful,
        "channels": vectors * images * (nest.blocks * across - channels) * along,
        "images": (vectors * (slots * config.groups - images) * nest.blocks
                   * rows * lanes),
        "weights": (counted.stall_weights - held) * size,
        "layer": counted.stall_layer * size,
        "bank": (counted.stall_bank - bank) * size,
        "port": (bank + held) * size,
        "fill": counted.fill * size,
    }
    assert list(found) == list(CAUSES)
    return LayerAccount(layer.name, layer.engine, size, found, counted)


def total(accounts: Sequence[LayerAccount]) -> dict[str, float]:
    """Return the cycles of a whole run by cause; those of a layer in the shares of its lanes."""
    return {cause: sum(one.share(cause) * one.counted.cycles for one in accounts)
            for cause in CAUSES}


def _copy_account(layer: Layer, made: Instruction, config: Config, images: int,
                  counted: Counted) -> LayerAccount:
    """Account for the bytes that a copy could have moved."""
    size, place = copy_bytes(config), made.nest.rows * made.nest.n_xy
    slots = -(-images // config.groups)
    every = place * slots * config.groups
    found = dict.fromkeys(CAUSES, 0) | {
        "useful": place * images, "channels": counted.vectors * size - every,
        "images": every - place * images, "layer": counted.stall_layer * size,
        "fill": counted.fill * size}
    return LayerAccount(layer.name, layer.engine, size, found, counted)

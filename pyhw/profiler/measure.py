"""The account from the hardware's counters, held against the compiler's model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.graph.ops import Graph
from pyhw.hdl.config import Config
from pyhw.simulation.launch import ProgressCallback
from pyhw.simulation.network import Case, NetworkResult, simulate

from .account import Counted

__all__ = ["MOST_LAYERS", "Measured", "counting", "disagreement", "measure"]

MOST_LAYERS = 64
"""Sets of counters that an accelerator can have."""


@dataclass(frozen=True)
class Measured:
    """What the hardware counted in one run.

    Parameters
    ----------
    layers : list of Counted
    cycles, fetch : int
        Of the whole run; those in which nothing was at work.
    result : NetworkResult
        Its outputs, compared with the golden executor's.
    """

    layers: list[Counted]
    cycles: int
    fetch: int
    result: NetworkResult


def counting(config: Config, program: Program) -> Config:
    """Return a configuration with counters for each layer of a program.

    Raises
    ------
    UserError
        If there are too many layers.
    """
    layers = len(program.layers)
    if layers > MOST_LAYERS:
        raise UserError(f"the program has {layers} layers and the hardware can count "
                        f"{MOST_LAYERS} of them; leave out --simulate for the model's account")
    return config.changed(counted_layers=max(layers, config.port.counted_layers))


def measure(graph: Graph, program: Program, config: Config, images: np.ndarray, *, verilog: str,
            simulator: str = "verilator", on_progress: ProgressCallback | None = None) -> Measured:
    """Run a batch on the simulated accelerator and read the counters of every layer.

    Parameters
    ----------
    graph : Graph
        What the program was compiled from.
    program : Program
    config : Config
        As `counting` returns it.
    images : integer array (N, H, W, C)
        At most the program's batch.
    verilog, simulator, on_progress
        As for `pyhw.simulation.network.simulate`.

    Raises
    ------
    UserError
        If an output is not the golden executor's, or the simulation fails.
    """
    case = Case(graph=graph, program=program, images=images)
    result = simulate([case], config, verilog=verilog, simulator=simulator,
                      on_progress=on_progress)[0]
    if result.difference is not None:
        raise UserError(f"the accelerator's outputs are wrong: {result.difference}")
    # With one layer the run's counters are the layer's.
    sets = result.layers or result.counters
    return Measured([Counted.of_hardware(one) for one in sets],
                    sum(one["CYCLES"] for one in sets), sum(one["FETCH"] for one in sets), result)


def disagreement(names: Sequence[str], model: Sequence[Counted],
                 measured: Sequence[Counted]) -> str | None:
    """Return the first figure in which model and hardware differ, in words, or None.

    Parameters
    ----------
    names : sequence of str
        Of the layers.
    model, measured : sequence of Counted
    """
    if len(model) != len(measured):
        return f"the model has {len(model)} layers and the hardware counted {len(measured)}"
    for name, guess, found in zip(names, model, measured, strict=True):
        for field in fields(Counted):
            expected, got = getattr(guess, field.name), getattr(found, field.name)
            if expected != got:
                return f"layer {name!r}: {field.name} {expected:,} in the model, {got:,} measured"
    return None

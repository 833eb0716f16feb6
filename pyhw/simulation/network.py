"""Run a program on the simulated accelerator and hold every value against the golden executor."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hdl.config import Config
from pyhw.compiler.cycles import estimate
from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.graph.execute import run, run_layers
from pyhw.graph.ops import Graph

from .launch import BenchResult, ProgressCallback, run_bench

__all__ = ["Difference", "NetworkResult", "first_difference", "simulate"]


@dataclass(frozen=True)
class Difference:
    """The first value that is not what it should be."""

    layer: str
    image: int
    position: tuple[int, int, int]
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        y, x, c = self.position
        return (f"layer {self.layer!r}, image {self.image}, row {y}, column {x}, channel {c}: "
                f"expected {self.expected}, got {self.got} ({self.count} values differ)")


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """What a simulation showed.

    Parameters
    ----------
    outputs : int64 array (N, H, W, C)
    difference : Difference or None
        None if every compared value is equal.
    compared : int
        Values compared.
    counters : list of dict
        Hardware counters of the first batch: of the run, or after each layer of a debug run.
    bench : BenchResult
        Simulator, build and speed.
    """

    outputs: np.ndarray
    difference: Difference | None
    compared: int
    counters: list[dict[str, int]] = field(default_factory=list)
    bench: BenchResult


def first_difference(layer: str, expected: np.ndarray, got: np.ndarray) -> Difference | None:
    """Return where two arrays (N, H, W, C) first differ, in order of memory."""
    if expected.shape != got.shape:
        raise ValueError(f"layer {layer!r} must have shape {expected.shape}, not {got.shape}")
    wrong = expected != got
    if not wrong.any():
        return None
    image, y, x, c = (int(v) for v in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return Difference(layer, image, (y, x, c), int(expected[image, y, x, c]),
                      int(got[image, y, x, c]), int(wrong.sum()))


def simulate(
    graph: Graph, program: Program, config: Config, images: np.ndarray, *, verilog: str,
    simulator: str = "verilator", debug: bool = False, gap: float = 0.0, stall: float = 0.0,
    waves: bool = False, work_dir: Path | None = None,
    on_progress: ProgressCallback | None = None,
    expected: Callable[[], dict[str, np.ndarray]] | None = None,
) -> NetworkResult:
    """Simulate a program on images and compare with the golden executor.

    Parameters
    ----------
    graph : Graph
        What the program was compiled from.
    program, config : Program, Config
    images : integer array (N, H, W, C)
    verilog : str
        The accelerator, as `pyhw.generate` writes it.
    simulator : {"verilator", "icarus"}
    debug : bool
        Stop after every layer, read its map back and compare it.
    gap, stall : float
        Probabilities of gaps and stalls at the port.
    expected : callable, optional
        Gives the golden values; by default the executor's.

    Raises
    ------
    UserError
        If the program is for another configuration, or the bench fails.
    """
    if program.config_hash != config.hash:
        raise UserError(f"the program was compiled for configuration {program.config_hash.hex()}, "
                        f"not {config.hash.hex()} ({config.name}); compile it again")
    timeout = 200_000 + 4 * sum(la.cycles + la.gap for la in estimate(program, config))
    with tempfile.TemporaryDirectory(prefix="pyhw-network-") as folder:
        paths = {name: Path(folder) / name
                 for name in ("config.json", "program.pyhwprog", "images.npy", "outputs.npz")}
        paths["config.json"].write_text(config.to_json(), encoding="utf-8")
        program.save(paths["program.pyhwprog"])
        raw = (images.astype(np.int64) & 0xFF).astype(np.uint8)
        np.save(paths["images.npy"], raw.reshape(len(raw), -1))
        bench = run_bench(
            verilog=verilog, bench="sim.tb_network", simulator=simulator, waves=waves,
            work_dir=work_dir, on_progress=on_progress,
            parameters={
                "config": str(paths["config.json"]), "program": str(paths["program.pyhwprog"]),
                "images": str(paths["images.npy"]), "outputs": str(paths["outputs.npz"]),
                "debug": debug, "gap": gap, "stall": stall, "timeout": timeout})
        if not bench.passed:
            raise UserError(f"simulation failed: {'; '.join(bench.failures)}; see {bench.log}")
        with np.load(paths["outputs.npz"], allow_pickle=False) as found:
            got = {name: found[name] for name in found.files}
    return _compare(graph, images, got, debug, bench, expected)


def _compare(graph: Graph, images: np.ndarray, got: dict[str, np.ndarray], debug: bool,
             bench: BenchResult,
             expected: Callable[[], dict[str, np.ndarray]] | None) -> NetworkResult:
    if expected is not None:
        golden: dict[str, Any] = expected()
    else:
        golden = run_layers(graph, images) if debug else {graph.output: run(graph, images)}
    difference, compared = None, 0
    for name, value in got.items():
        # The input may be stored folded, and a split step has a value that the graph lacks.
        if name not in golden or golden[name].shape != value.shape:
            continue
        compared += value.size
        difference = difference or first_difference(name, golden[name], value)
    return NetworkResult(outputs=got[graph.output], difference=difference, compared=compared,
                         counters=bench.report.get("counters", []), bench=bench)

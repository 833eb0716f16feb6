"""Run a program on the simulated accelerator and hold every value against the golden executor."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pyhw.compiler.cycles import estimate
from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import fingerprint
from pyhw.graph.ops import Graph
from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_to_json
from pyhw.verilog import interface_of

from .launch import BenchResult, ProgressCallback, run_bench

BENCHES = {"bytes": "pyhw.sim.tb_network", "axi": "pyhw.sim.tb_axi"}
"""The bench for each interface of an accelerator; `pyhw emulate` serves those on a serial line."""

__all__ = ["BENCHES", "Case", "Difference", "NetworkResult", "check_graph", "check_program",
           "first_difference", "simulate"]


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
    layers : list of dict
        The same of every layer of that run, if the configuration counts layers.
    period : int
        Cycles from the start of one batch to that of the next, images and results included; 0
        before there are three batches.
    bench : BenchResult
        Simulator, build and speed.
    """

    outputs: np.ndarray
    difference: Difference | None
    compared: int
    counters: list[dict[str, int]] = field(default_factory=list)
    layers: list[dict[str, int]] = field(default_factory=list)
    period: int = 0
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


def check_program(program: Program, graph: Graph, config: Config) -> None:
    """Refuse a program for another accelerator or of another graph.

    Raises
    ------
    UserError
        If it is.
    """
    if program.config_hash != config.hash:
        raise UserError(
            f"the program was compiled for configuration {program.config_hash.hex()}, "
            f"not {config.hash.hex()} ({config.name}); compile it again, or name the "
            "configuration that it is for")
    check_graph(program.name, program.graph, graph)


def check_graph(name: str, compiled: str, graph: Graph) -> None:
    """Refuse a program, by its name and the hash of its graph, of another graph: `UserError`."""
    if compiled != fingerprint(graph):
        raise UserError(f"the program ({name!r}) was compiled from another graph than this one "
                        f"({graph.name!r}); compile it again")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network to simulate.

    Parameters
    ----------
    graph : Graph
        What the program was compiled from.
    program : Program
    images : integer array (N, H, W, C)
    golden : dict of int array, optional
        Expected values by name; by default the executor's.
    """

    graph: Graph
    program: Program
    images: np.ndarray
    golden: dict[str, np.ndarray] | None = None


def simulate(
    cases: Sequence[Case], config: Config, *, verilog: str, simulator: str = "verilator",
    loaded: bool = False, debug: bool = False, gap: float = 0.0, stall: float = 0.0,
    waves: bool = False, work_dir: Path | None = None, on_progress: ProgressCallback | None = None,
) -> list[NetworkResult]:
    """Run networks one after the other on one simulated accelerator, and compare every output.

    Parameters
    ----------
    cases : sequence of Case
    config : Config
    verilog : str
        The accelerator, as `pyhw.generate` writes it, with streams of bytes or AXI around it.
    simulator : {"verilator", "icarus"}
    loaded : bool
        The accelerator holds the program of the only case already, which is checked.
    debug : bool
        Stop after every layer, read its map back and compare it too.
    gap, stall : float
        Probabilities of gaps and stalls at the port, 0 to below 1.
    waves, work_dir, on_progress
        See `run_bench`.

    Raises
    ------
    UserError
        If a program is for another configuration or graph, or the bench fails.
    """
    for case in cases:
        check_program(case.program, case.graph, config)
    interface = interface_of(verilog)
    if interface not in BENCHES:
        raise UserError(f"networks must be simulated on an accelerator with the interface "
                        f"{' or '.join(BENCHES)}, not {interface!r}")
    timeout = 200_000 + 4 * max(
        sum(layer.cycles + layer.gap for layer in estimate(case.program, config))
        for case in cases)
    with tempfile.TemporaryDirectory(prefix="pyhw-network-") as name:
        folder = Path(name)
        (folder / "config.json").write_text(config_to_json(config), encoding="utf-8")
        described = [_write_case(case, folder, index) for index, case in enumerate(cases)]
        bench = run_bench(
            verilog=verilog, bench=BENCHES[interface], testcase="networks",
            simulator=simulator, waves=waves, work_dir=work_dir, on_progress=on_progress,
            parameters={"config": str(folder / "config.json"), "cases": described,
                        "loaded": loaded, "debug": debug, "gap": gap, "stall": stall,
                        "timeout": timeout})
        if not bench.passed:
            raise UserError(f"simulation failed: {'; '.join(bench.failures)}; see {bench.log}")
        results = []
        answers = (bench.report[name] for name in ("counters", "layers", "periods"))
        for case, paths, *answer in zip(cases, described, *answers, strict=True):
            with np.load(paths["outputs"], allow_pickle=False) as found:
                got = {value: found[value] for value in found.files}
            results.append(_compare(case, got, debug, bench, *answer))
    return results


def _write_case(case: Case, folder: Path, index: int) -> dict[str, str]:
    paths = {name: str(folder / f"{index}.{name}") for name in ("program", "images", "outputs")}
    paths = {name: path + {"images": ".npy", "outputs": ".npz"}.get(name, "")
             for name, path in paths.items()}
    case.program.save(paths["program"])
    raw = (case.images.astype(np.int64) & 0xFF).astype(np.uint8)
    np.save(paths["images"], raw.reshape(len(raw), -1))
    return paths


def _compare(case: Case, got: dict[str, np.ndarray], debug: bool, bench: BenchResult,
             counters: list[dict[str, int]], layers: list[dict[str, int]], period: int
             ) -> NetworkResult:  # fmt: skip
    graph, golden = case.graph, case.golden
    if golden is None:
        golden = (run_layers(graph, case.images) if debug
                  else {graph.output: run(graph, case.images)})
    difference, compared = None, 0
    for name, value in got.items():
        # The input may be stored folded, and a split step has a value that the graph lacks.
        if name not in golden or golden[name].shape != value.shape:
            continue
        compared += value.size
        difference = difference or first_difference(name, golden[name], value)
    return NetworkResult(outputs=got[graph.output], difference=difference, compared=compared,
                         counters=counters, layers=layers, period=period, bench=bench)

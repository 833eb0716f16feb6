"""Simulations in chunks, with the report that the command line prints."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from pyhw.compiler.cycles import LayerCycles, estimate, run_cycles
from pyhw.compiler.program import Program
from pyhw.errors import MissingTool, from_extra
from pyhw.graph.execute import run
from pyhw.graph.ops import Graph
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING

from .network import Case, Difference, check_program, first_difference, simulate
from .results import Results

__all__ = ["Report", "exports_agree", "find_exports", "measured_layers", "run_onnx",
           "run_torch", "run_torch_layers", "simulate_chunks"]


@dataclass
class Report:
    """What a simulation showed, for people."""

    simulator: str = ""
    images: int = 0
    resumed: int = 0
    compared: int = 0
    difference: Difference | None = None
    build_s: float = 0.0
    build_cached: bool = False
    run_s: float = 0.0
    cycles: int = 0
    counters: list[dict[str, int]] = field(default_factory=list)
    period: int = 0
    estimated: list[LayerCycles] = field(default_factory=list)
    debug: bool = False

    def lines(self) -> list[str]:
        """Return the report's lines."""
        built = "built before" if self.build_cached else f"built in {self.build_s:.0f} s"
        out = []
        if self.resumed:
            out.append(f"{self.resumed} images were simulated before, "
                       f"{self.images - self.resumed} now")
        if self.cycles:
            out.append(f"{self.simulator} ({built}): {self.cycles:,} cycles in "
                       f"{self.run_s:.1f} s, {self.cycles / max(self.run_s, 1e-9):,.0f} a second")
        if self.debug and self.counters:
            for layer, cycles in measured_layers(self):
                used = layer.utilisation * layer.cycles / max(cycles, 1)
                share = ("" if layer.engine in (POOLING.upper(), "COPY")
                         else f", utilisation {used:.1%}")
                out.append(f"  {layer.name:16} {layer.engine:5} {cycles:9,} cycles measured, "
                           f"{layer.cycles:9,} estimated{share}")
        elif self.counters:
            guess = run_cycles(self.estimated)
            out.append(f"a batch takes {self.counters[0]['CYCLES']:,} cycles measured, "
                       f"{guess:,} estimated")
            if self.period:
                out.append(f"a batch every {self.period:,} cycles, images and results included "
                           "(a byte of the port a cycle)")
        where = f"first difference: {self.difference}" if self.difference else "0 differences"
        out.append(f"{self.images} images, {self.compared:,} values compared with the golden "
                   f"executor: {where}")
        return out


def measured_layers(report: Report) -> list[tuple[LayerCycles, int]]:
    """Pair the estimate of each layer with the cycles measured in a debug run."""
    out, before = [], 0
    for layer, counters in zip(report.estimated, report.counters, strict=True):
        busy = counters["CYCLES"] - counters["FETCH"]
        out.append((layer, busy - before))
        before = busy
    return out


def simulate_chunks(
    graph: Graph, program: Program, config: Config, images: np.ndarray, results: Results, *,
    verilog: str, simulator: str = "verilator", debug: bool = False, stalls: float = 0.0,
    chunk: int = 64, on_progress: Callable[[dict[str, Any]], None] | None = None,
) -> Report:
    """Simulate the images that are not in the results yet, chunk by chunk.

    Outputs that the results have already are held against the golden executor like new ones. A
    difference ends it. An interruption raises `KeyboardInterrupt` with what is kept.
    """
    check_program(program, graph, config)
    batch = min(program.batch, max(1, len(images) - results.done))
    report = Report(simulator=simulator, debug=debug, resumed=results.done, images=results.done,
                    estimated=estimate(program, config, batch, alone=debug))
    try:
        if results.done:
            report.difference = first_difference(
                graph.output, run(graph, images[:results.done]), results.outputs)
            report.compared = results.outputs.size
        while results.done < len(images) and report.difference is None:
            part = images[results.done:results.done + chunk]
            first = results.done

            def show(event: dict[str, Any], first: int = first) -> None:
                if on_progress is not None:
                    moved = {"done": event.get("done", 0) + first, "total": len(images)}
                    on_progress(event | (moved if event["stage"] == "run" else {}))

            case = Case(graph=graph, program=program, images=part)
            found = simulate([case], config, verilog=verilog, simulator=simulator, debug=debug,
                             gap=stalls, stall=stalls, on_progress=show)[0]
            results.add(found.outputs)
            report.images += len(part)
            report.compared += found.compared
            if found.difference is not None:
                report.difference = replace(found.difference,
                                            image=found.difference.image + first)
            report.cycles += found.bench.report["cycles"]
            report.run_s += found.bench.report["seconds"]
            if not report.counters:
                report.counters, report.period = found.counters, found.period
                report.build_s = found.bench.build_s
                report.build_cached = found.bench.build_cached
    except KeyboardInterrupt:
        raise KeyboardInterrupt(results.kept()) from None
    return report


def find_exports(*, torch: bool, onnx: bool) -> None:
    """Raise `MissingTool` if what `exports_agree` needs is not installed."""
    wanted = [("torch", "train")] * torch + [("onnx", "onnx"), ("onnxruntime", "onnx")] * onnx
    for package, extra in wanted:
        if find_spec(package) is None:
            raise MissingTool(package, from_extra(extra))


def exports_agree(graph: Graph, images: np.ndarray, outputs: np.ndarray, *, torch: bool,
                  onnx: bool) -> dict[str, Difference | None]:
    """Run the torch and ONNX forms of a graph and return where each first differs, by name."""
    found: dict[str, Difference | None] = {}
    if torch:
        found["quantised torch module"] = first_difference(
            graph.output, run_torch(graph, images), outputs)
    if onnx:
        found["ONNX Runtime"] = first_difference(graph.output, run_onnx(graph, images), outputs)
    return found


def run_torch(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return the outputs of the exported torch integer module."""
    find_exports(torch=True, onnx=False)
    import torch

    from pyhw.graph.torch_export import export_torch

    module = export_torch(graph).module()
    with torch.no_grad():
        return module(torch.from_numpy(images.astype(np.int64))).numpy()


def run_torch_layers(graph: Graph, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return every value of the torch integer module, by name."""
    find_exports(torch=True, onnx=False)
    import torch

    from pyhw.graph.torch_export import IntegerModule

    with torch.no_grad():
        values = IntegerModule(graph).layers(torch.from_numpy(images.astype(np.int64)))
    return {name: value.numpy() for name, value in values.items()}


def run_onnx(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return the outputs of ONNX Runtime on the exported model."""
    find_exports(torch=False, onnx=True)
    import onnxruntime

    from pyhw.graph.onnx_export import onnx_model

    session = onnxruntime.InferenceSession(onnx_model(graph).SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    kind = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}[feed.type]
    return session.run(None, {feed.name: images.astype(kind)})[0].astype(np.int64)

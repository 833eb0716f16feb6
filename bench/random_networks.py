"""Random networks on random accelerators: every value against the golden executor.

``python -m bench.random_networks --count 200 --log random_networks.jsonl`` draws networks from
everything that the compiler accepts, over all of `CONFIGS`, and simulates each twice: with a debug
run (every layer's map is read back) and in one go, where layers overlap. One JSON line per network
goes to the log. The exit status is 1 if any value, or any cycle of the estimate, differs anywhere.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.graph.execute import run_layers
from pyhw.graph.infer import formats
from pyhw.graph.ops import Graph
from pyhw.graph.random import Limits, random_graph
from pyhw.graph.statistics import distinct_and_saturated, wanted_distinct
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.presets import PRESETS
from pyhw.simulation.network import Case, NetworkResult, simulate
from pyhw.verilog import cached_verilog

__all__ = ["CONFIGS", "cycle_error", "draw_cases", "engine", "run_cases", "wrong_counts"]


def engine(rows: int, lanes: int, code_width: int = 8, acc_width: int = 20) -> EngineConfig:
    """Return an engine's shape."""
    return EngineConfig(rows=rows, lanes=lanes, code_width=code_width, acc_width=acc_width)


_MEMORY = {
    "scratch_bytes": 16384,
    "weight_words": 4096,
    "param_records": 256,
    "program_words": 512,
    "index_entries": 512,
}

CONFIGS = {
    config.name: config.changed(counted_layers=16)
    for config in (
        PRESETS["tiny"].changed(spread=True),
        Config.of(
            name="one",
            l1=engine(1, 1, 8, 24),
            shift=engine(1, 1, 4, 24),
            pool_lanes=1,
            burst_depth=3,
            load_bits=8,
            tables=1,
            max_payload=256,
            overlap=False,
            **_MEMORY | {"weight_words": 65536},
        ),
        Config.of(
            name="odd",
            groups=3,
            l1=engine(5, 7, 8, 22),
            shift=engine(4, 9, 5, 30),
            pool_lanes=3,
            pool_acc_width=16,
            taps=3,
            burst_depth=9,
            load_bits=64,
            post_width=2,
            tables=4,
            **_MEMORY,
        ),
        Config.of(
            name="wide",
            groups=2,
            l1=engine(24, 20),
            shift=engine(20, 24, 4, 24),
            pool_lanes=11,
            taps=5,
            burst_depth=32,
            load_bits=512,
            post_width=5,
            **_MEMORY,
        ),
        Config.of(
            name="l1_only",
            groups=2,
            l1=engine(6, 10, 6),
            pool_lanes=5,
            taps=2,
            burst_depth=16,
            load_bits=32,
            post_width=3,
            residual_terms=0,
            second_step=False,
            tables=0,
            **_MEMORY,
        ),
        Config.of(
            name="shift_only",
            shift=engine(7, 5, 3, 20),
            pool_lanes=2,
            taps=3,
            burst_depth=12,
            load_bits=16,
            post_width=1,
            terms=2,
            second_step=False,
            distributed=False,
            tables=2,
            **_MEMORY,
        ),
        Config.of(
            name="deep",
            l1=engine(9, 30),
            shift=engine(8, 33, 5, 32),
            spread=True,
            pool_lanes=16,
            burst_depth=100,
            load_bits=128,
            post_width=7,
            residual_terms=3,
            tables=2,
            distributed=False,
            **_MEMORY,
        ),
        PRESETS["default"],
        Config.of(
            name="masked",
            groups=2,
            shift=engine(5, 9, 5, 24),
            pool_lanes=3,
            taps=3,
            burst_depth=10,
            load_bits=64,
            post_width=2,
            prototypes=512,
            **_MEMORY | {"weight_words": 2048},
        ),
        Config.of(
            name="three",
            groups=3,
            l1=engine(24, 20),
            shift=engine(6, 10, 4, 24),
            pool_lanes=20,
            taps=3,
            burst_depth=24,
            load_bits=256,
            post_width=8,
            **_MEMORY,
        ),
        Config.of(
            name="tall",
            l1=engine(17, 2, 7),
            shift=engine(11, 3, 3, 24),
            pool_lanes=2,
            taps=8,
            burst_depth=20,
            load_bits=32,
            post_width=4,
            terms=4,
            tables=3,
            **_MEMORY,
        ),
        Config.of(
            name="flat",
            groups=4,
            shift=engine(2, 33, 4, 28),
            pool_lanes=9,
            taps=2,
            burst_depth=6,
            load_bits=64,
            post_width=3,
            second_step=False,
            prototypes=256,
            **_MEMORY | {"weight_words": 8192},
        ),
        Config.of(
            name="nines",
            l1=engine(3, 3, 6),
            shift=engine(2, 5, 4, 28),
            pool_lanes=2,
            burst_depth=16,
            load_bits=18,
            post_width=2,
            terms=2,
            overlap=False,
            **_MEMORY | {"weight_words": 32768},
        ),
    )
}
"""Accelerators of many shapes: not powers of two, one engine, parts left out, both memories."""


def telling_images(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return as many images as make every layer show at least 30 distinct values.

    Fewer where a layer's format has fewer; no layer clamps a fifth of its results. All images
    that `random_graph` gives have this property.
    """
    types = formats(graph)
    for count in range(4, len(images), 4):
        shown = distinct_and_saturated(graph, images[:count])
        if all(
            distinct >= wanted_distinct(types[name]) and share < 0.2
            for name, (distinct, share) in shown.items()
        ):
            return images[:count]
    return images


def draw_cases(config: Config, seeds: Iterator[int], count: int, batch: int = 4) -> list[Case]:
    """Draw networks that a configuration accepts, each with its golden values."""
    limits = Limits(
        engines=tuple(config.engines),
        code_widths={name: (one.code_width,) for name, one in config.engines.items()},
        acc_width=min(e.acc_width for e in config.engines.values()),
        terms=min(config.post.terms, config.residual.terms or config.post.terms),
        masked=config.weights.prototypes > 0,
        residual=config.residual.exists,
        second=config.post.second_step,
        tables=config.post.tables > 0,
        wide=config.residual.exists,
        permute=config.memory.index_entries > 0,
    )
    cases: list[Case] = []
    while len(cases) < count:
        graph, drawn = random_graph(next(seeds), limits)
        try:
            program = compile_graph(graph, config, batch)
        except CompileError:
            continue  # too large for this configuration's memories
        images = telling_images(graph, drawn)
        cases.append(
            Case(graph=graph, program=program, images=images, golden=run_layers(graph, images))
        )
    return cases


def run_cases(
    cases: list[Case],
    config: Config,
    simulator: str,
    verilog: str | None = None,
    stalls: float = 0.1,
) -> list[tuple[NetworkResult, NetworkResult]]:
    """Simulate cases under random gaps and stalls, layer by layer and in one go."""
    verilog = verilog or cached_verilog(config)
    layers, whole = (
        simulate(cases, config, verilog=verilog, simulator=simulator, debug=debug,
                 gap=stalls, stall=stalls)
        for debug in (True, False)
    )
    return list(zip(layers, whole, strict=True))


def _describe(case: Case) -> dict[str, object]:
    graph = case.graph
    kinds = [
        type(op).__name__.lower() + f":{getattr(op, 'term', getattr(op, 'kind', ''))}"
        for op in graph.ops[1:]
    ]
    shown = distinct_and_saturated(graph, case.images)
    return {
        "network": graph.name,
        "operations": kinds,
        "images": len(case.images),
        "distinct": {name: distinct for name, (distinct, _) in shown.items()},
        "saturated": {name: round(share, 3) for name, (_, share) in shown.items()},
    }


def wrong_counts(case: Case, result: NetworkResult, config: Config) -> list[str]:
    """Return what the cycle model has other than the counters of a run in one go.

    Parameters
    ----------
    case : Case
    result : NetworkResult
        Not of a debug run.
    config : Config
        Counts layers.
    """
    guess = estimate(case.program, config, min(len(case.images), case.program.batch))
    wrong = []
    if (total := result.counters[0]["CYCLES"]) != run_cycles(guess):
        wrong.append(f"{total} cycles, not {run_cycles(guess)}")
    counted = config.port.counted_layers
    last = len(guess) if len(guess) <= counted else counted - 1
    for layer, counted in zip(guess[:last], result.layers[:last], strict=True):
        for name in ("vectors", "stall_weights", "stall_layer", "stall_bank"):
            if (value := counted[name.upper()]) != getattr(layer, name):
                wrong.append(f"{layer.name}: {value} {name}, not {getattr(layer, name)}")
    return wrong


def cycle_error(case: Case, result: NetworkResult, config: Config) -> float:
    """Return the largest relative error of the cycle estimate over the layers of a debug run."""
    before, worst = 0, 0.0
    used = min(len(case.images), case.program.batch)
    for layer, counters in zip(estimate(case.program, config, used, alone=True),
                               result.counters, strict=True):
        cycles = counters["CYCLES"] - counters["FETCH"] - before
        before = counters["CYCLES"] - counters["FETCH"]
        worst = max(worst, abs(layer.cycles - cycles) / cycles)
    return worst


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="networks in all")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--simulator", default="verilator", choices=("verilator", "icarus"))
    parser.add_argument("--config", action="append", choices=list(CONFIGS), help="only these")
    parser.add_argument("--log", type=Path, default=Path("random_networks.jsonl"))
    arguments = parser.parse_args()
    names = arguments.config or list(CONFIGS)
    share = -(-arguments.count // len(names))
    bad = 0
    with arguments.log.open("w", encoding="utf-8") as log:
        for index, name in enumerate(names):
            config = CONFIGS[name]
            started = time.monotonic()
            cases = draw_cases(config, iter(range(arguments.seed + 1000 * index, 10**9)), share)
            results = run_cases(cases, config, arguments.simulator)
            values = different = uncounted = 0
            for case, (layers, whole) in zip(cases, results, strict=True):
                difference = layers.difference or whole.difference
                counts = wrong_counts(case, whole, config)
                if error := cycle_error(case, layers, config):
                    counts.append(f"a layer of its own: {error:.2%}")
                values += layers.compared + whole.compared
                different += difference is not None
                uncounted += bool(counts)
                record = _describe(case) | {
                    "compared": layers.compared + whole.compared,
                    "difference": str(difference or ""), "wrong_counts": counts,
                }  # fmt: skip
                log.write(json.dumps({"config": name} | record) + "\n")
                log.flush()
            bad += different + uncounted
            print(
                f"{name:12} {len(cases):4} networks, {values:8} values, {different} networks "
                f"different, {uncounted} with other cycles than estimated, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    print(f"{bad} networks differ")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

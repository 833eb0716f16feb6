"""Images a second of the executor, in numpy and with compiled kernels.

``python -m bench.executor [graph ...]``; without names, the graphs of the package. Both run in one
process, in turn, on drawn images; outputs are compared.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from pyhw import MODELS
from pyhw.graph import compiled
from pyhw.graph.execute import run
from pyhw.graph.file import load

SECONDS = 2.0
"""Least time a way is measured for."""


def rate(graph, images, use):
    """Return images a second on all cores, and the outputs."""
    started, rounds = time.perf_counter(), 0
    while True:
        found = run(graph, images, compiled=use)
        rounds += 1
        spent = time.perf_counter() - started
        if spent > SECONDS:
            return rounds * len(images) / spent, found


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="*", type=Path, default=sorted(MODELS.glob("*.pyhw")))
    parser.add_argument("--images", type=int, default=64, help="drawn for each graph")
    args = parser.parse_args()
    print(f"kernels: {compiled.status()}")
    print("| graph | numpy, images/s | compiled, images/s | ratio | outputs |")
    print("|---|---:|---:|---:|---|")
    for path in args.graphs:
        graph = load(path)
        fmt, rng = graph.input.fmt, np.random.default_rng(0)
        images = rng.integers(fmt.min, fmt.max + 1, (args.images, *graph.input.shape))
        run(graph, images[:1])
        slow, expected = rate(graph, images, False)
        fast, found = rate(graph, images, True)
        same = "equal" if np.array_equal(found, expected) else "DIFFER"
        print(f"| {path.stem} | {slow:.0f} | {fast:.0f} | {fast / slow:.1f} | {same} |", flush=True)
        if same != "equal":
            raise SystemExit(1)


if __name__ == "__main__":
    main()

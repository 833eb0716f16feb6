"""VGG-small layer by layer on a simulated accelerator of 256 lanes.

``python -m bench.vgg_small [layer ...]`` draws the network's weights (``pyhw example
vgg-small-adder``), runs one smooth image through the golden executor, and then every layer by
itself on the accelerator, with the map that it has in the network as its image: its weights alone
are more than any FPGA here holds. Prints a line for each layer; the exit status is 1 if a value or
the estimate of a layer's cycles differs.
"""

import argparse
import sys

import numpy as np

from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.examples.draw import draw_example
from pyhw.graph.execute import run_layers
from pyhw.graph.infer import formats
from pyhw.graph.ops import Graph, Input
from pyhw.graph.statistics import distinct_and_saturated
from pyhw.hdl.config import Config
from pyhw.simulation.network import Case, simulate
from pyhw.synthetic import smooth_images
from pyhw.verilog import cached_verilog

from .random_networks import engine

__all__ = ["CONFIG", "layer_cases", "main"]

CONFIG = Config.of(
    name="vgg_256",
    l1=engine(16, 16, 8, 24),
    shift=engine(16, 16, 4, 28),
    pool_lanes=16,
    load_bits=64,
    post_width=4,
    scratch_bytes=1 << 19,
    weight_words=1 << 19,
    param_records=1024,
    program_words=256,
)


def layer_cases(graph, image):
    """Yield (name, graph of one layer, its image) of every layer.

    Parameters
    ----------
    graph : Graph
        A chain without residuals.
    image : int array (H, W, C)
    """
    maps, types = run_layers(graph, image[None]), formats(graph)
    for op in graph.ops[1:]:
        (source,) = op.inputs
        stored = maps[source]
        given = Input(name=source, shape=stored.shape[1:], fmt=types[source])
        yield op.name, Graph(op.name, (given, op), op.name), stored


def main() -> int:
    """Run the layers that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="*", metavar="layer")
    parser.add_argument("--simulator", default="verilator", choices=("verilator", "icarus"))
    arguments = parser.parse_args()
    graph = draw_example("vgg-small-adder")
    # An image that saturates less than a fifth of any layer.
    image = smooth_images(graph.input.shape, 1, seed=2)[0].astype(np.int64)
    verilog, wrong = cached_verilog(CONFIG), 0
    columns = ("layer", "values", "distinct", "saturated", "differences", "cycles", "estimated",
               "utilisation")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, layer, stored in layer_cases(graph, image):
        if arguments.layers and name not in arguments.layers:
            continue
        program = compile_graph(layer, CONFIG)
        result = simulate(
            [Case(graph=layer, program=program, images=stored)],
            CONFIG,
            verilog=verilog,
            simulator=arguments.simulator,
        )[0]
        guess = estimate(program, CONFIG)
        cycles, estimated = result.counters[0]["CYCLES"], run_cycles(guess)
        distinct, saturated = distinct_and_saturated(layer, stored)[name]
        differences = 0 if result.difference is None else result.difference.count
        wrong += differences + (cycles != estimated)
        print(
            f"| {name} | {result.compared:,} | {distinct} | {saturated:.1%} | {differences} | "
            f"{cycles:,} | {estimated:,} | {guess[0].utilisation:.1%} |",
            flush=True,
        )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

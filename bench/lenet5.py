"""LeNet-5 on an accelerator: utilisation measured in simulation, beside the estimate.

``python -m bench.lenet5`` runs one batch of 8 digits on the `default` preset, with a stop after
every layer and without, and prints its layers one by one (``docs/performance.md``).
"""

import argparse
import resource
import sys
import time
from pathlib import Path

from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.hdl.presets import PRESETS
from pyhw.inputs import load_images, read_graph
from pyhw.simulation.network import Case, simulate
from pyhw.simulation.session import Report, measured_layers
from pyhw.verilog import cached_verilog, generate_verilog

CONVOLUTIONS = ("conv1", "conv2", "conv3")


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = Path(__file__).parents[1] / "pyhw" / "models"
    parser.add_argument("--graph", type=Path, default=models / "lenet5_adder_digits.pyhw")
    parser.add_argument("--preset", default="default", choices=list(PRESETS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--generate",
        action="store_true",
        help="also time the generation of Verilog for 1,024 L1 lanes",
    )
    arguments = parser.parse_args()
    config = PRESETS[arguments.preset]
    graph = read_graph(arguments.graph)
    program = compile_graph(graph, config, arguments.batch)
    images, _ = load_images(graph, "digits", arguments.batch)
    case = Case(graph=graph, program=program, images=images)
    verilog = cached_verilog(config)
    layers, whole = (
        simulate([case], config, verilog=verilog, debug=debug)[0] for debug in (True, False)
    )
    if (difference := layers.difference or whole.difference) is not None:
        print(difference)
        return 1
    alone = estimate(program, config, arguments.batch, alone=True)
    report = Report(estimated=alone, counters=layers.counters)
    lanes = {name: config.groups * e.rows * e.lanes for name, e in config.engines.items()}
    print(f"| layer | engine | cycles measured | estimated | utilisation |\n|{'---|' * 5}")
    useful = available = 0.0
    for layer, (guess, cycles) in zip(program.layers, measured_layers(report), strict=True):
        terms, share = layer.useful_terms * arguments.batch, ""
        if guess.engine != "POOL":
            slots = cycles * lanes[guess.engine.lower()]
            share = f"{terms / slots:.1%}"
            if layer.name in CONVOLUTIONS:
                useful, available = useful + terms, available + slots
        print(f"| {layer.name} | {guess.engine} | {cycles:,} | {guess.cycles:,} | {share} |")
    total = whole.counters[0]["CYCLES"]
    guess = run_cycles(estimate(program, config, arguments.batch))
    print(f"| whole run | | {total:,} | {guess:,} | |\n")
    print(
        f"convolutions: {useful / available:.1%} of "
        f"{' and '.join(f'{count} {name}' for name, count in lanes.items())} lanes; "
        f"(weight, activation) pairs per lane-cycle "
        f"{_pairs(program, arguments.batch) / available:.1%}"
    )
    print(
        f"{total / arguments.batch:,.0f} cycles an image, "
        f"{arguments.batch * 100e6 / total:,.0f} images a second at 100 MHz without I/O"
    )
    bench = whole.bench.report
    print(
        f"Verilator: {bench['cycles_per_s']:,.0f} cycles a second with the port busy "
        f"({bench['cycles']:,} cycles)"
    )
    print(
        f"Verilator: {whole.bench.report['idle_cycles_per_s']:,.0f} cycles a second while "
        "the accelerator runs and the port is idle"
    )
    if arguments.generate:
        chosen = PRESETS["large"].changed(groups=2)
        before = _cpu_seconds()
        started = time.monotonic()
        text = generate_verilog(chosen)
        spent = _cpu_seconds() - before
        lanes = {name: chosen.groups * one.rows * one.lanes for name, one in chosen.engines.items()}
        print(
            f"{lanes['l1']:,} L1 lanes and {lanes['shift']:,} shift lanes: "
            f"{time.monotonic() - started:.1f} s ({spent:.1f} s of CPU time), "
            f"{len(text.splitlines()):,} lines of Verilog"
        )
    return 0


def _cpu_seconds():
    """Return the CPU time of this process and of those it waited for."""
    return sum(
        resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def _pairs(program, batch):
    """Return (weight, activation) pairs of the convolutions, digits not counted."""
    return (
        sum(
            layer.useful_terms // layer.digits
            for layer in program.layers
            if layer.name in CONVOLUTIONS
        )
        * batch
    )


if __name__ == "__main__":
    sys.exit(main())

"""How much of the lanes a network uses: the table of ``docs/performance.md``.

``python -m bench.utilisation`` prints it from the compiler's exact cycle model. With ``--simulate``
every row is also run on the simulated accelerator: each layer's counters must equal the model and
every output the golden executor's, or the exit status is 1. ``--only`` picks rows by the beginning
of their names.
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.random_networks import engine
from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.errors import UserError
from pyhw.families import find_device
from pyhw.fitter.search import propose
from pyhw.hdl.config import Config
from pyhw.hdl.presets import PRESETS
from pyhw.inputs import load_images, read_graph
from pyhw.profiler.account import CAUSES, Counted, LayerAccount, account, total
from pyhw.profiler.measure import counting, disagreement, measure
from pyhw.verilog import cached_verilog

__all__ = ["ROWS", "Row", "utilisation"]

MODELS = Path(__file__).parents[1] / "pyhw" / "models"
CLOCK_HZ = 100e6
_MEMORY = {
    "scratch_bytes": 1 << 16,
    "weight_words": 1 << 16,
    "param_records": 2048,
    "program_words": 2048,
    "tables": 2,
}


@dataclass(frozen=True)
class Row:
    """A network on an accelerator.

    Parameters
    ----------
    name : str
    graph : str
        File in ``pyhw/models``.
    config : Config or None
        None: what `pyhw fit` proposes for an ECP5-85F.
    batch : int
    parts : dict of str to str
        Groups of layers that are shown apart: regular expressions of their names.
    """

    name: str
    graph: str
    config: Config | None
    batch: int
    parts: dict[str, str] = field(default_factory=dict)


_RESNET20_256 = Config.of(
    name="resnet20_256",
    l1=engine(16, 16, 8, 24),
    shift=engine(16, 16, 4, 28),
    pool_lanes=16,
    burst_depth=32,
    load_bits=64,
    post_width=4,
    **_MEMORY,
)
_RESNET20_2048 = Config.of(
    name="resnet20_2048",
    groups=4,
    l1=engine(16, 32, 8, 24),
    shift=engine(8, 27, 4, 28),
    pool_lanes=16,
    burst_depth=32,
    load_bits=256,
    post_width=16,
    **_MEMORY,
)
_CONVMIXER = Config.of(
    name="convmixer_256",
    shift=engine(16, 16, 4, 28),
    pool_lanes=16,
    pool_acc_width=26,
    taps=5,
    burst_depth=32,
    load_bits=64,
    post_width=4,
    prototypes=1024,
    **_MEMORY | {"scratch_bytes": 1 << 18, "param_records": 8192},
)
_SMALL_256 = Config.of(
    name="small_256",
    l1=engine(16, 16, 8, 24),
    shift=engine(8, 16, 4, 28),
    pool_lanes=16,
    pool_acc_width=24,
    taps=3,
    burst_depth=32,
    load_bits=64,
    post_width=8,
    **_MEMORY,
)
_CONVOLUTIONS = {"convolutions": r"conv\d"}
_SEPARABLE = {"depthwise": r".*depthwise.*", "pointwise": r".*pointwise.*"}

ROWS = (
    Row("ResNet-20 adder, 256 lanes", "resnet20_adder.pyhw", _RESNET20_256, 1),
    Row("ResNet-20 adder, 2,048 lanes", "resnet20_adder.pyhw", _RESNET20_2048, 4),
    Row("LeNet-5 adder, default", "lenet5_adder_digits.pyhw", PRESETS["default"], 8, _CONVOLUTIONS),
    Row("LeNet-5 adder, fitted to an ECP5-85F", "lenet5_adder_digits.pyhw", None, 8, _CONVOLUTIONS),
    Row(
        "ConvMixer-256/6 PEMN, 256 lanes",
        "convmixer_256_6_pemn.pyhw",
        _CONVMIXER,
        1,
        {"pointwise": r"layer\d+\.\d+\.1", "depthwise": r".*\.fn\.0"},
    ),
    Row("ResNet-8 adder, 256 lanes", "resnet8_adder.pyhw", _SMALL_256, 1),
    Row("DS-CNN adder, 256 lanes", "ds_cnn_adder.pyhw", _SMALL_256, 1, _SEPARABLE),
)
"""The table's rows: networks, configurations and batches."""


def utilisation(accounts: list[LayerAccount], cycles: int | None = None) -> float:
    """Return the share of lanes that do useful terms while their layers have the compute stage.

    Each layer against the lanes of its own engine; pooling layers have time but no terms.

    Parameters
    ----------
    accounts : list of LayerAccount
    cycles : int, optional
        Of the run; by default the layers' own.
    """
    own = sum(one.counted.cycles for one in accounts)
    useful = sum(one.utilisation * one.counted.cycles for one in accounts if one.engine != "POOL")
    return useful / (cycles or own)


def _shape(config: Config) -> str:
    shapes = ", ".join(
        f"{config.groups} x {e.rows} x {e.lanes} {name.upper()}"
        for name, e in config.engines.items()
    )
    return f"{shapes}; post {config.post.width}, word {config.weights.load_bits}"


def _row(row: Row, simulated: bool) -> bool:
    """Print a row; return whether model, hardware and executor agree."""
    graph = read_graph(MODELS / row.graph)
    config = row.config or propose(graph, find_device("ecp5-85f"), batch=row.batch)[0].config
    program = compile_graph(graph, config, row.batch)
    layers = estimate(program, config, row.batch)
    cycles = run_cycles(layers)
    model = [Counted.of_model(layer) for layer in layers]
    accounts = account(program, config, row.batch, model)
    parts = {
        label: [one for one in accounts if re.fullmatch(pattern, one.name)]
        for label, pattern in row.parts.items()
    }
    assert all(parts.values()), f"{row.name}: a part has no layers"
    told, same = "", True
    if simulated:
        told, same = _simulate(graph, program, config, row.batch, model, cycles)
    losses = {cause: lost for cause, lost in total(accounts).items() if cause != "useful"}
    worst = max(losses, key=losses.__getitem__)
    shown = "; ".join(f"{label} {utilisation(some):.1%}" for label, some in parts.items())
    print(
        f"| {row.name} | {_shape(config)} | {row.batch} | {cycles:,} | {told} | "
        f"{row.batch * CLOCK_HZ / cycles:,.0f} | {utilisation(accounts, cycles):.1%} | {shown} | "
        f"{CAUSES[worst]} {losses[worst] / cycles:.1%} |",
        flush=True,
    )
    return same


def _simulate(graph, program, config, batch, model, cycles) -> tuple[str, bool]:
    """Return the cycles measured, with what is wrong if anything is, and whether nothing is."""
    config = counting(config, program)
    images, _ = load_images(graph, "smooth", batch)
    started = time.monotonic()
    verilog = cached_verilog(config)
    generated = time.monotonic() - started
    try:
        found = measure(graph, program, config, images, verilog=verilog)
    except UserError as error:
        return str(error), False
    bench = found.result.bench
    print(
        f"{config.name}: Verilog {generated:.1f} s, build {bench.build_s:.1f} s"
        f"{' (cached)' if bench.build_cached else ''}, bench {bench.report['seconds']:.1f} s for "
        f"{bench.report['cycles']:,} cycles with the port's, {found.result.compared:,} values "
        "compared, 0 differences",
        file=sys.stderr,
        flush=True,
    )
    wrong = disagreement([layer.name for layer in program.layers], model, found.layers)
    if wrong is None and found.cycles != cycles:
        wrong = f"{cycles:,} cycles in the model"
    return f"{found.cycles:,}" + (f" ({wrong})" if wrong else ""), wrong is None


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="also measure every row")
    parser.add_argument("--only", action="append", default=[], help="beginning of a row's name")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if row.name.startswith(tuple(arguments.only) or "")]
    if not rows:
        parser.error(f"--only must begin a row's name: {', '.join(row.name for row in ROWS)}")
    columns = (
        "network", "accelerator: groups x rows x lanes", "images", "cycles", "measured",
        "images a second at 100 MHz", "utilisation", "of which", "largest loss",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    good = [_row(row, arguments.simulate) for row in rows]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

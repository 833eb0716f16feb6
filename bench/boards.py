"""Build bitstreams for boards and print what they reach.

``python -m bench.boards [--seeds N] [case ...]``; cases are named in `CASES`, all of them by
default. Exits with status 1 if one misses its clock. What was built before is not built again.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import pyhw
from pyhw.bitstream import Build, build
from pyhw.bitstream.model import prepare
from pyhw.bitstream.output import write_folder
from pyhw.bitstream.timing import Timing
from pyhw.boards import find_board
from pyhw.configure import choose_config
from pyhw.errors import UserError
from pyhw.graph.file import save
from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.hdl.formats import Format
from pyhw.hdl.signed_digits import nearest_terms
from pyhw.inputs import read_graph

MODELS = pyhw.MODELS


@dataclass(frozen=True)
class Case:
    """A model on a board; without a preset the smallest accelerator for both is fitted."""

    board: str
    model: str = ""
    quantize: tuple[str, ...] = ()
    """Arguments by which `pyhw quantize` makes the graph of a checkpoint first."""
    preset: str | None = None
    batch: int | None = None
    clock_mhz: float | None = None
    stand_alone: bool = False
    specialise: bool = False
    objective: str = "throughput"


_LENET5 = Case("icebreaker", "lenet5_adder_mnist.pt", batch=1,
               quantize=("--data", "mnist", "--digits", "2", "--terms", "2", "--exponent", "7"))
CASES = {
    "ulx3s-85f": Case("ulx3s-85f", "lenet5_adder_mnist.pyhw", clock_mhz=80),
    "ulx3s-85f-1024": Case("ulx3s-85f", "lenet5_adder_mnist.pyhw", preset="lenet5_85f", batch=4,
                           clock_mhz=80),
    "icebreaker": Case("icebreaker", "lenet1_adder_mnist.pyhw"),
    "icebreaker-lenet5": _LENET5,
    "icebreaker-alone": replace(_LENET5, stand_alone=True),
    "hx8k": Case("hx8k", "lenet1_adder_mnist.pyhw"),
    "tang-nano-9k": Case("tang-nano-9k", "lenet1_adder_mnist.pyhw"),
    "gatemate-evb": Case("gatemate-evb", "lenet1_adder_mnist.pyhw", objective="area",
                         specialise=True),
    "tang-nano-9k-lenet5": Case("tang-nano-9k", "lenet5_adder_mnist_6bit.pyhw"),
    "ulx3s-12f-small": Case("ulx3s-12f", clock_mhz=60),
    "icebreaker-small": Case("icebreaker"),
    "hx8k-small": Case("hx8k"),
    "tang-nano-9k-small": Case("tang-nano-9k"),
}


def small_graph() -> Graph:
    """Return one layer of eight L1 channels on images of 8 x 8 bytes."""
    terms = np.array(nearest_terms(25)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], 8, 1),
                m_exponent=np.repeat(terms[1][:, None], 8, 1), bias=np.full(8, 230_000),
                shift=np.full(8, 7), fmt=Format(8))
    weight = np.random.default_rng(5).integers(0, 256, (8, 3, 3, 1))
    return Graph("small", (
        Input(name="image", shape=(8, 8, 1), fmt=Format(8)),
        Conv(name="l1", input="image", term="l1", weight=weight, post=Post(first=step))), "l1")


def run(name: str, seeds: int, folder: Path) -> Timing:
    """Build a case, print its line and return its timing."""
    case = CASES[name]
    board, path = find_board(case.board), MODELS / case.model
    if not case.model:
        path = folder / "small.pyhw"
        save(small_graph(), path)
    if case.quantize:
        checkpoint, path = path, folder / f"{name}.pyhw"
        if subprocess.run([sys.executable, "-m", "pyhw", "quantize", str(checkpoint),
                           *case.quantize, "--out", str(path)], check=False).returncode:
            raise UserError("its graph could not be made")
    config = choose_config(case.preset) if case.preset else None
    model = prepare(read_graph(path), board, config, batch=case.batch,
                    specialise=case.specialise or not case.model,
                    objective=case.objective if case.model else "area")
    out = folder / name
    outcome = build(Build(model=model, board=board, baud=1_000_000, seeds=seeds,
                          stand_alone=case.stand_alone,
                          clock_mhz=case.clock_mhz or board.clock_mhz), out / "logs")
    record = write_folder(out, outcome)
    used = record["resources"]["used"]
    timing = outcome.made.routed[0].timing
    seconds = sum(stage["seconds"] for stage in record["stages"])
    print(f"| {name} | {record['model']['name']} | {sum(record['config']['lanes'].values()):,} | "
          f"{used['LUT4']:,} | {used['flip-flops']:,} | {used.get('block RAMs', 0)} | "
          f"{timing.reached_mhz:.1f} of {timing.asked_mhz:.1f} | {seconds:,.0f} |", flush=True)
    if not timing.met:
        print(f"{name}: {timing.explained()}", file=sys.stderr)
    return timing


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="case")
    arguments = parser.parse_args()
    print("| case | model | lanes | LUT4 | flip-flops | block RAMs | MHz | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    missed = []
    with tempfile.TemporaryDirectory(prefix="pyhw-boards-") as folder:
        for name in arguments.cases or CASES:
            try:
                if not run(name, arguments.seeds, Path(folder)).met:
                    missed.append(name)
            except UserError as error:
                print(f"{name}: {error}", file=sys.stderr)
                missed.append(name)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()

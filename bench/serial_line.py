"""How much of a serial line data take: ``python -m bench.serial_line``.

Loads the whole weight memory of an accelerator and sends images of 28 x 28 pixels with the host's
own driver, on a simulated line, for several longest frames and frames sent ahead.
"""

import dataclasses

import numpy as np

from pyhw.compiler import Program, compile_graph
from pyhw.graph.execute import run
from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.hdl.config import Config
from pyhw.hdl.formats import Format
from pyhw.hdl.isa import Space
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.signed_digits import nearest_terms
from pyhw.simulation.serial import transfer

DIVISOR = 8
CASES = ((256, 1), (256, 2), (1024, 1), (1024, 2), (1024, 8))
"""Longest payload of a frame, frames sent ahead."""


def graph() -> Graph:
    """Return one L1 layer, 18 values of 784 pixels."""
    terms = np.array(nearest_terms(25)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], 2, 1),
                m_exponent=np.repeat(terms[1][:, None], 2, 1),
                bias=np.full(2, 60_000), shift=np.full(2, 8), fmt=Format(8))
    weight = np.random.default_rng(5).integers(0, 256, (2, 5, 5, 1))
    return Graph("small", (
        Input(name="image", shape=(28, 28, 1), fmt=Format(8)),
        Conv(name="l1", input="image", term="l1", weight=weight, stride=(8, 8),
             post=Post(first=step))), "l1")


def filled(program: Program, config: Config) -> Program:
    """Return a program that fills the weight memory."""
    size = config.weights.words * config.weights.load_bits // 8
    sections = [(space, word, raw + bytes(size - len(raw)) if space is Space.WEIGHTS else raw)
                for space, word, raw in program.sections]
    return dataclasses.replace(program, sections=sections)


def main() -> None:
    """Print a row of a table for each case."""
    network = graph()
    images = np.random.default_rng(1).integers(0, 256, (8, 28, 28, 1)).astype(np.uint8)
    golden = run(network, images.astype(np.int64))
    print("| payload | ahead | program | images | overruns | retries |")
    print("|---|---|---|---|---|---|")
    for payload, ahead in CASES:
        config = PRESETS["tiny"].changed(name="custom", scratch_bytes=16384,
                                     max_payload=payload)
        program = filled(compile_graph(network, config, 4), config)
        found = transfer(config, program, images, divisor=DIVISOR, ahead=ahead)
        assert np.array_equal(found.outputs, golden)
        print(f"| {payload} | {ahead} | {found.load.efficiency:.1%} | "
              f"{found.images.efficiency:.1%} | {found.overruns} | {found.retries} |", flush=True)


if __name__ == "__main__":
    main()

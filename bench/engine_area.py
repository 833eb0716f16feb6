"""Print the area of engines, weight expander and moves, per lane, as Yosys maps them.

``python -m bench.engine_area [case ...]``; cases are named in `CASES`. ECP5 cells are counted as
LUT4 equivalents: LUT4 + 2 per CCU2C + 4 per TRELLIS_DPR16X4. iCE40 cells are SB_LUT4 (a carry
shares its cell).
"""

import argparse

from amaranth.back import rtlil

from pyhw.families import find_family
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.lone_engine import LoneEngine
from pyhw.hdl.moves.copy import Copy
from pyhw.hdl.moves.recode import Recode
from pyhw.hdl.moves.stats import Stats
from pyhw.hdl.weights.expander import Expander
from pyhw.synthesis.yosys import synthesize

ACC_WIDTH = {"l1": 20, "shift": 24}
PROTOTYPES = 1024

READ_LATENCY = 4
"""Of the scratchpad that moves read."""
MOVES = {
    "copy": lambda config: Copy(config, READ_LATENCY),
    "recode": lambda config: Recode(config, READ_LATENCY),
    "stats": lambda config: Stats(config, READ_LATENCY, config.read_lanes),
}


def case(
    engine,
    groups,
    rows,
    lanes,
    code_width,
    *,
    family="ecp5",
    depth=32,
    post_width=2,
    load_bits=256,
    taps=0,
    pool_lanes=None,
    pool_max=True,
):
    """Return (engine name, family, `Config`) of one line of the table."""
    kind = "shift" if engine in ("expander", *MOVES) else "l1" if engine == "pool" else engine
    shape = EngineConfig(
        rows=rows, lanes=lanes, code_width=code_width, acc_width=ACC_WIDTH[kind]
    )
    parts = {kind: shape}
    if engine == "expander":
        parts["prototypes"] = PROTOTYPES
    return (
        engine,
        family,
        Config.of(
            groups=groups,
            **parts,
            pool_lanes=pool_lanes or rows,
            pool_max=pool_max,
            taps=taps,
            burst_depth=depth,
            load_bits=load_bits,
            post_width=post_width,
            distributed=find_family(family).lut_ram,
        ),
    )


CASES = {
    "l1-8x32": case("l1", 1, 8, 32, 8),
    "l1-8x16": case("l1", 1, 8, 16, 8, load_bits=128),
    "l1-2x8x16": case("l1", 2, 8, 16, 8),
    "l1-2x16x32": case("l1", 2, 16, 32, 8, post_width=4),
    "shift-8x16": case("shift", 1, 8, 16, 4, load_bits=128),
    "shift-2x8x16": case("shift", 2, 8, 16, 4),
    "shift-8x32": case("shift", 1, 8, 32, 4, load_bits=128),
    "shift5-8x16": case("shift", 1, 8, 16, 5, load_bits=128),
    "shift5-8x32": case("shift", 1, 8, 32, 5, load_bits=128),
    "l1-8x16-taps3": case("l1", 1, 8, 16, 8, load_bits=128, taps=3, pool_lanes=16),
    "shift-8x16-taps3": case("shift", 1, 8, 16, 4, load_bits=128, taps=3, pool_lanes=16),
    "shift-8x16-taps5": case("shift", 1, 8, 16, 4, load_bits=128, taps=5, pool_lanes=16),
    "pool-8": case("pool", 1, 8, 1, 8),
    "pool-8-taps3": case("pool", 1, 8, 8, 8, taps=3),
    "pool-8-sums": case("pool", 1, 8, 1, 8, pool_max=False),
    "pool-8-sums-taps3": case("pool", 1, 8, 8, 8, taps=3, pool_max=False),
    "expander-8x16": case("expander", 1, 8, 16, 4),
    "expander-4x8": case("expander", 1, 4, 8, 4, depth=16, load_bits=32),
    "l1-4x8-ice40": case("l1", 1, 4, 8, 8, family="ice40", depth=16, post_width=1, load_bits=32),
    "shift-4x8-ice40": case(
        "shift", 1, 4, 8, 4, family="ice40", depth=16, post_width=1, load_bits=32
    ),
    "copy-16": case("copy", 1, 1, 16, 4, load_bits=64),
    "recode-16": case("recode", 1, 1, 16, 4, load_bits=64),
    "stats-16": case("stats", 1, 1, 16, 4, load_bits=64),
}


def main():
    """Measure the cases that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    names = parser.parse_args().cases or list(CASES)
    for name in names:
        if name not in CASES:
            parser.error(f"case must be one of {', '.join(CASES)}, not {name}")
    print(
        f"{'case':18}{'lanes':>6}{'LUT4':>8}{'CCU2C':>7}{'DPR16':>7}{'FF':>7}{'RAM':>5}"
        f"{'LUT4 eq.':>10}{'a lane':>8}"
    )
    for name in names:
        engine, family, config = CASES[name]
        if engine in MOVES:
            component = MOVES[engine](config)
        else:
            component = Expander(config) if engine == "expander" else LoneEngine(config, engine)
        report = synthesize(rtlil.convert(component, name="top"), "top", family)
        rows, wide = config.pool.lanes, 1
        if engine != "pool":
            shape = config.engines.get(engine, config.engines.get("shift"))
            rows, wide = shape.rows, shape.lanes
        lanes = config.groups * rows * wide
        luts = report.cells.get("LUT4", 0) + report.cells.get("SB_LUT4", 0)
        print(
            f"{name:18}{lanes:6}{luts:8}{report.cells.get('CCU2C', 0):7}"
            f"{report.cells.get('TRELLIS_DPR16X4', 0):7}{report.flip_flops:7}"
            f"{report.block_rams:5}{report.lut4:10}{report.lut4_per_lane(lanes):8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

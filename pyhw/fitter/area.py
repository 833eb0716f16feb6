"""The area of an accelerator in LUT4 equivalents, part by part, as a function of its `Config`.

The forms follow the gateware; the constants are measured with Yosys 0.70 for ECP5 (a `CCU2C` counts
two, a `DPR16X4` four) and stand in ``docs/area.md`` and ``docs/datapath.md``. ``docs/fit.md`` holds
the sums against whole accelerators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyhw.engines import host_engine
from pyhw.families import find_family
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import engine_of
from pyhw.hdl.formats import MAX_EXPONENT

__all__ = ["Part", "accumulator_rows", "area", "cells", "control", "engine", "expander", "luts",
           "pooling", "post_processor", "result_bits", "results", "scratchpad", "unpaired",
           "window"]  # fmt: skip

POOL_LANE, POOL_TAPS, MAXIMUM_BIT = 5.0, 22.0, 5.3
"""Sum without accumulators, what chains add, and each bit that a maximum adds: docs/area.md, the
four cases of pool-8 less 8 rows of 20 bits."""
CHOICE_BIT = 1.5
"""A bit of an engine's sum that shares an accumulator with others: one input of a choice. With it
an engine alone has the accumulators of docs/area.md."""
EXPANDER, EXPANDER_LANE, EXPANDER_BIT = 1070.0, 100.0, 1.9
"""Weight expander, each code a cycle, each bit of a word: docs/area.md, its two cases; how the
difference between them divides is estimated."""
WINDOW_LANE = 35.0
"""docs/datapath.md, "Window"."""
BANK_ROTATOR = 14.4
"""A byte bank's share of a group's rotator, for each level: docs/datapath.md, scratchpad with two
groups of 16 banks less the one with one."""
BANK_SHARED = 10.0
"""A bank's share of what all groups have in common: rows, masks, order of bytes."""
RIGHT, RIGHT_BIT = 60.0, 1.1
"""Right shift and clamp of a result lane, and each bit of the sum: docs/datapath.md, what is left
of `ScaleStep` after barrels and adders."""
SECOND, SECOND_TERM = 250.0, 9.0
"""Second step, and each term beside its barrel: docs/datapath.md."""
LANE_REST, FIRST_LANE = 60.0, 383.0
"""Rest of a result lane, and what lane 0 has more (32 bits): docs/datapath.md, 1,718 and 2,101."""
CONTROL, WORD_BIT = 3700.0, 7.7
"""Command port, control, walkers and counters; what a bit of a weight word adds to it: what is
left of whole accelerators after all other parts: the constant of the two lines in docs/fit.md,
"Area", the share per bit of `tiny` and `default` when they had one control."""
COUNTERS = 250.0
"""What the counters are of it."""
SPECIALISED = 1510.0
"""The same with the ranges of one program: `ds_cnn_25f` with ranges takes 2,189 less."""


@dataclass(frozen=True)
class Part:
    """A part of an accelerator: its name and its LUT4 equivalents."""

    name: str
    luts: float


# Of the sizes of these functions, groups, rows, lanes, widths and bits may be arrays.


def _accumulator_bit(depth: int, distributed: bool) -> float:
    """Return the LUT4s of a bit of a row: memory, joining of halves, sum and choice."""
    if not distributed:
        return 6.0  # forwarding and previous value instead of memory
    halves = -(-depth // 16)
    return 2.0 * halves + 2.0 * (halves - 1) + 4.0


def engine(name: str, config: Config, groups: Any, rows: Any, lanes: Any, acc_width: Any,
           load_bits: Any, code_width: int) -> Any:  # fmt: skip
    """Return the LUT4s of engines of some shapes; the rest is that of a configuration."""
    luts, extra = host_engine(name).luts(code_width), engine_of(name).extra
    each = rows * lanes * luts.lane + extra * lanes * luts.extra_lane
    each = each + (rows + extra) * acc_width * CHOICE_BIT
    taps = groups * config.depthwise.columns * np.minimum(lanes, config.pool.lanes)
    return groups * each + load_bits // code_width * luts.code + taps * luts.tap


def pooling(config: Config, groups: Any) -> Any:
    """Return the LUT4s of the pooling units of so many groups."""
    each = CHOICE_BIT + MAXIMUM_BIT * config.pool.maximum
    lane = POOL_LANE + POOL_TAPS * (config.depthwise.columns > 0) + config.pool.acc_width * each
    return groups * config.pool.lanes * lane


def result_bits(config: Config, shapes: Mapping[str, tuple[Any, Any]]) -> Any:
    """Return the accumulator bits of a position of a group that the engines share.

    Rows that engines of unsigned sums alone have are as wide as those need
    (`accumulator_array.AccumulatorArray`). `shapes` are rows and accumulator bits by engine.
    """
    parts = accumulator_rows(config, shapes)
    return sum(rows * width for rows, width in parts)


def accumulator_rows(config: Config, shapes: Mapping[str, tuple[Any, Any]]
                     ) -> list[tuple[Any, Any]]:  # fmt: skip
    """Return numbers of accumulators of a group and their widths: shared ones, then the others."""
    shared, width, rows, narrow, extra = config.pool.lanes, config.pool.acc_width, 0, 0, 0
    for name, (own, acc_width) in shapes.items():
        known = engine_of(name)
        width = np.maximum(width, acc_width)
        if known.signed:
            shared = np.maximum(shared, own)
        else:
            rows, narrow = np.maximum(rows, own), np.maximum(narrow, acc_width)
        extra = max(extra, known.extra)
    return [(shared, width), (np.maximum(rows - shared, 0) + extra, narrow)]


def results(config: Config, groups: Any, bits: Any) -> Any:
    """Return the LUT4s of the accumulators of so many groups."""
    each = _accumulator_bit(config.burst_depth, config.build.distributed) - CHOICE_BIT
    return groups * bits * each


def expander(expand_lanes: Any, load_bits: Any) -> Any:
    """Return the LUT4s of a weight expander, 0 without lanes."""
    size = EXPANDER + EXPANDER_LANE * expand_lanes + EXPANDER_BIT * load_bits
    return np.where(np.asarray(expand_lanes) > 0, size, 0.0)


def window(groups: Any, read_lanes: Any) -> Any:
    """Return the LUT4s of the windows of so many groups."""
    return groups * read_lanes * WINDOW_LANE


def scratchpad(config: Config, groups: Any, banks: Any, post_width: Any) -> Any:
    """Return the LUT4s of the scratchpads, without their memories."""
    levels = np.ceil(np.log2(banks))
    written = np.maximum(4, post_width)
    read = np.maximum(1, post_width * config.residual.exists * (1 + config.residual.wide))
    shared = 8 * (written * np.ceil(np.log2(written)) + read * levels) + BANK_SHARED * banks
    held = 0 if config.build.distributed else 8 * banks * groups
    return groups * BANK_ROTATOR * banks * levels + shared + held


def post_processor(config: Config, post_width: Any) -> Any:
    """Return the LUT4s of so many result lanes."""
    terms, total = config.post.terms, config.sum_width
    lane = LANE_REST + RIGHT + (RIGHT_BIT + terms) * total
    lane += terms * barrel(config.value_width, config.post.exponent)
    if config.post.second_step:
        lane += SECOND + terms * (SECOND_TERM + barrel(9, config.post.exponent))
    if config.residual.exists:
        width, added = config.residual.value_width, config.residual.terms
        lane += added * barrel(width, MAX_EXPONENT) + (added - 1) * (width + MAX_EXPONENT) + total
    return post_width * lane + FIRST_LANE


def barrel(width: int, exponent: int) -> float:
    """Return the LUT4s of a left shift by up to `exponent`: a multiplexer a bit of each stage."""
    steps = [1 << bit for bit in range(exponent.bit_length())]
    if exponent == MAX_EXPONENT:
        steps = [1, 1, 2, 4, 8]
    reached = [min(sum(steps[: k + 1]), exponent) for k in range(len(steps))]
    return float(sum(width + reach for reach in reached))


def control(config: Config) -> float:
    """Return the LUT4s of all the rest, weight words apart."""
    return (SPECIALISED if config.ranges else CONTROL) - COUNTERS * (not config.port.counted_layers)


def area(config: Config) -> list[Part]:
    """Estimate the parts of an accelerator.

    Parameters
    ----------
    config : Config

    Returns
    -------
    list of Part
        In LUT4 equivalents of ECP5; see `luts` for other families.
    """
    parts = []
    for name, one in config.engines.items():
        size = engine(name, config, config.groups, one.rows, one.lanes, one.acc_width,
                      config.weights.load_bits, one.code_width)  # fmt: skip
        parts.append(Part(f"{engine_of(name).title} engine", float(size)))
    parts.append(Part("pooling", float(pooling(config, config.groups))))
    bits = result_bits(config, {name: (one.rows, one.acc_width)
                                for name, one in config.engines.items()})  # fmt: skip
    parts.append(Part("accumulators", float(results(config, config.groups, bits))))
    if config.weights.prototypes:
        parts.append(Part("expander", float(expander(config.expand_lanes,
                                                     config.weights.load_bits))))
    parts.append(Part("window", float(window(config.groups, config.read_lanes))))
    size = scratchpad(config, config.groups, config.banks, config.post.width)
    parts.append(Part("scratchpad", float(size)))
    parts.append(Part("post-processor", float(post_processor(config, config.post.width))))
    parts.append(Part("control and port", control(config) + WORD_BIT * config.weights.load_bits))
    return parts


def cells(config: Config, family: str = "ecp5") -> float:
    """Return what an accelerator takes of `Device.luts`: with lone registers more than its LUTs."""
    return luts(config, family) + unpaired(family, config.build.overlap)


def unpaired(family: str, overlap: bool) -> float:
    """Return the logic cells that registers take without a LUT, where these are counted."""
    found = find_family(family)
    return found.lone_registers + found.lone_registers_overlap * overlap


def luts(config: Config, family: str = "ecp5") -> float:
    """Return the LUT4s of an accelerator on a family."""
    return find_family(family).lut_share * sum(part.luts for part in area(config))

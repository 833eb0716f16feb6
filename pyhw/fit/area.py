"""The area of an accelerator in LUT4 equivalents, part by part, as a function of its `Config`.

The forms follow the gateware; the constants are measured with Yosys 0.70 for ECP5 (a `CCU2C` counts
two, a `DPR16X4` four) and stand in ``docs/area.md`` and ``docs/datapath.md``. ``docs/fit.md`` holds
the sums against whole accelerators.
"""

from dataclasses import dataclass

from hdl.config import Config

__all__ = ["FAMILY_SHARE", "Part", "area", "luts"]

L1_LANE = 21.0
"""Subtraction, reset and its share of the tree: docs/area.md, "Where it goes"; 20.8 to 21.5 in the
table's four ECP5 cases after the parts below are taken off."""
SUM_LANE = 10.0
"""A lane of the sum of x, once a group: docs/area.md, tree of bytes."""
L1_CODE = 22.0
"""Conversion of each code of a memory word: docs/area.md."""
SHIFT_LANE = {3: 36.0, 4: 49.5, 5: 74.3}
"""By code width, with its share of the tree: docs/area.md (4: 33 + 16.5; 5: the two cases of the
table less their accumulators). 3 bits: two multiplexers of 10 and 11 bits, estimated."""
POOL_LANE = 115.0
"""Sum or maximum without accumulators: docs/area.md, pool-8 less 8 rows of 20 bits."""
WINDOW_LANE = 35.0
"""docs/datapath.md, "Window"."""
BANK_ROTATOR = 14.4
"""A byte bank's share of a group's rotator, for each level: docs/datapath.md, scratchpad with two
groups of 16 banks less the one with one."""
BANK_SHARED = 10.0
"""A bank's share of what all groups have in common: rows, masks, order of bytes."""
STEP, STEP_TERM = 248.0, 150.0
"""First step of a result lane, and each term's barrel: docs/datapath.md, `ScaleStep` and barrel."""
SECOND, SECOND_TERM = 250.0, 85.0
"""Second step, and each term: docs/datapath.md."""
RESIDUAL_TERM = 110.0
"""Each term of a residual: docs/datapath.md."""
LANE_REST, FIRST_LANE = 185.0, 383.0
"""Rest of a result lane, and what lane 0 has more (32 bits): docs/datapath.md, 1,718 and 2,101."""
CONTROL, WORD_BIT = 5670.0, 7.7
"""Command port, control, walkers and counters; what a bit of a weight word adds to it: what is
left of `tiny` and `default` in docs/area.md after all other parts."""
FAMILY_SHARE = {"ecp5": 1.0, "gowin": 1.0, "ice40": 0.92}
"""LUT4s of a family for each that is counted here: iCE40 from `tiny` in docs/area.md; Gowin is
taken to be like ECP5, without a measurement."""


@dataclass(frozen=True)
class Part:
    """A part of an accelerator: its name and its LUT4 equivalents."""

    name: str
    luts: float


def _accumulator_bit(depth: int, distributed: bool) -> float:
    """Return the LUT4s of a bit of a row: memory, joining of halves, sum and choice."""
    if not distributed:
        return 6.0  # forwarding and previous value instead of memory
    halves = -(-depth // 16)
    return 2.0 * halves + 2.0 * (halves - 1) + 4.0


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
    groups, bit = config.groups, _accumulator_bit(config.burst_depth, config.distributed)
    parts = []
    if (l1 := config.l1) is not None:
        rows = (l1.rows + 1) * l1.acc_width * bit
        lanes = l1.rows * l1.lanes * L1_LANE + l1.lanes * SUM_LANE
        codes = config.load_bits // l1.code_width * L1_CODE
        parts.append(Part("L1 engine", groups * (lanes + rows) + codes))
    if (shift := config.shift) is not None:
        rows = shift.rows * shift.acc_width * bit
        lanes = shift.rows * shift.lanes * SHIFT_LANE[shift.code_width]
        codes = config.load_bits // shift.code_width
        parts.append(Part("shift engine", groups * (lanes + rows) + codes))
    pool = config.pool_lanes * (POOL_LANE + config.pool_acc_width * bit)
    parts.append(Part("pooling", groups * pool))
    parts.append(Part("window", groups * config.read_lanes * WINDOW_LANE))
    parts.append(Part("scratchpad", _scratchpad(config)))
    parts.append(Part("post-processor", _post_processor(config)))
    parts.append(Part("control and port", CONTROL + WORD_BIT * config.load_bits))
    return parts


def _scratchpad(config: Config) -> float:
    banks = config.banks
    levels = (banks - 1).bit_length()
    written = max(4, config.post_width)
    read = 2 * config.post_width if config.residual else 1
    shared = 8 * (written * (written - 1).bit_length() + read * levels) + BANK_SHARED * banks
    held = 0 if config.distributed else 8 * banks * config.groups
    return config.groups * BANK_ROTATOR * banks * levels + shared + held


def _post_processor(config: Config) -> float:
    terms = config.terms
    lane = LANE_REST + STEP + STEP_TERM * terms
    lane += config.second_step * (SECOND + SECOND_TERM * terms)
    lane += config.residual * RESIDUAL_TERM * terms
    return config.post_width * lane + FIRST_LANE


def luts(config: Config, family: str = "ecp5") -> float:
    """Return the LUT4s of an accelerator on a family, a key of `FAMILY_SHARE`."""
    return FAMILY_SHARE[family] * sum(part.luts for part in area(config))

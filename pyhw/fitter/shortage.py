"""Why no accelerator for a graph fits a device: what is short, by how much, and what would help."""

import itertools
from collections.abc import Iterator

from pyhw.engines import host_engine
from pyhw.families import DEVICES
from pyhw.hdl.config import Config

from .area import cells
from .memories import block_rams, memories, placed
from .point import Point
from .space import BURSTS, CHAINED, POOLS, DesignSpace

__all__ = ["too_small"]

NARROW = 4
"""Bits of weight codes that are narrow already: with these, half of the words hold them all."""
ROWS, LANES = (1, 2, 4, 16), (1, 4, 16)
"""Shapes among which the least accelerators are sought."""


def too_small(space: DesignSpace, batch: int | None) -> str:
    """Return one line: what is short, by how much, and what would fit."""
    slots, device = batch or 1, space.device
    tried, family = list(_tried(space, slots)), device.family
    if not tried:
        what = "more weights" if space.holds(slots) else f"with {slots} images more maps"
        return f"{space.graph.name} has {what} than any memory here holds"
    least_luts = min(tried, key=lambda c: cells(c, family))
    least_rams = min(tried, key=lambda c: (
        space.single_ports(c), space.blocks(c), cells(c, family)))  # fmt: skip
    room, short = int(space.room), []
    if (need_luts := round(cells(least_luts, family))) > room:
        short.append(f"{need_luts - room:,} LUTs short ({need_luts:,} of {room:,} usable)")
    if (need := space.blocks(least_rams)) > (rams := device.block_rams):
        short.append(f"{need - rams:,} block RAMs short ({need:,} of {rams:,})")
    if (need := space.single_ports(least_rams)) > (rams := device.single_port_rams):
        short.append(f"{need - rams:,} single-port RAMs short ({need:,} of {rams:,})")
    if not short:
        short.append("LUTs and block RAMs suffice one by one, but not for one accelerator")
    ways = []
    if need_luts > room and not space.ranges:
        ways.append("leaving out what the model does not need (--specialise)")
    if need_luts > room and (least_luts.post.terms > 2 or least_luts.post.exponent > 7):
        ways.append("a smaller post-processor (pyhw quantize --digits 2 --terms 2 --exponent 7)")
    if slots > 1:
        ways.append("fewer images at once")
    if _narrower_helps(space, least_rams):
        ways.append("quantising with narrower weights (--weight-bits)")
    if larger := _larger(space, [least_luts, least_rams]):
        ways.append(f"a larger device ({', '.join(larger)}; `pyhw build` lists boards)")
    hint = f"; what may help: {', '.join(ways)}" if ways else ""
    return (f"{device.name} is too small for {space.graph.name} with {slots} "
            f"image{'s' * (slots > 1)} at once: {' and '.join(short)}{hint}")  # fmt: skip


def _tried(space: DesignSpace, slots: int) -> Iterator[Config]:
    """Yield small accelerators, whether they fit or not."""
    for variant in space.variants():
        if variant.burst_depth != BURSTS[0] or variant.pool_lanes not in (POOLS[0], CHAINED[0]):
            continue
        every = space.shapes(True, variant.taps)
        few = [[one for one in shapes if one[0] in ROWS and one[1] in LANES] or shapes[:1]
               for shapes in every.values()]  # fmt: skip
        for shapes in itertools.product(*few):
            for bits in space.words[:3]:
                config = space.config(Point(
                    variant=variant, shapes=dict(zip(every, shapes, strict=True)), groups=1,
                    post=1, bits=bits, slots=slots))  # fmt: skip
                if config is not None:
                    yield config


def _narrower_helps(space: DesignSpace, config: Config) -> bool:
    """Return whether half of the weight words would do, and a user can have them so."""
    half = config.changed(weight_words=-(-config.weights.words // 2))
    wide = any(host_engine(name).rounded_weights and engine.code_width > NARROW
               for name, engine in config.engines.items())  # fmt: skip
    return wide and not _holds(space, config) and _holds(space, half)


def _holds(space: DesignSpace, config: Config) -> bool:
    """Return whether the device has the memories of a configuration."""
    return (space.blocks(config) <= space.device.block_rams
            and space.single_ports(config) <= space.device.single_port_rams)  # fmt: skip


def _larger(space: DesignSpace, least: list[Config]) -> list[str]:
    """Return some larger devices that would do, those of the same family first."""
    own = space.device
    nearest = sorted(DEVICES.values(), key=lambda d: (d.family != own.family, d.luts))
    return [d.name for d in nearest if d.luts > own.luts
            and any(cells(c, d.family) <= space.fill * d.luts
                    and sum(block_rams(m, d.family) for m in memories(placed(c, d)))
                    <= d.block_rams for c in least)][:3]  # fmt: skip

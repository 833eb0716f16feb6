"""Masks of lanes against the coordinates of every byte."""

import itertools
import random

from pyhw.hdl.control.lane_masks import LaneMasks
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import simulate

CONFIG = PRESETS["tiny"]
LATENCY = 3


def clamped(value):
    return min(max(value, 0), CONFIG.read_lanes)


def test_lanes_outside_the_map_and_past_the_run_are_masked_and_wait_with_the_pipeline():
    dut, rng = LaneMasks(CONFIG, LATENCY), random.Random(2)
    row_bytes, in_rows, lanes = 13, 4, CONFIG.read_lanes
    cases = list(itertools.product(
        (-300, -lanes - 1, -lanes, -3, -1, 0, 1, row_bytes - lanes, row_bytes - 1, row_bytes,
         row_bytes + 1, 300), (-300, -1, 0, in_rows - 1, in_rows, 300), (1, lanes, lanes + 1, 999)))
    rng.shuffle(cases)

    async def testbench(ctx):
        ctx.set(dut.i_window, {"row_bytes": row_bytes, "in_rows": in_rows})
        pipeline = []
        for xb, iy, run_left in cases:
            for port, value in ((dut.i_xb, xb), (dut.i_iy, iy), (dut.i_run_left, run_left)):
                ctx.set(port, value)
            while rng.random() < 0.3:  # what stands still changes nothing
                ctx.set(dut.i_advance, 0)
                await ctx.tick()
            ctx.set(dut.i_advance, 1)
            await ctx.tick()
            outside = not 0 <= iy < in_rows
            pipeline.append((xb, outside, clamped(run_left)))
            if len(pipeline) < LATENCY:
                continue
            xb, outside, run = pipeline.pop(0)
            left, right = ctx.get(dut.o_border_left), ctx.get(dut.o_border_from)
            for lane in range(lanes):
                border = outside or not 0 <= xb + lane < row_bytes
                assert (lane < left or lane >= right) == border, (xb, outside, lane)
            assert ctx.get(dut.o_run_left) == run

    simulate(dut, testbench)

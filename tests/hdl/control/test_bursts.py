"""Bursts of a block against plain loops."""

import random

import pytest

from pyhw.hdl.control.bursts import Bursts
from tests.support.helpers import simulate


def plain(total, burst, blocks):
    """Return (last of the block, last position) of every burst of some blocks."""
    found = []
    for _ in range(blocks):
        left = total
        while left > 0:
            length = min(left, burst)
            found.append((left <= burst, length - 1))
            left -= length
    return found


@pytest.mark.parametrize(("depth", "total", "burst"), [
    (16, 1, 1), (16, 1, 16), (16, 16, 16), (16, 17, 16), (16, 100, 7), (9, 27, 9), (1, 5, 1),
    (512, 511, 512), (512, 1023, 512), (5, 1023, 4),
])
def test_bursts_are_those_of_plain_loops(depth, total, burst):
    dut, rng = Bursts(10, depth), random.Random(total)

    async def testbench(ctx):
        for _ in range(2):  # a start forgets what was before
            ctx.set(dut.i_total, total)
            ctx.set(dut.i_burst, burst)
            ctx.set(dut.i_start, 1)
            await ctx.tick()
            ctx.set(dut.i_start, 0)
            for last, final in plain(total, burst, 3)[:-1]:
                assert (ctx.get(dut.o_last), ctx.get(dut.o_final)) == (last, final)
                walk = [*range(final + 1)] * 2  # a step goes over them again
                for number, position in enumerate(walk, 1):
                    while rng.random() < 0.1:
                        await ctx.tick()
                    assert ctx.get(dut.o_position) == position
                    assert ctx.get(dut.o_position_last) == (position == final)
                    ctx.set(dut.i_step, 1)
                    ctx.set(dut.i_next, number == len(walk))
                    await ctx.tick()
                    ctx.set(dut.i_step, 0)
                    ctx.set(dut.i_next, 0)
            ctx.set(dut.i_step, 1)
            await ctx.tick()
            ctx.set(dut.i_step, 0)

    simulate(dut, testbench)

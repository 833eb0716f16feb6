"""Nested counters against nested loops."""

import itertools
import random

import pytest

from pyhw.hdl.common.odometer import Odometer
from tests.support.helpers import simulate


@pytest.mark.parametrize("limits", [(1, 1, 1), (4, 1, 3), (1, 7, 2), (3, 2, 1), (2, 3, 5)], ids=str)
def test_ends_are_those_of_nested_loops(limits):
    names = ("inner", "middle", "outer")
    dut, rng = Odometer(dict.fromkeys(names, 3)), random.Random(str(limits))
    walk = list(itertools.product(*(range(1, limit + 1) for limit in reversed(limits))))

    async def testbench(ctx):
        for turns in (len(walk) // 2, 2 * len(walk)):  # a start forgets what was before
            for name, limit in zip(names, limits, strict=True):
                ctx.set(getattr(dut, f"i_{name}"), limit)
            ctx.set(dut.i_start, 1)
            await ctx.tick()
            ctx.set(dut.i_start, 0)
            for turn in range(turns):
                while rng.random() < 0.3:
                    await ctx.tick()
                ends = [at == limit for at, limit in
                        zip(reversed(walk[turn % len(walk)]), limits, strict=True)]
                assert [ctx.get(getattr(dut, f"o_{name}_last")) for name in names] == ends
                assert ctx.get(dut.o_last) == all(ends)
                ctx.set(dut.i_step, 1)
                await ctx.tick()
                ctx.set(dut.i_step, 0)

    simulate(dut, testbench)

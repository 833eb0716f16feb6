"""Results on their way, against a list of them."""

import random

import pytest

from pyhw.hdl.control.results_on_way import ResultsOnWay
from tests.support.helpers import simulate


@pytest.mark.parametrize("tail", [False, True])
def test_results_are_known_until_they_are_stored_and_those_of_the_last_burst_apart(tail):
    dut, rng = ResultsOnWay(tail), random.Random(5)

    async def testbench(ctx):
        for _ in range(30):  # layers
            flying, bursts, left = [], rng.randint(1, 3), rng.randint(1, 5)
            burst = 0
            while burst < bursts or flying:
                issue = burst < bursts and len(flying) < 20 and rng.random() < 0.6
                written = bool(flying) and rng.random() < 0.4
                end, last = issue and left == 1, burst == bursts - 1
                for port, value in ((dut.i_issue, issue), (dut.i_written, written),
                                    (dut.i_burst_end, end), (dut.i_last_burst, last)):
                    ctx.set(port, value)
                await ctx.tick()
                if written:
                    flying.pop(0)
                if issue:
                    flying.append(last)
                    left -= 1
                if end:
                    burst, left = burst + 1, rng.randint(1, 5)
                assert ctx.get(dut.o_any) == bool(flying)
                # Asked once the last burst has begun: results before it are still there.
                if tail and burst >= bursts - 1:
                    assert ctx.get(dut.o_older) == (False in flying)

    simulate(dut, testbench)

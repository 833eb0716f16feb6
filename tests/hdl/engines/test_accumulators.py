# amaranth: UnusedElaboratable=no
"""Accumulator banks against a dictionary, in both kinds of memory."""

import random

import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from pyhw.hdl.engines.accumulators import BlockAccumulators, LutAccumulators

pytestmark = pytest.mark.parametrize("kind", [LutAccumulators, BlockAccumulators],
                                     ids=["luts", "block"])


def play(dut, tokens, reads, maximum=None):
    """Play one token a cycle, with its sums, and one read a cycle; return what was read.

    `tokens` is a list of (bank, position, clear, sums) or None, `reads` of (bank, position,
    select) or None.
    """
    seen = []

    async def bench(ctx):
        if maximum is not None:
            ctx.set(dut.i_maximum, maximum)
        sums = None
        for token, read in zip(tokens, reads):
            ctx.set(dut.i_token.valid, token is not None)
            if token:
                ctx.set(dut.i_token, {"valid": 1, "bank": token[0], "position": token[1],
                                      "clear": token[2]})
            if sums:
                ctx.set(dut.i_sums, sums)
            if read:
                ctx.set(dut.i_read, {"bank": read[0], "position": read[1]})
                ctx.set(dut.i_select, read[2])
            await ctx.tick()
            sums = token[3] if token else None
            if read:
                # A cycle after the request, before the next one takes effect.
                if sums:
                    ctx.set(dut.i_sums, sums)
                seen.append([ctx.get(value) for value in dut.o_values])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("depth", [1, 2, 5, 32])
@pytest.mark.parametrize("shape", [unsigned(9), signed(11)], ids=str)
def test_fills_one_bank_while_the_other_drains(shape, depth, kind):
    rng = random.Random(depth)
    dut = kind(shape, count=3, depth=depth)
    low, high = (-9, 9) if shape.signed else (0, 9)
    tokens, reads, expected, model = [], [], [], {}
    for burst in range(7):
        bank, positions = burst & 1, rng.randint(1, depth)
        for step in range(rng.randint(1, 4)):
            for position in range(positions):
                sums = [rng.randint(low, high) for _ in range(3)]
                old = [0] * 3 if step == 0 else model[bank, position]
                model[bank, position] = [a + b for a, b in zip(old, sums)]
                tokens.append((bank, position, step == 0, sums))
                reads.append(None)
                # The bank before may be read from the cycle after its last sum on.
                if burst and step * positions + position >= kind.latency:
                    other = (1 - bank, rng.choice([p for b, p in model if b != bank]))
                    select = rng.randrange(8)
                    reads[-1] = (*other, select)
                    expected.append([value if select >> k & 1 else 0
                                     for k, value in enumerate(model[other])])
    assert expected or depth == 1
    assert play(dut, tokens, reads) == expected


def test_one_position_takes_a_sum_every_cycle(kind):
    dut = kind(unsigned(8), depth=4)
    tokens = [(1, 2, k == 0, [k + 1]) for k in range(9)] + [None] * 3
    reads = [None] * 11 + [(1, 2, 1)]
    assert play(dut, tokens, reads) == [[45]]


def test_cleared_position_forgets_at_once(kind):
    dut = kind(unsigned(8), depth=4)
    tokens = [(0, 1, 1, [7]), (0, 1, 0, [8]), (0, 1, 1, [3]), (0, 1, 0, [2]), None, None, None]
    assert play(dut, tokens, [None] * 6 + [(0, 1, 1)]) == [[5]]


def test_banks_and_positions_are_apart(kind):
    dut = kind(unsigned(8), depth=2)
    places = [(bank, position) for bank in range(2) for position in range(2)]
    tokens = [(*place, 1, [k + 1]) for k, place in enumerate(places)] + [None] * 7
    reads = [None] * 7 + [(*place, 1) for place in places]
    assert play(dut, tokens, reads) == [[1], [2], [3], [4]]


@pytest.mark.parametrize(("which", "kept"), [(1, [-2, 4]), (2, [-2, 9])])
def test_the_first_ones_may_keep_the_larger(which, kept, kind):
    dut = kind(signed(8), count=2, depth=2, maximum=which)
    sums = [[-5, 4], [-7, 9], [-2, -9]]
    tokens = [(0, 0, k == 0, pair) for k, pair in enumerate(sums)] + [None] * 3
    reads = [None] * 5 + [(0, 0, 3)]
    assert play(dut, tokens, reads, maximum=1) == [kept]


def test_the_last_ones_may_be_narrow_and_unsigned(kind):
    dut = kind(signed(8), count=3, depth=2, narrow=1,
                       narrow_width=5)
    tokens = [(0, 0, k == 0, sums) for k, sums in enumerate([[-5, 9, 30], [-7, 9, 1]])]
    assert play(dut, [*tokens, None, None, None], [None] * 4 + [(0, 0, 7)]) == [[-12, 18, 31]]


@pytest.mark.parametrize("changes", [{"depth": 0}, {"depth": 4, "count": 0},
                                     {"depth": 2.5}])
def test_refuses_impossible_sizes(changes, kind):
    with pytest.raises(ValueError, match=r"Accumulators\.(count|depth) must be"):
        kind(8, **changes)

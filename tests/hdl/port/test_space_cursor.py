"""Addresses of memory accesses: what lies outside is refused, the rest stepped byte by byte."""

import random

import pytest

from pyhw.hdl.frames import Status
from pyhw.hdl.isa import Space, space_bytes, space_depth
from pyhw.hdl.port.space_cursor import SpaceCursor
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import simulate

CONFIG = PRESETS["tiny"].changed(groups=2, index_entries=16, prototypes=8)


def expected(space, address, length):
    """Return the status of an access."""
    if space not in [s.value for s in Space]:
        return Status.OUT_OF_RANGE
    space, group = Space(space), address >> 24
    size, depth = space_bytes(CONFIG, space), space_depth(CONFIG, space)
    if length % size:
        return Status.BAD_LENGTH
    most = CONFIG.groups if space is Space.SCRATCH else 1
    inside = group < most and (address & 0xffffff) + length // size <= depth
    return Status.OK if inside else Status.OUT_OF_RANGE


async def check(ctx, dut, space, address, length):
    """Start a check and return its status and the cycles until it came."""
    for port, value in ((dut.i_space, space), (dut.i_address, address), (dut.i_length, length),
                        (dut.i_start, 1)):
        ctx.set(port, value)
    await ctx.tick()
    ctx.set(dut.i_start, 0)
    cycles = 1
    while not ctx.get(dut.o_done):
        await ctx.tick()
        cycles += 1
    status = ctx.get(dut.o_status)
    await ctx.tick()
    return status, cycles + 1


@pytest.mark.parametrize("space", Space, ids=lambda space: space.name)
def test_accesses_at_the_ends_of_a_memory_are_told_apart_and_stepped_through(space):
    dut, rng = SpaceCursor(CONFIG), random.Random(space.value)
    size, depth = space_bytes(CONFIG, space), space_depth(CONFIG, space)
    cases = [(first, size * words) for first in (0, depth // 2, depth - 1, depth)
             for words in (1, 2, min(depth, 3), 0)]
    cases += [(0, size + 1), (1 << 24, size), (2 << 24, size), (1 << 23, size), (depth - 1, 1)]
    cases += [(rng.randrange(depth), size * rng.randrange(1, 3)) for _ in range(4)]

    async def testbench(ctx):
        for address, length in cases:
            status, cycles = await check(ctx, dut, space.value, address, length)
            wanted = expected(space.value, address, length)
            # Bytes that are no whole word are found out where the last word ends.
            assert status == wanted, (address, length)
            if wanted != Status.OK:
                continue
            assert cycles == 2 + (bool(length) if size == 1 else length // size)
            for number in range(length):
                word = (address & 0xffffff) + number // size
                assert ctx.get(dut.o_address) == (address & ~0xffffff) + word
                assert ctx.get(dut.o_lane) == number % size
                ctx.set(dut.i_step, 1)
                await ctx.tick()
                ctx.set(dut.i_step, 0)

    simulate(dut, testbench)


def test_spaces_that_are_none_are_out_of_range():
    dut = SpaceCursor(CONFIG)

    async def testbench(ctx):
        for space in (max(s.value for s in Space) + 1, 16, 255):
            status, _ = await check(ctx, dut, space, 0, 1)
            assert status == Status.OUT_OF_RANGE

    simulate(dut, testbench)

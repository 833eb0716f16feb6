"""Requests of channel parameters against the vectors of a layer written out."""

import random

import pytest

from pyhw.hdl.control.record_requests import RecordRequests
from tests.support.helpers import simulate


def vectors_of(blocks, bursts, width):
    """Return (first record, records, last of its burst, of its block, of the layer) of vectors."""
    found, first = [], 0
    for block, rows in enumerate(blocks):
        for burst in range(bursts):
            for row in range(0, rows, width):
                found.append((first + row, min(width, rows - row), row + width >= rows,
                              burst == bursts - 1, block == len(blocks) - 1))
        first += rows
    return found


@pytest.mark.parametrize(("blocks", "bursts", "width", "positions"), [
    ([1], 1, 1, 1), ([5, 5, 3], 2, 2, 3), ([4, 2], 3, 4, 1), ([7], 2, 3, 2), ([2, 2, 1], 1, 1, 4)])
def test_records_follow_the_vectors_and_begin_again_with_every_burst(
        blocks, bursts, width, positions):
    dut, base, rng = RecordRequests(64), 9, random.Random(len(blocks))
    vectors, requested = vectors_of(blocks, bursts, width), []

    async def watch(ctx):
        while True:
            _, _, request, record, first = await ctx.tick().sample(
                dut.o_request, dut.o_record, dut.o_first)
            if request:
                assert first == (not requested)
                requested.append(record)

    async def testbench(ctx):
        for _ in range(2):  # the second layer begins where it says
            requested.clear()
            ctx.set(dut.i_base, base)
            ctx.set(dut.i_start, 1)
            await ctx.tick()
            ctx.set(dut.i_start, 0)
            await ctx.tick().repeat(2)
            for _, lanes, vector_last, burst_last, block_last in vectors:
                for port, value in ((dut.i_lanes, lanes), (dut.i_vector_last, vector_last),
                                    (dut.i_burst_last, burst_last),
                                    (dut.i_block_last, block_last)):
                    ctx.set(port, value)
                for position in range(positions):
                    end = position == positions - 1
                    ctx.set(dut.i_take, position == 0)
                    ctx.set(dut.i_vector_end, end)
                    ctx.set(dut.i_burst_end, end and vector_last)
                    await ctx.tick()
                    for port in (dut.i_take, dut.i_vector_end, dut.i_burst_end):
                        ctx.set(port, 0)
                    if position == 0:
                        await ctx.tick().repeat(rng.randint(1, 3))
                        ctx.set(dut.i_taken, 1)  # the place for the next records is free
                        await ctx.tick()
                        ctx.set(dut.i_taken, 0)
            await ctx.tick().repeat(2)
            assert requested == [base + first for first, *_ in vectors]

    simulate(dut, testbench, background=[watch])

"""The datapath while no layer runs: quiet, and open to the host."""

import random

import pytest

from pyhw.hdl.control.datapath import Datapath
from tests.hdl.top.test_serial_accelerator import CONFIG
from tests.support.helpers import simulate


@pytest.mark.parametrize("changes", [{}, {"groups": 2, "copy": True}], ids=str)
def test_the_host_reads_what_it_wrote_and_nothing_else_moves(changes):
    config, rng = CONFIG.changed(**changes), random.Random(1)
    dut, read, contents = Datapath(config), [], {}
    places = [(group, address) for group in range(config.groups) for address in (0, 1, 5, 63)]

    async def access(ctx, **fields):
        ctx.set(dut.i_host.payload, fields)
        ctx.set(dut.i_host.valid, 1)
        await ctx.tick().until(dut.i_host.ready)
        ctx.set(dut.i_host.valid, 0)

    async def watch(ctx):
        strobes = (dut.o_compute_busy | dut.o_store_busy | dut.o_vector | dut.o_result
                   | dut.o_stall_weights | dut.o_stall_layer | dut.o_stall_bank
                   | dut.o_stall_port)
        while True:
            _, _, valid, byte, moves = await ctx.tick().sample(
                dut.o_host_valid, dut.o_host, strobes)
            assert not moves
            if valid:
                read.append(byte)

    async def testbench(ctx):
        ctx.set(dut.i_stored, 1)
        for group, address in places:
            contents[group, address] = rng.randrange(256)
            await access(ctx, write=1, group=group, address=address,
                         data=contents[group, address])
        asked = rng.sample(places, len(places)) * 2
        for group, address in asked:
            await access(ctx, write=0, group=group, address=address)
        await ctx.tick().repeat(10)
        assert read == [contents[place] for place in asked]

    simulate(dut, testbench, background=[watch])

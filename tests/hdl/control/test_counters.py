import random

import pytest
from amaranth.sim import Simulator

from pyhw.hdl.common.links import DIRECT, Links
from pyhw.hdl.control.counters import COUNTER_WIDTH, Counters
from pyhw.hdl.isa import COUNTER_SET, Counter
from pyhw.hdl.presets import PRESETS

REGISTERED = Links(PRESETS["tiny"].changed(spread=True))


async def read(ctx, dut, address):
    ctx.set(dut.i_read.payload, address)
    ctx.set(dut.i_read.valid, 1)
    await ctx.tick().until(dut.i_read.ready)
    ctx.set(dut.i_read.valid, 0)
    ctx.set(dut.o_read.ready, 1)
    [value] = await ctx.tick().sample(dut.o_read.payload).until(dut.o_read.valid)
    ctx.set(dut.o_read.ready, 0)
    return value


async def read_counter(ctx, dut, counter, layer=0):
    first = COUNTER_SET * layer + 8 * counter
    return int.from_bytes([await read(ctx, dut, first + k) for k in range(8)], "little")


def simulate(bench, layers=1):
    for links in (DIRECT, REGISTERED):
        dut = Counters(layers, links=links)
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)

        async def testbench(ctx, dut=dut):
            ctx.set(dut.i_running, 1)
            await bench(ctx, dut)

        simulator.add_testbench(testbench)
        simulator.run()


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_counts_every_strobe(density):
    generator = random.Random(1)
    size = len(Counter)

    async def bench(ctx, dut):
        counts = [0] * size
        for _ in range(1000):
            word = sum((generator.random() <= density) << k for k in range(size))
            counts = [n + (word >> k & 1) for k, n in enumerate(counts)]
            ctx.set(dut.i_increment, word)
            await ctx.tick()
        ctx.set(dut.i_increment, 0)
        await ctx.tick().repeat(10)
        assert [await read_counter(ctx, dut, k) for k in range(size)] == counts

    simulate(bench)


def test_clear_starts_all_counters_from_nothing():
    async def bench(ctx, dut):
        for phase in range(9):
            ctx.set(dut.i_increment, -1)
            await ctx.tick().repeat(20 + phase)
            ctx.set(dut.i_clear, 1)
            await ctx.tick()
            ctx.set(dut.i_clear, 0)
            await ctx.tick().repeat(5)
            ctx.set(dut.i_increment, 0)
            await ctx.tick().repeat(10)
            size = len(Counter)
            assert [await read_counter(ctx, dut, k) for k in range(size)] == [5] * size

    simulate(bench)


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("gap", [18, 19, 40, 100])
def test_layers_count_apart_and_the_last_set_for_the_rest(layers, gap):
    generator = random.Random(gap)
    size = len(Counter)

    async def bench(ctx, dut):
        for running in (False, True, False):  # every run begins from nothing
            counts = [[0] * size for _ in range(layers)]
            ctx.set(dut.i_clear, 1)
            await ctx.tick()
            ctx.set(dut.i_clear, 0)
            ctx.set(dut.i_running, 1)
            for cycle in range(5 * gap):
                word = generator.getrandbits(size) | 1
                layer = min(cycle // gap, layers - 1)
                counts[layer] = [n + (word >> k & 1) for k, n in enumerate(counts[layer])]
                ctx.set(dut.i_increment, word)
                ctx.set(dut.i_next, cycle > 0 and cycle % gap == 0)
                await ctx.tick()
            ctx.set(dut.i_increment, 0)
            ctx.set(dut.i_next, 0)
            if running:
                await ctx.tick().repeat(20)
                assert [await read_counter(ctx, dut, k, 0) for k in range(size)] == counts[-1]
            ctx.set(dut.i_running, 0)
            assert [[await read_counter(ctx, dut, k, layer) for k in range(size)]
                    for layer in range(layers)] == counts
            assert await read_counter(ctx, dut, size, layers - 1) == 0  # beyond the counters

    simulate(bench, layers)


@pytest.mark.parametrize("cycles", range(40, 50))
def test_what_is_counted_last_belongs_to_the_last_set(cycles):
    size = len(Counter)

    async def bench(ctx, dut):
        ctx.set(dut.i_running, 1)
        ctx.set(dut.i_increment, -1)
        for cycle in range(cycles):
            ctx.set(dut.i_next, cycle == 20)
            await ctx.tick()
        ctx.set(dut.i_increment, 0)
        ctx.set(dut.i_running, 0)
        assert [[await read_counter(ctx, dut, k, layer) for k in range(size)]
                for layer in range(2)] == [[20] * size, [cycles - 20] * size]

    simulate(bench, 2)


def test_a_counter_is_read_whole_while_it_counts():
    async def bench(ctx, dut):
        ctx.set(dut.i_increment, 1)
        last = -1
        for _ in range(100):
            value = await read_counter(ctx, dut, 0)
            assert last < value < last + 60
            last = value

    simulate(bench)


def test_width_is_enough_for_hours():
    assert 2**COUNTER_WIDTH / 100e6 > 3 * 3600 - 200

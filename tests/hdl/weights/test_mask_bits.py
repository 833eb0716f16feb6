"""Mask bits against a list of a layer's bits."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.weights.mask_bits import MaskBits
from tests.support.helpers import simulate
from tests.support.records import run_value

CONFIG = Config.of(
    shift=EngineConfig(rows=4, lanes=4, code_width=4, acc_width=20), prototypes=16, load_bits=16,
    burst_depth=4, weight_words=64)


@pytest.mark.parametrize(("first", "block_bits", "last_bits"), [
    (0, 16, 16), (5, 21, 9), (15, 33, 2), (3, 1, 1), (9, 48, 40)])
@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_every_burst_gets_the_bits_of_its_block_in_order(first, block_bits, last_bits, stall):
    dut, rng = MaskBits(CONFIG), random.Random(first)
    width, blocks, total, burst = CONFIG.expand_lanes, 3, 7, 3
    assert width > 1
    lengths = [block_bits] * (blocks - 1) + [last_bits]
    bits = [rng.randrange(2) for _ in range(first + sum(lengths) + 16)]
    words = [sum(bit << k for k, bit in enumerate(bits[at:at + 16]))
             for at in range(0, len(bits) - 15, 16)]
    bursts = [(first + sum(lengths[:block]), length, block, number)
              for block, length in enumerate(lengths) for number in range(-(-total // burst))]
    fields = {"masked": 1, "mask_bit": first, "block_bits": block_bits, "last_bits": last_bits,
              "burst": burst, "n_blocks": blocks}

    async def source(ctx):
        for begin, length, _, _ in bursts:
            for word in words[begin // 16:(begin + length - 1) // 16 + 1]:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(dut.i_stream.payload, word)
                ctx.set(dut.i_stream.valid, 1)
                await ctx.tick().until(dut.i_stream.ready)
                ctx.set(dut.i_stream.valid, 0)

    async def testbench(ctx):
        ctx.set(dut.i_run, run_value(dut.i_run, fields, total=total, start=1))
        ctx.set(dut.i_enable, 1)
        await ctx.tick()
        ctx.set(dut.i_run, run_value(dut.i_run, fields, total=total))
        for begin, length, block, number in bursts:
            done = 0
            while done < length:
                while not ctx.get(dut.o_ready) or rng.random() < stall:
                    ctx.set(dut.i_enable, rng.random() >= stall)
                    await ctx.tick()
                count = min(rng.randint(0, width), length - done)
                assert [ctx.get(dut.o_bits) >> k & 1 for k in range(count)] == (
                    bits[begin + done:begin + done + count])
                last = number == -(-total // burst) - 1
                assert ctx.get(dut.o_block_end) == last
                assert ctx.get(dut.o_layer_end) == (last and block == blocks - 1)
                done += count
                for port, value in ((dut.i_enable, 1), (dut.i_take, 1), (dut.i_count, count),
                                    (dut.i_end, done == length)):
                    ctx.set(port, value)
                await ctx.tick()
                ctx.set(dut.i_take, 0)
                ctx.set(dut.i_end, 0)
        assert not ctx.get(dut.o_ready)

    simulate(dut, testbench, source)

"""Checksum of frames: against zlib, and the turning that hands out its bytes."""

import random
import zlib

from amaranth.sim import Simulator

from pyhw.hdl.frames import CRC_BYTES
from pyhw.hdl.port.crc32 import Crc32


def run(bench):
    dut = Crc32()
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def testbench(ctx):
        await bench(ctx, dut)

    simulator.add_testbench(testbench)
    simulator.run()


async def take(ctx, dut, message):
    ctx.set(dut.i_start, 1)
    await ctx.tick()
    ctx.set(dut.i_start, 0)
    for byte in message:
        ctx.set(dut.i_valid, 1)
        ctx.set(dut.i_data, byte)
        await ctx.tick()
    ctx.set(dut.i_valid, 0)


def test_checksum_is_that_of_zlib():
    generator = random.Random(1)
    messages = [b"", b"123456789", bytes(20), b"\xff" * 9]
    messages += [generator.randbytes(generator.randrange(1, 40)) for _ in range(30)]
    messages += [bytes((byte,)) for byte in range(256)]

    async def bench(ctx, dut):
        for message in messages:
            await take(ctx, dut, message)
            assert ctx.get(dut.o_crc) == zlib.crc32(message), message

    run(bench)


def test_turning_hands_out_the_bytes_in_order_and_ends_where_it_began():
    async def bench(ctx, dut):
        await take(ctx, dut, b"123456789")
        ctx.set(dut.i_data, 0x5c)
        ctx.set(dut.i_turn, 1)
        ctx.set(dut.i_valid, 1)
        for byte in zlib.crc32(b"123456789").to_bytes(CRC_BYTES, "little"):
            assert ctx.get(dut.o_crc) & 255 == byte
            await ctx.tick()
        assert ctx.get(dut.o_crc) == zlib.crc32(b"123456789")

    run(bench)


def test_nothing_changes_without_a_byte():
    async def bench(ctx, dut):
        await take(ctx, dut, b"abc")
        ctx.set(dut.i_turn, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_crc) == zlib.crc32(b"abc")

    run(bench)

"""The serial line against a line written bit by bit, at exact and at wrong rates."""

import gc
import random
import warnings

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from pyhw.hdl.port.uart import Uart, UartReceiver, UartTransmitter, divisor_for
from tests.support.helpers import feed, simulate, take

BYTES = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80]) + random.Random(4).randbytes(10)


def levels(data):
    """Return the line's level in each bit of some bytes, 8N1."""
    return [bit for byte in data for bit in (0, *(byte >> k & 1 for k in range(8)), 1)]


async def drive(ctx, wire, bits, cycles_per_bit):
    """Put bits on a wire; a bit may take a fraction of a cycle more than another."""
    time = 0.0
    for index, bit in enumerate(bits, 1):
        ctx.set(wire, bit)
        while time < index * cycles_per_bit - 0.5:
            await ctx.tick()
            time += 1


@pytest.mark.parametrize("divisor", [4, 5, 8, 33])
@pytest.mark.parametrize("drift", [0.97, 1.0, 1.03])
def test_bytes_arrive_though_the_rates_differ(divisor, drift):
    # With few cycles a bit the middle is found less well, and the other rate must be closer.
    drift = 1 + (drift - 1) * (1 if divisor > 7 else 0.3)
    dut, got, wrong = UartReceiver(divisor), [], []

    async def line(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick().repeat(3 * divisor)
        await drive(ctx, dut.i_rx, levels(BYTES), divisor * drift)
        await ctx.tick().repeat(2 * divisor)
        assert bytes(got) == BYTES

    async def sink(ctx):
        await take(ctx, dut.o, got.append)

    async def strobes(ctx):
        async for _, _, overrun, framing in ctx.tick().sample(dut.o_overrun, dut.o_framing):
            wrong.append(overrun | framing)

    simulate(dut, line, background=(sink, strobes), cycles=200_000)
    assert not any(wrong)


def test_a_byte_waits_and_the_next_one_replaces_it():
    dut = UartReceiver(4)
    overruns = []

    async def line(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick().repeat(8)
        await drive(ctx, dut.i_rx, levels(b"\x12"), 4)
        await ctx.tick().repeat(8)
        assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (1, 0x12)
        await drive(ctx, dut.i_rx, levels(b"\x34"), 4)
        await ctx.tick().repeat(8)
        assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (1, 0x34)
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        assert ctx.get(dut.o.valid) == 0

    async def strobes(ctx):
        async for _, _, overrun in ctx.tick().sample(dut.o_overrun):
            overruns.append(overrun)

    simulate(dut, line, background=(strobes,))
    assert sum(overruns) == 1


def receive_two(ready_at=None):
    """Receive two bytes, the stream ready in one cycle only; return (cycle, payload, valid) of
    every cycle, the bytes taken, and the overruns.
    """
    dut, seen, taken, overruns = UartReceiver(4), [], [], []

    async def line(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick().repeat(8)
        await drive(ctx, dut.i_rx, levels(b"\x12\x34"), 4)
        await ctx.tick().repeat(8)

    async def sink(ctx):
        for cycle in range(100):
            ready = cycle == ready_at
            ctx.set(dut.o.ready, ready)
            _, _, payload, valid, overrun = await ctx.tick().sample(
                dut.o.payload, dut.o.valid, dut.o_overrun)
            seen.append((cycle, payload, valid))
            overruns.append(overrun)
            if ready and valid:
                taken.append(payload)

    simulate(dut, line, sink)
    return seen, taken, sum(overruns)


def test_a_byte_taken_in_the_cycle_in_which_the_next_one_is_complete_is_not_lost():
    seen, _, overruns = receive_two()
    assert overruns == 1
    arrives = next(cycle for cycle, payload, valid in seen if valid and payload == 0x34) - 1
    for ready_at, left in ((arrives, 1), (arrives + 1, 0), (arrives - 1, 1)):
        seen, taken, overruns = receive_two(ready_at)
        late = ready_at > arrives
        assert (taken, overruns) == ([0x34 if late else 0x12], late)
        assert seen[-1][1:] == (0x34, left)


def test_spikes_breaks_and_missing_stop_bits_give_no_bytes():
    dut, got, framing = UartReceiver(8), [], []

    async def line(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick().repeat(16)
        await drive(ctx, dut.i_rx, [0], 2)  # a spike
        await drive(ctx, dut.i_rx, [1, 1], 8)
        await drive(ctx, dut.i_rx, levels(b"\x61")[:-1] + [0, 0, 1, 1], 8)
        await drive(ctx, dut.i_rx, [0] * 40 + [1, 1], 8)  # a break
        await drive(ctx, dut.i_rx, levels(b"\x62"), 8)
        await ctx.tick().repeat(16)
        assert got == [0x62]
        assert sum(framing) == 2

    async def sink(ctx):
        await take(ctx, dut.o, got.append)

    async def strobes(ctx):
        async for _, _, strobe in ctx.tick().sample(dut.o_framing):
            framing.append(strobe)

    simulate(dut, line, background=(sink, strobes))


@pytest.mark.parametrize("divisor", [4, 11])
@pytest.mark.parametrize("gap", [0.0, 0.98])
def test_the_transmitter_sends_eight_bits_and_a_stop_bit(divisor, gap):
    dut, line = UartTransmitter(divisor), []

    async def source(ctx):
        await feed(ctx, dut.i, BYTES, gap=gap)
        await ctx.tick().repeat(12 * divisor)

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.o_tx):
            line.append(level)

    simulate(dut, source, background=(watch,), cycles=300_000)
    if not gap:  # no pause between bytes
        start = line.index(0)
        spread = [level for bit in levels(BYTES) for level in [bit] * divisor]
        assert line[start:start + len(spread)] == spread
    found, at = [], 0
    while 0 in line[at:]:
        at = line.index(0, at)
        bits = [line[at + k * divisor:at + (k + 1) * divisor] for k in range(10)]
        assert all(len(set(bit)) == 1 for bit in bits)
        found.append(sum(bit[0] << k for k, bit in enumerate(bits[1:9])))
        assert bits[9][0] == 1
        at += 10 * divisor
    assert bytes(found) == BYTES


class Loop(wiring.Component):
    """Two ends of a line."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.one, m.submodules.other = one, other = Uart(6), Uart(6)
        m.d.comb += [one.i_rx.eq(other.o_tx), other.i_rx.eq(one.o_tx)]
        connect(m, source=flipped(self.i), sink=one.i)
        connect(m, source=other.o, sink=other.i)
        connect(m, source=one.o, sink=flipped(self.o))
        return m


def test_both_directions_at_once_without_a_lost_byte():
    dut, got = Loop(), []

    async def source(ctx):
        await feed(ctx, dut.i, BYTES * 3)

    async def sink(ctx):
        await take(ctx, dut.o, got.append, count=3 * len(BYTES), stall=0.5)

    simulate(dut, source, sink)
    assert bytes(got) == BYTES * 3


def test_rates_that_a_clock_cannot_make_are_refused():
    assert divisor_for(25e6, 115200) == 217
    assert divisor_for(48e6, 3_000_000) == 16
    with pytest.raises(ValueError, match="baud must be at most a 4th of the clock"):
        divisor_for(12e6, 6_000_000)
    with pytest.raises(ValueError, match="baud must be within 2% of 2400000"):
        divisor_for(12e6, 2_200_000)
    for wrong in (3, 4.0, True):
        with pytest.raises(ValueError, match="divisor must be an integer of at least 4"):
            Uart(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what could not be made is not "unused"
        gc.collect()

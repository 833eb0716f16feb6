"""Streams in Amaranth's simulator: feed one end, take from and check the other."""

import random

from amaranth.sim import Simulator


def simulate(dut, *testbenches, background=(), cycles=100_000):
    """Run testbenches to their end with one clock; fail if that takes more than ``cycles``."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def watchdog(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise AssertionError(f"no end within {cycles} cycles")

    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in (*background, watchdog):
        simulator.add_testbench(testbench, background=True)
    simulator.run()


async def feed(ctx, port, items, *, gap=0.0, seed=0):
    """Offer items to a stream input, each held back with probability ``gap`` per cycle."""
    generator = random.Random(f"feed {seed}")
    for item in items:
        while gap and generator.random() < gap:
            await ctx.tick()
        ctx.set(port.payload, item)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)


def tells_ahead(dut):
    """Return a testbench that holds `o_ahead` against `o_stream.valid` of the next cycle."""
    async def testbench(ctx):
        told = None
        while True:
            _, _, valid, ahead = await ctx.tick().sample(dut.o_stream.valid, dut.o_ahead)
            assert told in (None, valid)
            told = ahead
    return testbench


async def take(ctx, port, deliver, *, count=None, stall=0.0, seed=0):
    """Call ``deliver`` with ``count`` payloads of a stream output (None: without end).

    The stream is not ready with probability ``stall`` per cycle; a payload that is offered must
    stay until it is taken.
    """
    generator = random.Random(f"take {seed}")
    waiting = None
    while count != 0:
        ready = not stall or generator.random() >= stall
        ctx.set(port.ready, ready)
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
        if waiting is not None:
            assert valid, "valid fell before the payload was taken"
            assert payload == waiting, "the payload changed before it was taken"
        waiting = None
        if valid and ready:
            deliver(payload)
            count = None if count is None else count - 1
        elif valid:
            waiting = payload
    ctx.set(port.ready, 0)


def check_delay(dut, cycles):
    """Check that `o_value` is the 7-bit `i_value` of so many cycles before."""
    sent = [(37 * k) % 128 for k in range(40)]

    async def testbench(ctx):
        for k, value in enumerate(sent):
            ctx.set(dut.i_value, value)
            if k >= cycles:
                assert ctx.get(dut.o_value) == sent[k - cycles]
            await ctx.tick()

    simulate(dut, testbench)

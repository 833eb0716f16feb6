"""The AXI4-Lite port: transfers in any order, answers that nobody takes yet."""

import random

from pyhw.hdl.port.axi import AxiLitePort, Response
from tests.support.helpers import simulate

BITS = 6


class Bench:
    """Sixteen registers behind the port: those from 12 on refuse."""

    def __init__(self):
        self.dut = AxiLitePort(BITS)
        self.memory = [0x1000 * k for k in range(16)]
        self.writes = 0

    async def registers(self, ctx):
        """Answer reads and writes in the same cycle, as the contract says."""
        dut = self.dut
        while True:
            address = ctx.get(dut.o_write_address)
            ctx.set(dut.i_write_response, Response.SLVERR if address >= 12 else Response.OKAY)
            read = ctx.get(dut.o_read_address)
            ctx.set(dut.i_read_data, self.memory[read])
            ctx.set(dut.i_read_response, Response.DECERR if read >= 12 else Response.OKAY)
            if ctx.get(dut.o_write):
                self.writes += 1
                mask, data = ctx.get(dut.o_write_mask), ctx.get(dut.o_write_data)
                if address < 12:
                    self.memory[address] = (self.memory[address] & ~mask) | (data & mask)
            await ctx.tick()

    def run(self, *testbenches):
        simulate(self.dut, *testbenches, background=[self.registers])


async def send(ctx, axi, channel, delay, **values):
    """Offer a transfer on a channel after a delay, until it is taken."""
    for _ in range(delay):
        await ctx.tick()
    for name, value in values.items():
        ctx.set(getattr(axi, name), value)
    ctx.set(getattr(axi, f"{channel}valid"), 1)
    await ctx.tick().until(getattr(axi, f"{channel}ready"))
    ctx.set(getattr(axi, f"{channel}valid"), 0)


def test_address_and_data_come_in_any_order_and_strobes_choose_bytes():
    bench, rng = Bench(), random.Random(1)
    axi = bench.dut.axi
    cases = [(rng.randrange(12), rng.randrange(1 << 32), rng.randrange(16),
              rng.randrange(4), rng.randrange(4)) for _ in range(30)]
    expected = list(bench.memory)
    for word, value, strobes, _, _ in cases:
        mask = sum(0xff << 8 * lane for lane in range(4) if strobes >> lane & 1)
        expected[word] = (expected[word] & ~mask) | (value & mask)

    async def addresses(ctx):
        for word, _, _, delay, _ in cases:
            await send(ctx, axi, "aw", delay, awaddr=4 * word)

    async def words(ctx):
        for _, value, strobes, _, delay in cases:
            await send(ctx, axi, "w", delay, wdata=value, wstrb=strobes)

    async def answers(ctx):
        ctx.set(axi.bready, 1)
        for _ in cases:
            (response,) = await ctx.tick().sample(axi.bresp).until(axi.bvalid)
            assert response == Response.OKAY

    bench.run(addresses, words, answers)
    assert bench.memory == expected
    assert bench.writes == len(cases)


def test_a_write_answer_stays_until_it_is_taken_and_the_next_write_waits_for_it():
    bench = Bench()
    axi = bench.dut.axi

    async def testbench(ctx):
        for word in (13, 2):  # one that is refused, then one that is not
            for channel, values in (("aw", {"awaddr": 4 * word}),
                                    ("w", {"wdata": 7, "wstrb": 15})):
                await send(ctx, axi, channel, 0, **values)
        for _ in range(10):
            assert ctx.get(axi.bvalid)
            assert ctx.get(axi.bresp) == Response.SLVERR
            assert bench.writes == 1
            assert not ctx.get(axi.awready)
            assert not ctx.get(axi.wready)
            await ctx.tick()
        ctx.set(axi.bready, 1)
        await ctx.tick()
        assert not ctx.get(axi.bvalid)
        ctx.set(axi.bready, 0)
        await ctx.tick().until(axi.bvalid)
        for _ in range(5):
            assert ctx.get(axi.bresp) == Response.OKAY
            assert ctx.get(axi.bvalid)
            await ctx.tick()
        ctx.set(axi.bready, 1)
        await ctx.tick()
        assert not ctx.get(axi.bvalid)
        assert (bench.writes, bench.memory[2]) == (2, 7)

    bench.run(testbench)


def test_read_data_stays_until_it_is_taken_though_the_next_address_has_come():
    bench = Bench()
    axi = bench.dut.axi

    async def testbench(ctx):
        await send(ctx, axi, "ar", 0, araddr=4 * 3)
        await send(ctx, axi, "ar", 0, araddr=4 * 14)
        for _ in range(10):
            assert ctx.get(axi.rvalid)
            assert (ctx.get(axi.rdata), ctx.get(axi.rresp)) == (0x3000, Response.OKAY)
            assert not ctx.get(axi.arready)
            await ctx.tick()
        ctx.set(axi.rready, 1)
        await ctx.tick()
        ctx.set(axi.rready, 0)
        assert not ctx.get(axi.rvalid)
        await ctx.tick().until(axi.rvalid)
        for _ in range(5):
            assert ctx.get(axi.rvalid)
            assert ctx.get(axi.rresp) == Response.DECERR
            await ctx.tick()

    bench.run(testbench)

"""An accelerator in a system: what happens on its streams while it is reset."""

from amaranth.sim import Simulator

from pyhw.hdl.frames import Command, Status
from pyhw.hdl.registers import RESET_CYCLES, find_register
from pyhw.hdl.top.axi_accelerator import AxiAccelerator
from pyhw.host import Decoder, encode
from tests.hdl.top.test_serial_accelerator import CONFIG

HALF = 1e-6


class Bench:
    """The clock, and a host on both interfaces."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.received = bytearray()
        self.lasts = []

    async def tick(self, count=1):
        """Let a clock edge pass, and take what the accelerator sends."""
        out = self.dut.m_axis
        for _ in range(count):
            taken = self.ctx.get(out.tvalid) and self.ctx.get(out.tready)
            byte, last = self.ctx.get(out.tdata), self.ctx.get(out.tlast)
            self.ctx.set(self.dut.aclk, 1)
            await self.ctx.delay(HALF)
            self.ctx.set(self.dut.aclk, 0)
            await self.ctx.delay(HALF)
            if taken:
                self.received.append(byte)
                self.lasts.append(last)

    async def send(self, raw):
        """Offer bytes; return the cycles that each waited."""
        source, waits = self.dut.s_axis, []
        for byte in raw:
            self.ctx.set(source.tdata, byte)
            self.ctx.set(source.tvalid, 1)
            waits.append(0)
            while not self.ctx.get(source.tready):
                waits[-1] += 1
                await self.tick()
            await self.tick()
            self.ctx.set(source.tvalid, 0)
        return waits

    async def soft_reset(self):
        """Write the register; return when the write has its answer."""
        axi = self.dut.s_axi
        for name, value in (("awaddr", find_register("CONTROL").address), ("wdata", 1),
                            ("wstrb", 15), ("awvalid", 1), ("wvalid", 1), ("bready", 1)):
            self.ctx.set(getattr(axi, name), value)
        await self.tick()
        self.ctx.set(axi.awvalid, 0)
        self.ctx.set(axi.wvalid, 0)
        while not self.ctx.get(axi.bvalid):
            await self.tick()


def run(test):
    dut = AxiAccelerator(CONFIG)

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        await bench.tick(2)
        ctx.set(dut.aresetn, 1)
        ctx.set(dut.m_axis.tready, 1)
        await bench.tick(2)
        await test(ctx, bench)

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()


def test_bytes_offered_during_a_soft_reset_wait_and_none_is_lost():
    async def test(ctx, bench):
        await bench.soft_reset()
        waits = await bench.send(encode(7, Command.IDENTIFY.value, b""))
        assert RESET_CYCLES <= waits[0] <= RESET_CYCLES + 2
        assert not any(waits[1:])
        await bench.tick(150)
        (frame,) = Decoder().feed(bytes(bench.received))
        assert (frame.sequence, frame.payload[0]) == (7, Status.OK.value)
        assert bench.lasts == [0] * (len(bench.received) - 1) + [1]

    run(test)


def test_a_reply_that_a_soft_reset_cuts_off_is_ended_once_and_held_until_it_is_taken():
    async def test(ctx, bench):
        await bench.send(encode(7, Command.IDENTIFY.value, b""))
        while len(bench.received) < 3:
            await bench.tick()
        ctx.set(bench.dut.m_axis.tready, 0)
        await bench.soft_reset()
        await bench.tick(3 * RESET_CYCLES)
        held = [ctx.get(bench.dut.m_axis.tvalid), ctx.get(bench.dut.m_axis.tdata)]
        await bench.tick(10)
        assert held == [ctx.get(bench.dut.m_axis.tvalid), ctx.get(bench.dut.m_axis.tdata)]
        ctx.set(bench.dut.m_axis.tready, 1)
        await bench.tick(60)
        assert bench.lasts.count(1) == 1
        assert (bench.lasts[-1], bench.received[-1]) == (1, 0)
        # The next reply is whole.
        bench.received.clear()
        bench.lasts.clear()
        await bench.send(encode(8, Command.IDENTIFY.value, b""))
        await bench.tick(150)
        (frame,) = Decoder().feed(bytes(bench.received))
        assert frame.sequence == 8

    run(test)

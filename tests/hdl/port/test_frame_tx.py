import random

import pytest
from amaranth.sim import Simulator

from pyhw.hdl.frames import Status
from pyhw.hdl.port.frame_tx import FrameTx
from pyhw.host import Decoder, Frame, encode
from tests.support.helpers import feed, take


def simulate(replies, *, gap=0.0, stall=0.0):
    dut = FrameTx()
    out = bytearray()
    cycles = [0]

    async def headers(ctx):
        await feed(ctx, dut.i_reply, [
            {"sequence": s, "opcode": o, "status": status, "length": len(data)}
            for s, o, status, data in replies], gap=gap)

    async def bodies(ctx):
        await feed(ctx, dut.i_data, b"".join(data for *_, data in replies), gap=gap, seed=1)

    async def sink(ctx):
        await take(ctx, dut.o, out.append, stall=stall,
                   count=sum(12 + len(data) for *_, data in replies))

    async def clock(ctx):
        async for _ in ctx.tick():
            cycles[0] += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in (headers, bodies, sink):
        simulator.add_testbench(bench)
    simulator.add_testbench(clock, background=True)
    simulator.run()
    return bytes(out), cycles[0]


GENERATOR = random.Random(2)
REPLIES = [(k, 0x80 | k, status, GENERATOR.randbytes(size)) for k, (status, size) in enumerate(
    [(Status.OK, 0), (Status.BAD_CRC, 0), (Status.OK, 1), (Status.BUSY, 2), (Status.OK, 300)])]


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3)])
def test_replies_are_frames(gap, stall):
    raw, _ = simulate(REPLIES, gap=gap, stall=stall)
    bodies = [(s, o, bytes([status.value]) + data) for s, o, status, data in REPLIES]
    assert raw == b"".join(encode(*body) for body in bodies)
    assert Decoder().feed(raw) == [Frame(*body) for body in bodies]


def test_a_byte_a_cycle():
    raw, cycles = simulate(REPLIES)
    assert cycles <= len(raw) + 2 * len(REPLIES) + 2

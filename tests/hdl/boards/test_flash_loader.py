"""A network out of a SPI flash: frames played to the accelerator, then the line is heard."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from pyhw.hdl.boards.flash_loader import FlashLoader
from pyhw.hdl.frames import FLASH_ADDRESS, State
from pyhw.hdl.isa import Space
from pyhw.hdl.top.accelerator import Accelerator
from pyhw.host import Protocol, drive_async
from pyhw.host.frames import encode
from tests.hdl.top.test_accelerator import (
    CONFIG,
    COPY,
    IN,
    LAST,
    OUT,
    TILE,
    TILES,
    Host,
    expected,
    program,
)
from tests.support.helpers import simulate, take
from tests.support.spi_flash import SpiFlash


class Loaded(wiring.Component):
    """An accelerator behind a loader, with the ports of an accelerator."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self):
        self.loader = FlashLoader()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = self.loader
        m.submodules.accelerator = accelerator = Accelerator(CONFIG)
        connect(m, line=flipped(self.rx), loader=loader.i)
        connect(m, loader=loader.o, accelerator=accelerator.rx)
        connect(m, accelerator=accelerator.tx, loader=loader.i_reply)
        connect(m, loader=loader.o_reply, line=flipped(self.tx))
        m.d.comb += [loader.i_last.eq(accelerator.o_tx_last),
                     loader.i_program.eq(accelerator.o_program)]
        return m


def frames():
    requests = Protocol(CONFIG).load_requests(program(CONFIG))
    return b"".join(encode(k & 255, one.command.value, one.payload)
                    for k, one in enumerate(requests))


def run(contents, test):
    """Power a board with a flash and run ``await test(do, flash, received)`` as its host."""
    dut, received, flash = Loaded(), bytearray(), SpiFlash(contents)
    pins = dut.loader

    async def testbench(ctx):
        protocol, host = Protocol(CONFIG, timeout_s=4e-3), Host(ctx, dut, received)

        async def do(name, *arguments, **options):
            if name == "sleep":
                return await ctx.tick().repeat(*arguments)
            return await drive_async(getattr(protocol, name)(*arguments, **options), host)

        await test(do, flash, received)

    async def sink(ctx):
        await take(ctx, dut.tx, received.append)

    async def memory(ctx):
        await flash.testbench(ctx, pins.o_select, pins.o_clock, pins.o_data, pins.i_data)

    simulate(dut, testbench, background=[sink, memory])


def test_a_network_is_loaded_without_a_host_and_computes():
    images = [random.Random(seed).randbytes(TILES * TILE) for seed in range(2)]
    image = frames()

    async def test(do, flash, received):
        await do("sleep", 17 * len(image) + 2000)
        assert received == b""  # the replies of the load are dropped
        assert flash.commands == [0xab, 0x03]  # and the flash is left alone
        assert 8 * len(image) <= flash.read <= 8 * len(image) + 16
        assert await do("status") == (State.IDLE, 0)
        for group, raw in enumerate(images):
            await do("write", group, IN, raw)
        await do("run")
        assert await do("wait", 1.0) == 2 * TILES + 1
        for group, raw in enumerate(images):
            for base, want in expected(raw).items():
                assert await do("read", Space.SCRATCH, group << 24 | base, len(want)) == want

    run({FLASH_ADDRESS: image, 0: b"the bitstream"}, test)
    assert {COPY, OUT, LAST} == set(expected(images[0]))


@pytest.mark.parametrize("contents", [{}, {FLASH_ADDRESS: bytes(64)}], ids=["erased", "zeros"])
def test_a_flash_without_frames_is_left_at_its_first_byte(contents):
    async def test(do, flash, received):
        await do("sleep", 400)
        assert flash.commands == [0xab, 0x03]
        assert flash.read <= 9
        assert await do("status") == (State.NO_PROGRAM, 0)

    run(contents, test)


def test_a_host_is_heard_whatever_the_flash_holds():
    image = bytearray(frames())
    image[40] ^= 1  # the load never ends well

    async def test(do, flash, received):
        await do("sleep", 17 * len(image) + 2000)
        assert await do("status") == (State.NO_PROGRAM, 0)
        await do("load_program", program(CONFIG))
        assert await do("status") == (State.IDLE, 0)

    run({FLASH_ADDRESS: bytes(image)}, test)

"""A command port in Amaranth's simulator, with a host at its bytes and a device behind it."""

import random

from amaranth.hdl import Cat, ResetInserter, Signal
from amaranth.lib import data
from amaranth.sim import Simulator

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.contents import NOTHING
from pyhw.hdl.frames import Status
from pyhw.hdl.isa import Space, space_bytes
from pyhw.hdl.port.bus import ImageStart, MemoryRead, MemoryWrite, RunRequest
from pyhw.hdl.port.command_port import CommandPort
from pyhw.host import Decoder, Protocol, drive_async, encode
from pyhw.host.frames import pack
from tests.support.helpers import feed, take

CONFIG = Config.of(
    groups=2, l1=EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16),
    shift=EngineConfig(rows=1, lanes=1, code_width=4, acc_width=16), prototypes=16, max_payload=64,
    frame_timeout=60, load_bits=32, scratch_bytes=256, weight_words=64, param_records=8,
    program_words=64, tables=1, index_entries=16)
CYCLES_PER_SECOND = 300
"""Time scale of `Receive.timeout_s`: longer than the frame timeout."""


class Host:
    """Bytes into and out of the port; a transport for `drive_async`."""

    def __init__(self, ctx, dut, received, *, gap, device, reset):
        self.ctx, self.dut, self.device, self._reset = ctx, dut, device, reset
        self.protocol = Protocol(CONFIG)
        self._received, self._gap = received, gap
        self._decoder = Decoder()
        self._frames = []
        self.cut = []
        """For tests of retries: functions applied to what is sent next."""
        self.deaf = 0.0
        """Probability that received bytes are lost."""
        self._random = random.Random(9)

    async def send(self, data):
        if self.cut:
            data = self.cut.pop(0)(data)
        await feed(self.ctx, self.dut.i, data, gap=self._gap)

    async def receive(self, timeout_s):
        for _ in range(int(timeout_s * CYCLES_PER_SECOND)):
            if self._received:
                break
            await self.ctx.tick()
        data = bytes(self._received)
        self._received.clear()
        return data if self._random.random() >= self.deaf else b""

    async def do(self, operation):
        """Run an operation of the host's protocol."""
        return await drive_async(operation, self)

    async def reply(self, cycles=2000):
        """Wait for the next reply frame; None if there is none in time."""
        for _ in range(cycles):
            self._frames += self._decoder.feed(bytes(self._received))
            self._received.clear()
            if self._frames:
                return self._frames.pop(0)
            await self.ctx.tick()
        return None

    async def ask(self, raw):
        """Send a frame's bytes; return the status and the data of the reply."""
        await feed(self.ctx, self.dut.i, raw, gap=self._gap)
        frame = await self.reply()
        return Status(frame.payload[0]), frame.payload[1:]

    async def command(self, command, data=b"", *, sequence=None, **arguments):
        """Send one command; return the reply's status and data."""
        self.protocol._sequence = (self.protocol._sequence + 1) & 0xFF
        sequence = self.protocol._sequence if sequence is None else sequence
        return await self.ask(encode(sequence, command.value, pack(command, data, **arguments)))

    async def reset(self):
        """Reset the port."""
        self.ctx.set(self._reset, 1)
        await self.ctx.tick().repeat(3)
        self.ctx.set(self._reset, 0)

    async def load(self, words=b"\1\2\3\4"):
        """Load a small program."""
        class Program:
            config_hash = CONFIG.hash
            sections = [(Space.PROGRAM, 0, words)]
        await self.do(self.protocol.load_program(Program))


class Device:
    """What the port is connected to: memories, unfold unit, sequencer."""

    def __init__(self, *, stall=0.0, run_cycles=400):
        self.memory = {space: {} for space in Space}
        self.writes = []
        self.images = []
        self.runs = []
        self.resets = 0
        self.run_cycles = run_cycles
        self.layers_done = 0x1234
        self.cycles = 0
        self._stall = stall

    async def __call__(self, ctx, dut):
        generator = random.Random(8)
        running, answer, busy = 0, None, 0
        # Plain values, converted to records only when there is one: half the time of a cycle.
        flags = Cat(dut.o_write.valid & dut.o_write.ready, dut.o_read.valid & dut.o_read.ready,
                    dut.i_read.valid, dut.o_image.valid & dut.o_image.ready,
                    dut.o_image_start.strobe, dut.o_run.strobe, dut.o_reset)
        records = Cat(dut.o_write.payload, dut.o_read.payload, dut.o_image_start, dut.o_run)
        shape = data.StructLayout({"write": MemoryWrite, "read": MemoryRead, "start": ImageStart,
                                   "run": RunRequest})
        driven = {}

        def drive(signal, value):
            if driven.get(id(signal)) != value:
                driven[id(signal)] = value
                ctx.set(signal, value)

        ports = (dut.i_running, dut.i_image_busy, dut.o_image.ready, dut.o_write.ready,
                 dut.o_read.ready, dut.i_read.valid, dut.i_read.payload)
        drive(dut.i_layers_done, self.layers_done)
        while True:
            _, _, events, values, image = await ctx.tick().sample(
                flags, records, dut.o_image.payload)
            self.cycles += 1
            wrote, read, answered, imaged, started, ran, reset = (
                events >> k & 1 for k in range(7))
            if events:
                values = shape.from_bits(values)
            if wrote:
                space, address = Space(values.write.space), values.write.address
                self.writes.append((space, address, values.write.lane, values.write.data))
                at = address * space_bytes(CONFIG, space) + values.write.lane
                self.memory[space][at] = values.write.data
            if answered:
                assert answer is not None
                answer = None
            if read:
                assert answer is None
                answer = (generator.randint(0, 3), self.memory[Space(values.read.space)].get(
                    values.read.address, 0))
            if imaged:
                assert values.start.group == self.images[-1][0]
                self.images[-1][2].append(image)
                busy = generator.randint(0, 4)
            if started:
                self.images.append((values.start.group, values.start.base, bytearray()))
                busy = generator.randint(0, 9)
            if ran:
                assert not running
                self.runs.append((values.run.resume, values.run.layers, values.run.count))
                running = self.run_cycles
            if reset:
                self.resets += 1
                running = 0
            for port, value in zip(ports, (
                    running > 0, busy > 0, busy == 0 and generator.random() >= self._stall,
                    generator.random() >= self._stall, generator.random() >= self._stall,
                    answer is not None and answer[0] == 0, answer[1] if answer else 0)):
                drive(port, value)
            if answer is not None:
                answer = (max(answer[0] - 1, 0), answer[1])
            running, busy = max(running - 1, 0), max(busy - 1, 0)


def simulate(test, *, gap=0.0, stall=0.0, run_cycles=400, contents=NOTHING, config=CONFIG):
    """Run ``await test(host)`` against a fresh port; return the device."""
    dut, reset = CommandPort(config, contents), Signal()
    device = Device(stall=stall, run_cycles=run_cycles)
    received = bytearray()

    async def bench(ctx):
        await test(Host(ctx, dut, received, gap=gap, device=device, reset=reset))

    async def sink(ctx):
        await take(ctx, dut.o, received.append, stall=stall)

    async def behind(ctx):
        await device(ctx, dut)

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(sink, background=True)
    simulator.add_testbench(behind, background=True)
    simulator.run()
    return device

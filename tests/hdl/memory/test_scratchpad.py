"""Scratchpad: unaligned vectors and accesses against byte arrays."""

import random

import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from pyhw.hdl.common.rotate import replicate_rotated, rotate_down
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.memory.scratchpad import Scratchpad
from tests.support.netlist import assert_multiplier_free


def test_rotators_move_every_element_by_every_offset():
    class Dut(wiring.Component):
        offset: In(3)
        down: Out(40)
        few: Out(8)
        up: Out(64)

        def elaborate(self, platform):
            m = Module()
            eight = Signal(64, init=int.from_bytes(range(8), "little"))
            four = Signal(32, init=int.from_bytes(range(4), "little"))
            half = rotate_down(m, eight, self.offset, [2], 5 + 3, name="down")
            m.d.comb += [
                self.down.eq(rotate_down(m, half, self.offset, [1, 0], 5, name="down")),
                self.few.eq(rotate_down(m, eight, self.offset, [2, 1, 0], 1, name="few")),
                self.up.eq(replicate_rotated(m, four, self.offset, 2, name="up")),
            ]
            return m

    dut = Dut()

    async def testbench(ctx):
        for offset in range(8):
            ctx.set(dut.offset, offset)
            wanted = [(offset + k) % 8 for k in range(5)]
            assert list(ctx.get(dut.down).to_bytes(5, "little")) == wanted
            assert ctx.get(dut.few) == offset
            wanted = [(k - offset) % 4 for k in range(8)]
            assert list(ctx.get(dut.up).to_bytes(8, "little")) == wanted

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()


def config(lanes, post_width=1, **changes):
    engine = EngineConfig(rows=1, lanes=lanes, code_width=8, acc_width=16)
    return Config.of(l1=engine, pool_lanes=1, post_width=post_width, **changes)


def random_bytes(rng, count):
    return bytes(rng.randrange(256) for _ in range(count))


class Bench:
    """Drive both ports; port B through a model that knows every byte."""

    def __init__(self, config, seed=0):
        self.config = config
        self.dut = Scratchpad(config)
        self.rng = random.Random(seed)
        self.size = config.memory.scratch_bytes
        # Wide scratchpads simulate slowly: fewer cycles.
        self.cycles = min(200, max(50, 2400 // (config.banks * config.groups)))
        self.model = [bytearray(self.size) for _ in range(config.groups)]

    def run(self, testbench):
        sim = Simulator(self.dut)
        sim.add_clock(1e-6)
        sim.add_testbench(testbench)
        sim.run()

    def idle_b(self, ctx):
        ctx.set(self.dut.i_w_enable, 0)
        ctx.set(self.dut.i_r_enable, 0)

    def write(self, ctx, group, address, data):
        """Ask for a write in this cycle; bytes past the count are noise."""
        size = self.dut.write_bytes
        noise = random_bytes(self.rng, size - len(data))
        ctx.set(self.dut.i_w_group, group)
        ctx.set(self.dut.i_w_address, address)
        ctx.set(self.dut.i_w_enable, 1)
        ctx.set(self.dut.i_w_count, len(data))
        ctx.set(Value.cast(self.dut.i_w_data), int.from_bytes(data + noise, "little"))
        self.model[group][address:address + len(data)] = data

    def read(self, ctx, group, address, count):
        """Ask for bytes in this cycle, unless they meet a write; return whether they come."""
        ctx.set(self.dut.i_r_group, group)
        ctx.set(self.dut.i_r_address, address)
        ctx.set(self.dut.i_r_count, count)
        ctx.set(self.dut.i_r_enable, 1)
        return not ctx.get(self.dut.o_conflict)

    async def fill(self, ctx):
        size = self.dut.write_bytes
        for group in range(self.config.groups):
            for address in range(0, self.size, size):
                self.write(ctx, group, address,
                           random_bytes(self.rng, min(size, self.size - address)))
                await ctx.tick()
        self.idle_b(ctx)
        await ctx.tick().repeat(2)

    def vectors(self, ctx):
        return ctx.get(Value.cast(self.dut.o_a_data)).to_bytes(
            self.config.groups * self.config.read_lanes, "little")

    def expected(self, address):
        return b"".join(Scratchpad.compute(contents, address, self.config.read_lanes)
                        for contents in self.model)


SHAPES = [
    config(4, scratch_bytes=64),
    config(5, groups=2, scratch_bytes=8 * 11),
    config(8, scratch_bytes=128, residual_wide=False),
    config(16, post_width=2, groups=2, scratch_bytes=16 * 9),
    config(20, post_width=3, scratch_bytes=32 * 7),
    config(3, post_width=5, groups=3, scratch_bytes=16 * 5),
    config(64, scratch_bytes=64 * 3),
]
IDS = [f"banks{c.banks}_lanes{c.read_lanes}_post{c.post.width}_groups{c.groups}" for c in SHAPES]


@pytest.mark.parametrize(("shape", "distributed"), [
    *(pytest.param(c, True, id=f"{name}_two_ports") for c, name in zip(SHAPES, IDS)),
    *(pytest.param(c, False, id=f"{name}_shared_port") for c, name in zip(SHAPES[:4], IDS)),
])
def test_port_b_writes_and_reads_any_bytes_at_once_in_other_banks(shape, distributed):
    bench = Bench(shape.changed(distributed=distributed))
    dut, rng = bench.dut, bench.rng
    wanted, together = [], 0

    async def testbench(ctx):
        nonlocal together
        await bench.fill(ctx)
        for cycle in range(bench.cycles):
            due = [data for when, data in wanted if when == cycle]
            assert ctx.get(dut.o_r_valid) == bool(due)
            if due:
                got = ctx.get(Value.cast(dut.o_r_data)).to_bytes(dut.read_bytes, "little")
                assert got[:len(due[0])] == due[0]
            bench.idle_b(ctx)
            written = set()
            if rng.random() < 0.6:
                count = rng.randint(1, dut.write_bytes)
                start = rng.randint(0, bench.size - count)
                before = [bytes(contents) for contents in bench.model]
                bench.write(ctx, rng.randrange(shape.groups), start, random_bytes(rng, count))
                written = {byte % shape.banks for byte in range(start, start + count)}
            else:
                before = [bytes(contents) for contents in bench.model]
            if rng.random() < 0.7:
                group, count = rng.randrange(shape.groups), rng.randint(1, dut.read_bytes)
                address = rng.randint(0, bench.size - dut.read_bytes)
                used = {byte % shape.banks for byte in range(address, address + count)}
                comes = bench.read(ctx, group, address, count)
                assert comes == (not distributed or not used & written)
                together += comes and bool(written)
                # In one cycle with a write of the same byte, what is read has no meaning.
                same = {bench.model[group][k] != before[group][k]
                        for k in range(address, address + count)}
                if comes and True not in same:
                    wanted.append((cycle + dut.b_latency, Scratchpad.compute(
                        before[group], address, count)))
                elif comes:
                    ctx.set(dut.i_r_enable, 0)
            await ctx.tick()

    bench.run(testbench)
    assert len(wanted) > bench.cycles // 5
    assert together > 0 or shape.banks < 8


@pytest.mark.parametrize(("shape", "distributed"), [
    *(pytest.param(c, True, id=f"{name}_two_ports") for c, name in zip(SHAPES, IDS)),
    *(pytest.param(c, False, id=f"{name}_shared_port") for c, name in zip(SHAPES[:4], IDS)),
    pytest.param(SHAPES[2].changed(spread=True), True, id=f"{IDS[2]}_spread"),
])
def test_port_a_reads_every_address_and_moves_only_when_enabled(shape, distributed):
    bench = Bench(shape.changed(distributed=distributed))
    dut, rng = bench.dut, bench.rng
    addresses = list(range(bench.size - shape.read_lanes + 1))
    rng.shuffle(addresses)
    addresses = addresses[:bench.cycles // 2]
    reads = []

    async def testbench(ctx):
        await bench.fill(ctx)
        issued, cycle, stalls = 0, 0, 0
        while issued < len(addresses) + dut.a_latency:
            # Reads of port B run all the time; they must disturb nothing.
            if reads and reads[0][0] == cycle:
                got = ctx.get(Value.cast(dut.o_r_data)).to_bytes(dut.read_bytes, "little")
                assert got == reads.pop(0)[1]
            bench.idle_b(ctx)
            if rng.random() < 0.4:
                group = rng.randrange(shape.groups)
                address = rng.randint(0, bench.size - dut.read_bytes)
                assert bench.read(ctx, group, address, dut.read_bytes)
                reads.append((cycle + dut.b_latency, bytes(
                    bench.model[group][address:address + dut.read_bytes])))
            stall = ctx.get(dut.o_a_stall)
            stalls += stall
            enable = rng.random() < 0.7
            ctx.set(dut.i_a_address, rng.choice(addresses))
            if enable and not stall:
                ctx.set(dut.i_a_address, addresses[min(issued, len(addresses) - 1)])
            if issued >= dut.a_latency:
                assert bench.vectors(ctx) == bench.expected(addresses[issued - dut.a_latency])
            ctx.set(dut.i_a_enable, enable)
            issued += enable and not stall
            cycle += 1
            await ctx.tick()
        assert bool(stalls) != distributed

    bench.run(testbench)


@pytest.mark.parametrize(("distributed", "residual_terms", "overlap"), [
    (True, 3, True), (False, 3, True), (True, 0, True), (False, 0, True), (False, 0, False)])
def test_the_host_gets_port_b_when_nobody_else_asks(distributed, residual_terms, overlap):
    shape = config(8, post_width=2, groups=2, scratch_bytes=128, distributed=distributed,
                   residual_terms=residual_terms, overlap=overlap)
    bench = Bench(shape)
    dut, rng, expected, accesses = bench.dut, bench.rng, [], 0

    async def testbench(ctx):
        nonlocal accesses
        await bench.fill(ctx)
        for _ in range(300):
            bench.idle_b(ctx)
            writes, reads = rng.random() < 0.4, residual_terms and rng.random() < 0.3
            if writes:
                bench.write(ctx, rng.randrange(2), rng.randrange(100), b"ab")
            if reads:
                bench.read(ctx, rng.randrange(2), rng.randrange(100), 2)
            write, group, address, byte = (rng.randrange(size) for size in (2, 2, 128, 256))
            ctx.set(dut.i_host.payload, {"write": write, "group": group, "address": address,
                                         "data": byte})
            ctx.set(dut.i_host.valid, rng.random() < 0.8)
            assert ctx.get(dut.i_host.ready) == (not writes and not reads)
            if ctx.get(dut.i_host.valid & dut.i_host.ready):
                accesses += 1
                if write:
                    bench.model[group][address] = byte
                else:
                    expected.append(bench.model[group][address])
            if ctx.get(dut.o_host_valid):
                assert ctx.get(dut.o_r_data[0]) == expected.pop(0)
            await ctx.tick()

    bench.run(testbench)
    assert accesses > 50
    assert len(expected) <= dut.b_latency


def test_bytes_outside_the_map_do_no_harm():
    shape = config(8, scratch_bytes=8 * 9, groups=2)
    bench = Bench(shape)
    dut = bench.dut

    async def testbench(ctx):
        await bench.fill(ctx)
        before = [bytes(contents) for contents in bench.model]
        for address in (72, 80, 100, 124):
            bench.write(ctx, 0, address, b"\xaa" * 4)
            await ctx.tick()
        bench.model = [bytearray(contents) for contents in before]
        bench.idle_b(ctx)
        ctx.set(dut.i_a_enable, 1)
        for address in [70, 127, (1 << 24) - 1, *range(0, 65, 5)]:
            ctx.set(dut.i_a_address, address)
            await ctx.tick().repeat(dut.a_latency)
            if address <= 64:
                assert bench.vectors(ctx) == bench.expected(address)

    bench.run(testbench)


def test_a_write_touches_one_group_and_count_bytes():
    bench = Bench(config(8, scratch_bytes=64, groups=2))
    dut = bench.dut

    async def testbench(ctx):
        await bench.fill(ctx)
        bench.write(ctx, 1, 13, b"\x55\x66")
        await ctx.tick()
        bench.idle_b(ctx)
        ctx.set(dut.i_a_enable, 1)
        ctx.set(dut.i_a_address, 10)
        await ctx.tick().repeat(dut.a_latency)
        assert bench.vectors(ctx) == bench.expected(10)

    bench.run(testbench)


@pytest.mark.parametrize("distributed", [True, False])
def test_scratchpad_is_multiplier_free(distributed):
    assert_multiplier_free(Scratchpad(config(8, scratch_bytes=64, distributed=distributed)))

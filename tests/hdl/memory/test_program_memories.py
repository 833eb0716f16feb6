"""Program memories: bytes that make words, words read, with one port for weights or two."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from pyhw.hdl.contents import Contents
from pyhw.hdl.isa import Space, param_layout, space_bytes, space_depth
from pyhw.hdl.memory.program_memories import ProgramMemories
from pyhw.hdl.presets import PRESETS
from tests.support.netlist import assert_multiplier_free

CONFIG = PRESETS["tiny"].changed(load_bits=32, weight_words=48)


@pytest.mark.parametrize("single_port", [False, True])
def test_weights_come_by_bytes_and_are_read_by_words(single_port):
    dut = ProgramMemories(CONFIG.changed(single_port=single_port))
    rng, held = random.Random(3), {}

    async def bench(ctx):
        async def write(address, lane, data, space=Space.WEIGHTS):
            ctx.set(dut.i_write, {"space": space, "address": address, "lane": lane, "data": data})
            ctx.set(dut.i_write_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_write_valid, 0)

        async def read(address):
            ctx.set(dut.i_weights_address, address)
            ctx.set(dut.i_weights_enable, 1)
            await ctx.tick()
            ctx.set(dut.i_weights_enable, 0)
            return ctx.get(dut.o_weights_data)

        async def put(address):
            held[address] = rng.randbytes(4)
            for lane, byte in enumerate(held[address]):
                await write(address, lane, byte)
            await ctx.tick()

        for address in range(CONFIG.weights.words):
            await put(address)
        for _ in range(200):
            address = rng.randrange(CONFIG.weights.words)
            if rng.random() < 0.3:
                await put(address)
            else:
                assert await read(address) == int.from_bytes(held[address], "little")
        for address, word in held.items():
            assert await read(address) == int.from_bytes(word, "little")
        # A word stays until the next read, whatever is written elsewhere.
        last = int.from_bytes(held[CONFIG.weights.words - 1], "little")
        await write(1, 0, 5, Space.PROGRAM)
        ctx.set(dut.i_weights_address, 3)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_weights_data) == last

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("changes", [
    {}, {"exponent": 7}, {"exponent": 7, "terms": 1, "sum_bits": 21},
    {"terms": 1, "sum_bits": 16, "exponent": 1}, {"second_step": True, "residual_terms": 3},
], ids=str)
def test_instructions_and_records_share_a_memory(changes):
    plain = {"overlap": False, "residual_terms": 0, "second_step": False, "terms": 2,
             "param_records": 9, "program_words": 64}
    config = CONFIG.changed(**plain | changes)
    rng, contents = random.Random(4), {}
    widths = {"program": 32, "records": param_layout(config).width}
    for name, space in (("program", Space.PROGRAM), ("records", Space.PARAMS)):
        size, width = space_bytes(config, space), widths[name]
        words = [rng.getrandbits(width) for _ in range(space_depth(config, space))]
        contents[name] = (space, size, words)
    held = Contents(sections=tuple(
        (space, 0, b"".join(word.to_bytes(size, "little") for word in words))
        for space, size, words in contents.values()))
    dut, loaded = ProgramMemories(config), ProgramMemories(config, held)

    async def bench(ctx):
        order = [(space, address, word.to_bytes(size, "little"))
                 for space, size, words in contents.values()
                 for address, word in enumerate(words)]
        rng.shuffle(order)
        for space, address, raw in order:
            for lane, byte in enumerate(raw):
                ctx.set(dut.i_write, {"space": space, "address": address, "lane": lane,
                                      "data": byte})
                ctx.set(dut.i_write_valid, 1)
                await ctx.tick()
        ctx.set(dut.i_write_valid, 0)
        for name, (_, _, words) in contents.items():
            for address, word in enumerate(words):
                for unit in (dut, loaded):
                    ctx.set(getattr(unit, f"i_{name}_address"), address)
                    ctx.set(getattr(unit, f"i_{name}_enable"), 1)
                await ctx.tick()
                for unit in (dut, loaded):
                    ctx.set(getattr(unit, f"i_{name}_enable"), 0)
                    assert ctx.get(getattr(unit, f"o_{name}_data")) == word

    both = Module()
    both.submodules += [dut, loaded]
    simulator = Simulator(both)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_one_port_is_multiplier_free():
    assert_multiplier_free(ProgramMemories(CONFIG.changed(single_port=True)))

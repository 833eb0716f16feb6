"""Window masks and operand conversion against `Window.compute`."""

import random

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.window import Window
from tests.support.netlist import assert_multiplier_free


def config(lanes, groups):
    return Config.of(l1=EngineConfig(rows=1, lanes=lanes, code_width=8, acc_width=16),
                     shift=EngineConfig(rows=1, lanes=1, code_width=3, acc_width=16),
                     pool_lanes=1, groups=groups)


def operands(ctx, dut, lanes, groups):
    word = ctx.get(Value.cast(dut.o_x))
    flat = [word >> 9 * k & 511 for k in range(lanes * groups)]
    return [flat[g * lanes:(g + 1) * lanes] for g in range(groups)]


def run(lanes, groups, drive):
    dut = Window(config(lanes, groups))
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def testbench(ctx):
        await drive(ctx, dut)

    sim.add_testbench(testbench)
    sim.run()


def set_layer(ctx, dut, engine, x_signed, x_shift):
    number = config(1, 1).number(engine)
    ctx.set(dut.i_terms, {"engine": number, "x_signed": x_signed, "x_shift": x_shift})


def set_inputs(ctx, dut, raw, pad, masks):
    ctx.set(Value.cast(dut.i_raw), int.from_bytes(b"".join(raw), "little"))
    ctx.set(Value.cast(dut.i_pad), int.from_bytes(pad, "little"))
    for port, value in zip((dut.i_border_left, dut.i_border_from, dut.i_run_left), masks):
        ctx.set(port, value)


@pytest.mark.parametrize(("lanes", "groups"), [(1, 1), (4, 3), (7, 2), (16, 1), (33, 1)])
def test_window_equals_compute(lanes, groups):
    rng = random.Random(lanes)

    async def drive(ctx, dut):
        for _ in range(2000 // (lanes * groups + 20)):
            engine = rng.choice(["l1", "shift", "pool"])
            x_signed, x_shift = rng.randrange(2), rng.choice((0, 0, 1, rng.randrange(8)))
            masks = [rng.choice((0, lanes, rng.randint(0, lanes))) for _ in range(3)]
            raw = [bytes(rng.randrange(256) for _ in range(lanes)) for _ in range(groups)]
            pad = bytes(rng.randrange(256) for _ in range(lanes))
            set_layer(ctx, dut, engine, x_signed, x_shift)
            set_inputs(ctx, dut, raw, pad, masks)
            await ctx.tick()
            assert operands(ctx, dut, lanes, groups) == [
                Window.compute(vector, pad, *masks, engine == "l1", x_signed, x_shift)
                for vector in raw]

    run(lanes, groups, drive)


@pytest.mark.parametrize("x_signed", [0, 1])
@pytest.mark.parametrize("engine", ["l1", "shift", "pool"])
def test_every_byte_is_converted_by_every_shift(engine, x_signed):
    async def drive(ctx, dut):
        for x_shift in range(8):
            set_layer(ctx, dut, engine, x_signed, x_shift)
            for first in range(0, 256, 16):
                raw = bytes(range(first, first + 16))
                set_inputs(ctx, dut, [raw], bytes(16), (0, 16, 16))
                await ctx.tick()
                for byte, got in zip(raw, operands(ctx, dut, 16, 1)[0]):
                    value = byte - 256 if x_signed and byte > 127 else byte
                    shifted = value << x_shift
                    if engine != "l1":
                        assert got == shifted & 511
                    elif -128 <= shifted <= 127 and x_signed:
                        assert got == shifted + 128
                    elif not x_signed and shifted < 256:
                        assert got == shifted

    run(16, 1, drive)


def test_lanes_past_the_run_are_neutral_even_in_the_border():
    async def drive(ctx, dut):
        set_inputs(ctx, dut, [b"\x07" * 4], b"\x09" * 4, (4, 4, 2))
        for engine, x_signed, rest in (("l1", 1, 128), ("l1", 0, 0),
                                       ("shift", 1, 0), ("pool", 0, 0)):
            set_layer(ctx, dut, engine, x_signed, 0)
            await ctx.tick()
            inside = 9 + 128 * (engine == "l1" and x_signed)
            assert operands(ctx, dut, 4, 1) == [[inside, inside, rest, rest]]

    run(4, 1, drive)


def test_window_is_multiplier_free():
    assert_multiplier_free(Window(config(8, 2)))

"""Positions and bursts, as the host's loop nest counts them."""

import random

import pytest
from amaranth.hdl import Module

from pyhw.compiler.loop_nest import LoopNest
from pyhw.compiler.maps import Strides
from pyhw.hdl.control.bursts import Bursts
from pyhw.hdl.control.positions import Positions
from tests.support.helpers import simulate

WIDTH = 20


def nest_of(columns, rows, slots, burst, *, warmup=0, steps=2, blocks=2):
    return LoopNest(columns=columns, rows=rows, slots=slots, burst=burst, warmup=warmup,
                    steps=steps, blocks=blocks, block_channels=1, channels=blocks)


def wrapped(value):
    """Return a sum of a track, modulo its width, as two's complement."""
    return (value + (1 << (WIDTH - 1))) % (1 << WIDTH) - (1 << (WIDTH - 1))


@pytest.mark.parametrize("nest", [
    nest_of(1, 1, 1, 1), nest_of(5, 1, 1, 2), nest_of(1, 4, 2, 3), nest_of(5, 3, 2, 7),
    nest_of(5, 3, 2, 30, steps=3), nest_of(4, 3, 3, 4, warmup=2), nest_of(3, 2, 2, 12, warmup=1),
    nest_of(6, 2, 3, 6, warmup=7, blocks=3),
], ids=lambda nest: f"{nest.columns}x{nest.rows}x{nest.slots}-{nest.burst}-{nest.warmup}")
def test_positions_and_bursts_go_through_a_layer_as_the_loop_nest_counts(nest):
    rng = random.Random(nest.burst)
    width = nest.columns + nest.warmup
    plain = [rng.randrange(-5_000, 5_000) for _ in range(3)]
    strides = [Strides.over(width, nest.rows, *plain), Strides.over(width, nest.rows, 1, 0, 0)]
    bases = [rng.randrange(-40_000, 40_000), 0]
    m = Module()
    m.submodules.positions = positions = Positions([WIDTH, WIDTH], 6)
    m.submodules.bursts = bursts = Bursts(8, 32)

    async def testbench(ctx):
        ctx.set(positions.i_n_x, width)
        ctx.set(positions.i_n_y, nest.rows)
        for track, (base, steps) in enumerate(zip(bases, strides, strict=True)):
            for name, value in (("base", base), ("x", steps.x), ("y", steps.y),
                                ("slot", steps.slot)):
                ctx.set(getattr(positions, f"i_{name}{track}"), value)
        ctx.set(bursts.i_total, nest.positions)
        ctx.set(bursts.i_burst, nest.burst)
        for part in (positions, bursts):
            ctx.set(part.i_start, 1)
        await ctx.tick()
        for part in (positions, bursts):
            ctx.set(part.i_start, 0)
        vectors = 0
        for _ in range(nest.blocks):
            first = 0
            for count, length in enumerate(nest.burst_positions(), 1):
                assert ctx.get(bursts.o_last) == (count == nest.bursts)
                assert ctx.get(bursts.o_final) == length - 1
                for step in range(nest.steps):
                    last_step = step == nest.steps - 1
                    position = 0
                    for number in range(first, first + nest.burst_vectors(length)):
                        column = number % width
                        warms = column < nest.warmup
                        end = not warms and position == length - 1
                        while rng.random() < 0.1:
                            await ctx.tick()
                        assert [ctx.get(getattr(positions, f"o_value{track}"))
                                for track in range(2)] == [
                            wrapped(base + nest.offset(steps, number, warmup=True))
                            for base, steps in zip(bases, strides, strict=True)]
                        assert ctx.get(positions.o_x) == column + 1
                        assert ctx.get(bursts.o_position) == position
                        assert ctx.get(bursts.o_position_last) == (position == length - 1)
                        block_end = end and last_step and count == nest.bursts
                        for port, value in (
                                (positions.i_step, 1), (positions.i_rewind, end and not last_step),
                                (positions.i_commit, end and last_step),
                                (positions.i_restart, block_end), (bursts.i_step, not warms),
                                (bursts.i_next, end and last_step)):
                            ctx.set(port, value)
                        await ctx.tick()
                        for port in (positions.i_step, bursts.i_step, bursts.i_next):
                            ctx.set(port, 0)
                        position += not warms
                        vectors += 1
                first += nest.burst_vectors(length)
        assert vectors == nest.vectors

    simulate(m, testbench)

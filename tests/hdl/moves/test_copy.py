"""Copy: every byte in its place, under random stalls, in the cycles that the model says."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.moves.copy import Copy
from pyhw.hdl.records import Instruction
from pyhw.hdl.timing import Timing, copy_bytes, copy_pieces
from tests.support.helpers import simulate
from tests.support.records import flat, run_value

LATENCY = 5


def make_config(groups=1, lanes=8, post_width=1, index_entries=0):
    return Config.of(
        groups=groups, l1=EngineConfig(rows=1, lanes=lanes, code_width=8, acc_width=16),
        post_width=post_width, scratch_bytes=1024, index_entries=index_entries, copy=True)


def make_layer(rows, n_x=3, n_y=2, **changes):
    """Return a copy of maps with `rows` bytes a position, into a map of two more."""
    wide, pixels = rows + 2, n_x * n_y
    return Instruction.of(**{
        "n_x": n_x, "n_y": n_y, "n_xy": pixels, "rows": rows, "in_base": 16,
        "in_x": rows, "in_y": rows, "in_slot": rows, "out_base": 512, "out_x": wide,
        "out_y": wide, "out_slot": wide + 4} | changes)


def run_copy(config, layer, slots, stall=0.0, wait=3, index=()):
    """Run a copy on random memories; return those after it, and the cycles from start to end."""
    rng = random.Random(7)
    dut = Copy(config, LATENCY)
    memory = [bytearray(rng.randbytes(1100)) for _ in range(config.groups)]
    wanted = [bytearray(group) for group in memory]
    for group in wanted:
        Copy.compute(group, layer, slots, index)
    cycles = []

    async def testbench(ctx):
        total = layer.nest.n_xy * slots
        ctx.set(dut.i_source, run_value(dut.i_source, flat(layer), total, start=1))
        ctx.set(dut.i_target, run_value(dut.i_target, flat(layer), total))
        await ctx.tick()
        ctx.set(dut.i_source.start, 0)
        for _ in range(wait):
            assert ctx.get(dut.o_reading)
            assert ctx.get(dut.o_wait)
            assert not ctx.get(dut.o_busy)
            await ctx.tick()
        ctx.set(dut.i_target.start, 1)
        way, read, cycle, issued = [None] * LATENCY, 0, 0, 0
        while True:
            advance = rng.random() >= stall
            ctx.set(dut.i_advance, advance)
            for group, part in enumerate(memory):
                place = way[-1]
                ctx.set(dut.i_data[group], list(
                    part[place:place + config.read_lanes]) if place is not None
                    else [0] * config.read_lanes)
            issued += ctx.get(dut.o_issue)
            assert not (ctx.get(dut.o_issue) and not advance)
            if ctx.get(dut.o_write):
                assert ctx.get(dut.o_busy)
                here, count = ctx.get(dut.o_target), ctx.get(dut.o_count)
                data = ctx.get(dut.o_data).to_bytes(dut.width, "little")
                memory[ctx.get(dut.o_group)][here:here + count] = data[:count]
                cycles.append(cycle)
            if advance:
                way = [ctx.get(dut.o_address), *way[:-1]]
                read = ctx.get(dut.o_index_address)
            await ctx.tick()
            if advance and index:
                ctx.set(dut.i_index_data, int(index[read]) if read < len(index) else 0)
            ctx.set(dut.i_target.start, 0)
            cycle += 1
            if not ctx.get(dut.o_busy):
                break
        assert not ctx.get(dut.o_reading)
        assert issued == copy_pieces(config, layer, slots) == len(cycles)

    simulate(dut, testbench)
    assert memory == wanted
    return cycles


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("rows", [1, 4, 7, 9])
@pytest.mark.parametrize(("groups", "lanes", "post_width"), [(1, 8, 1), (3, 8, 6), (2, 4, 1)])
def test_bytes_of_every_position_are_copied(groups, lanes, post_width, rows, stall):
    run_copy(make_config(groups, lanes, post_width), make_layer(rows), 2, stall)


def test_lanes_below_four_are_the_bytes_of_a_piece():
    config = make_config(lanes=2).changed(pool_lanes=2)
    assert copy_bytes(config) == 2
    run_copy(config, make_layer(5), 1, 0.3)


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_an_index_list_says_where_positions_are_read(stall):
    layer = make_layer(5, in_x=0, in_y=0, in_slot=40, index_mode=1, index_base=3)
    index = [999, 999, 999, *(5 * k for k in (4, 0, 5, 1, 1, 3))]
    run_copy(make_config(2, index_entries=16), layer, 2, stall, index=index)


def test_a_piece_a_cycle_is_written_after_a_fixed_time():
    config, layer = make_config(2), make_layer(9)
    cycles = run_copy(config, layer, 2)
    # The start strobe is cycle 0; the first bytes are asked for in cycle 1.
    first = 1 + Timing(config).copy_to_write - Timing(config).scratchpad_latency + LATENCY
    assert cycles == list(range(first, first + copy_pieces(config, layer, 2)))

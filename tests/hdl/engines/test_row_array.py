# amaranth: UnusedElaboratable=no
"""Rows behind shadow registers, with an engine of the test's own; layouts of what comes to them."""

import random

import pytest
from amaranth.hdl import Shape, Signal, unsigned

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.base import BaseEngine, checked_config
from pyhw.hdl.engines.row_array import RowArray
from pyhw.hdl.engines.rows import Row, SumRow
from pyhw.hdl.engines.token import Load, ResultRequest, Token, position_shape
from tests.support.helpers import simulate

ROWS, LANES, WIDTH = 3, 5, 6
CONFIG = Config.of(groups=2, l1=EngineConfig(rows=ROWS, lanes=LANES, code_width=WIDTH,
                                             acc_width=16), pool_lanes=1, load_bits=16)


class XorRow(Row):
    """Add up ``x xor code``."""

    def __init__(self):
        super().__init__(LANES, 8, WIDTH, 8, 1)

    def _term(self, m, x, code, name):
        term = Signal(8, name=f"term{name}")
        m.d.sync += term.eq(x ^ code)
        return term


class XorArray(RowArray):
    """Rows of it, and one that adds up the vectors; codes are inverted on their way in."""

    name, x_width = "l1", 8

    def __init__(self, config):
        super().__init__(config, term=unsigned(8))

    def _converter(self, m):
        return lambda code: ~code

    def _row(self, index, tap):
        return XorRow() if index < self.rows else SumRow(LANES)


def test_rows_see_every_vector_with_the_codes_of_their_swap():
    dut, rng = XorArray(CONFIG), random.Random(4)
    per_word = 16 // WIDTH
    steps = [[[rng.randrange(1 << WIDTH) for _ in range(LANES)] for _ in range(ROWS)]
             for _ in range(3)]

    async def testbench(ctx):
        cycle, due = 0, {}

        async def tick():
            nonlocal cycle
            if cycle in due:
                assert [[ctx.get(dut.o_sums[group][row]) for row in range(ROWS + 1)]
                        for group in range(2)] == due[cycle]
            cycle += 1
            await ctx.tick()

        for codes in steps:
            flat = [code for row in codes for code in row]
            for index in range(-(-len(flat) // per_word)):
                word = sum(code << k * WIDTH for k, code in enumerate(
                    flat[index * per_word:(index + 1) * per_word]))
                ctx.set(dut.i_load, {"valid": 1, "index": index, "word": word})
                await tick()
            ctx.set(dut.i_load, {"valid": 0})
            await tick()
            ctx.set(dut.i_swap, 1)
            await tick()
            ctx.set(dut.i_swap, 0)
            for _ in range(6):
                vectors = [[rng.randrange(512) for _ in range(LANES)] for _ in range(2)]
                ctx.set(dut.i_x, vectors)
                due[cycle + dut.latency] = [
                    [sum(x & 255 ^ ~code & (1 << WIDTH) - 1
                         for x, code in zip(vector, row, strict=True)) for row in codes]
                    + [sum(x & 255 for x in vector)] for vector in vectors]
                await tick()
        for _ in range(dut.latency + 1):
            await tick()
        ctx.set(dut.i_on, 0)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.o_sums.as_value()) == 0

    simulate(dut, testbench)


def test_what_an_engine_is_made_from_is_checked():
    with pytest.raises(TypeError, match="Engine must be made from a Config"):
        checked_config("tiny")
    with pytest.raises(ValueError, match="must be made from a Config with the engine 'l1'"):
        XorArray(Config.of(shift=EngineConfig(rows=1, lanes=1, code_width=4, acc_width=16)))
    assert issubclass(XorArray, BaseEngine)


@pytest.mark.parametrize(("depth", "bits"), [(1, 1), (2, 1), (3, 2), (16, 4), (17, 5), (512, 9)])
def test_positions_have_room_in_tokens_and_requests(depth, bits):
    assert position_shape(depth) == unsigned(bits)
    for layout in (Token(depth), ResultRequest(depth)):
        assert Shape.cast(layout["position"].shape) == unsigned(bits)
    assert Load(18)["word"].shape == unsigned(18)

"""Statistics of rows: every record as `pyhw.hdl.tokens` has it, under random stalls."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.formats import half
from pyhw.hdl.moves.row_records import ROW_CYCLES, Kind
from pyhw.hdl.moves.stats import Stats, square
from pyhw.hdl.tokens import TokenRecord, layer_record, max_record, sum_record
from tests.support.helpers import simulate
from tests.support.port_a import PortA

LATENCY = 4


def expected(kind, row, fraction, floor, terms):
    """Return what the definition has of a row."""
    if kind == Kind.MAX:
        return max_record(row, fraction)
    if kind == Kind.SUM:
        return sum_record(row, fraction, floor, terms)
    return layer_record(row, fraction, floor, terms, centred=kind == Kind.LAYER)


def run_stats(rows, heads, kind, *, lanes=4, fraction=6, floor=1, terms=3, signed=True, stall=0.0):
    """Return the records by number, and the cycles from start to end; `rows` are of heads."""
    config = Config.of(
        l1=EngineConfig(rows=1, lanes=lanes, code_width=8, acc_width=16),
        scratch_bytes=4096,
        terms=terms,
    )
    dut, rng = Stats(config, LATENCY, lanes), random.Random(4)
    count, tokens = len(rows[0]), len(rows) // heads
    pitch, memory = count * heads + 2, bytearray(rng.randbytes(4096))
    for number, row in enumerate(rows):
        low = 11 + number // heads * pitch + number % heads * count
        memory[low : low + count] = bytes(value & 255 for value in row)
    found, taken = {}, []

    async def testbench(ctx):
        ctx.set(dut.i_run, {
            "kind": kind, "in_base": 11, "in_row": pitch, "n_tokens": tokens, "n_heads": heads,
            "n_chunks": -(-count // lanes), "run_bytes": count, "signed": signed,
            "gain": count.bit_length() - 1, "fraction": fraction, "floor": floor, "base": 5,
            "start": 1})  # fmt: skip
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)
        port, cycle = PortA(memory, LATENCY, dut.lanes), 0
        while ctx.get(dut.o_busy):
            advance = rng.random() >= stall
            ctx.set(dut.i_advance, advance)
            port.show(ctx, dut.i_data)
            if ctx.get(dut.o_write):
                record = ctx.get(dut.o_record)
                m = sum(
                    (-1 if term["negative"] else 1) << term["exponent"]
                    for term in record["m"]
                    if term["there"]
                )
                number = ctx.get(dut.o_number)
                assert number not in found
                shift = record["shift"]
                found[number] = TokenRecord(m, record["bias"] - half(shift), shift)
            if advance:
                port.move(ctx.get(dut.o_address))
            await ctx.tick()
            cycle += 1
        assert not ctx.get(dut.o_reading)
        taken.append(cycle)

    simulate(dut, testbench)
    assert found == {
        5 + number: expected(kind, row, fraction, floor, terms) for number, row in enumerate(rows)
    }
    if not stall:
        period = max(-(-count // lanes), ROW_CYCLES)
        assert taken[0] == (len(rows) - 1) * period + -(-count // lanes) + dut.latency
    return found


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("kind", "signed"),
    [
        (Kind.LAYER, True),
        (Kind.LAYER, False),
        (Kind.L2, True),
        (Kind.MAX, True),
        (Kind.MAX, False),
        (Kind.SUM, False),
    ],
)
def test_records_of_random_rows(kind, signed, stall):
    rng = random.Random(kind.value)
    low, high = (-128, 127) if signed else (0, 255)
    rows = [
        [rng.randint(max(low, -span), min(high, span)) for _ in range(16)]
        for span in (255, 100, 20, 3, 1, 255)
    ]
    fraction = 3 if kind == Kind.MAX else 6
    run_stats(rows, 2, kind, fraction=fraction, signed=signed, stall=stall)


@pytest.mark.parametrize(
    "row", [[0] * 8, [7] * 8, [-128] * 8, [127] * 4 + [-128] * 4, [1] + [0] * 7]
)
@pytest.mark.parametrize("kind", [Kind.LAYER, Kind.L2])
def test_rows_of_equal_and_of_extreme_values(kind, row):
    run_stats([row], 1, kind, floor=1)
    run_stats([row], 1, kind, floor=640)


@pytest.mark.parametrize("terms", [1, 2, 4])
def test_other_numbers_of_terms(terms):
    rng = random.Random(terms)
    rows = [[rng.randint(-50, 90) for _ in range(32)] for _ in range(3)]
    run_stats(rows, 1, Kind.LAYER, terms=terms)
    run_stats([[value & 127 for value in row] for row in rows], 1, Kind.SUM, terms=terms,
              signed=False)  # fmt: skip


@pytest.mark.parametrize(("count", "lanes"), [(1, 4), (5, 4), (64, 2), (9, 8), (3, 1)])
def test_rows_of_any_length(count, lanes):
    rng = random.Random(count)
    rows = [[rng.randint(0, 255) for _ in range(count)] for _ in range(4)]
    run_stats(rows, 2, Kind.SUM, lanes=lanes, signed=False, fraction=8)
    run_stats(rows, 1, Kind.MAX, lanes=lanes, signed=False, fraction=4)


def test_a_square_is_exact():
    from amaranth.hdl import Module, Signal
    from amaranth.lib import wiring
    from amaranth.lib.wiring import In, Out

    class Squarer(wiring.Component):
        value: In(8)
        found: Out(16)

        def elaborate(self, platform):
            m = Module()
            late = Signal(16)
            m.d.sync += late.eq(square(self.value))
            m.d.comb += self.found.eq(late)
            return m

    dut = Squarer()

    async def testbench(ctx):
        for value in range(256):
            ctx.set(dut.value, value)
            await ctx.tick()
            assert ctx.get(dut.found) == value * value

    simulate(dut, testbench)

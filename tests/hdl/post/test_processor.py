"""Post-processing: term sums, scale steps, tables and their composition, against `compute`."""

import gc
import random
import warnings

import pytest
from amaranth.hdl import Cat, Module, UnusedElaboratable, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from pyhw.hdl.common.delay_line import DelayLine, Ring
from pyhw.hdl.common.thermometer import thermometer
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.formats import Format, terms_value
from pyhw.hdl.isa import param_layout
from pyhw.hdl.post.function_table import FunctionTable
from pyhw.hdl.post.processor import PostProcessor
from pyhw.hdl.post.scale_step import ScaleStep
from pyhw.hdl.post.term_sum import TermSum
from tests.support.helpers import check_delay
from tests.support.netlist import assert_multiplier_free
from tests.support.records import values_of


def simulate(dut, testbench, *, clocked=True):
    sim = Simulator(dut)
    if clocked:
        sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


def random_terms(rng, count):
    """Return the terms as (sign, exponent) pairs and as the hardware takes them."""
    pairs = [(rng.choice((-1, 0, 1, 1)), rng.choice((0, 16, rng.randint(0, 16))))
             for _ in range(count)]
    fields = [{"exponent": e, "negative": s < 0 or (s == 0 and rng.random() < 0.5),
               "present": s != 0} for s, e in pairs]
    return pairs, fields


def assert_refused(component, *arguments, match):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(ValueError, match=match):
            component(*arguments)
        gc.collect()


def edge_int(rng, width):
    """Return a signed value of at most `width` bits: an edge, or of random magnitude."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    return rng.choice((low, high, 0, -1, 1, rng.randint(low, high),
                       rng.randint(low, high) >> rng.randrange(width)))


@pytest.mark.parametrize("width", [1, 2, 3, 5, 6])
def test_thermometer_compares_with_every_constant(width):
    class Compare(wiring.Component):
        i: In(width)
        o: Out((1 << width) + 3)

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(Cat(thermometer(self.i, len(self.o))))
            return m

    dut = Compare()

    async def testbench(ctx):
        for value in range(1 << width):
            ctx.set(dut.i, value)
            assert ctx.get(dut.o) == (1 << value) - 1

    simulate(dut, testbench, clocked=False)


@pytest.mark.parametrize("ring", [None, *Ring], ids=["registers", "luts", "block"])
@pytest.mark.parametrize("cycles", [1, 3, 4, 5, 8, 9])
def test_delay_line_delays(cycles, ring):
    check_delay(DelayLine(7, cycles, ring), cycles)


def test_delay_line_refuses_no_delay():
    assert_refused(DelayLine, 8, 0, match="at least 1, not 0")


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_term_sum_is_exact(terms):
    dut = TermSum(17, terms)
    rng = random.Random(terms)
    want = []

    async def testbench(ctx):
        for k in range(300):
            if k >= dut.latency:
                assert ctx.get(dut.o_sum) + ctx.get(dut.o_carry) == want[k - dut.latency]
            pairs, fields = random_terms(rng, terms)
            if k < 4:  # all terms at their largest
                pairs = [(1 - 2 * (k & 1), 16)] * terms
                fields = [{"exponent": 16, "negative": k & 1, "present": 1}] * terms
            value = -65536 if k < 2 else edge_int(rng, 17)
            enable = rng.random() < 0.9
            ctx.set(dut.i_value, value)
            ctx.set(dut.i_terms, fields)
            ctx.set(dut.i_enable, enable)
            want.append(TermSum.compute(value, pairs) if enable else 0)
            await ctx.tick()

    simulate(dut, testbench)


def test_term_sum_refuses_five_terms():
    assert_refused(TermSum, 8, 5, match="from 1 to 4, not 5")


def run_step(dut, runs, *, addends=False):
    """Run cases (value, terms as pairs and fields, bias, shift, addend), a list per format."""
    async def testbench(ctx):
        for fmt, items in runs:
            ctx.set(dut.i_signed, fmt.signed)
            ctx.set(dut.i_width, fmt.width)
            await ctx.tick().repeat(2)
            for k in range(len(items) + dut.latency):
                if k >= dut.latency:
                    value, (pairs, _), bias, shift, addend = items[k - dut.latency]
                    want = ScaleStep.compute(value, pairs, bias, shift, fmt, addend)
                    got = dut.result_value(ctx.get(dut.o_result), fmt)
                    assert got == want, (fmt, items[k - dut.latency])
                if k < len(items):
                    value, (_, fields), bias, shift, _ = items[k]
                    ctx.set(dut.i_value, value)
                    ctx.set(dut.i_terms, fields)
                    ctx.set(dut.i_bias, bias)
                    ctx.set(dut.i_shift, shift)
                if addends and dut.addend_delay <= k < len(items) + dut.addend_delay:
                    addend = items[k - dut.addend_delay][4]
                    ctx.set(dut.i_addend, addend - (addend & 1))
                    ctx.set(dut.i_addend_carry, addend & 1)
                await ctx.tick()

    simulate(dut, testbench)


def step_items(rng, count, *, value_width, terms, sum_width, fmt, addend_width=0):
    """Make cases whose sum fits, many of them close to where clamping begins."""
    low, high = -(1 << (sum_width - 1)), (1 << (sum_width - 1)) - 1
    items = []
    while len(items) < count:
        value, term = edge_int(rng, value_width), random_terms(rng, terms)
        addend = edge_int(rng, addend_width) if addend_width else 0
        partial = value * terms_value(term[0]) + addend
        shift = rng.choice((0, 31, rng.randint(0, 31)))
        edge = rng.choice((fmt.min, fmt.max + 1, 0)) << shift
        total = rng.choice((low, high, edge, edge - 1, edge + rng.randint(-9, 9),
                            edge_int(rng, sum_width)))
        bias = total - partial
        if low <= bias <= high and low <= total <= high:
            items.append((value, term, bias, shift, addend))
    return items


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
@pytest.mark.parametrize("addend", [False, True])
def test_scale_step_equals_compute_with_any_number_of_terms(terms, addend):
    shape = {"value_width": 20, "terms": terms, "sum_width": 42}
    dut = ScaleStep(**shape, result_width=32, addend_width=34 * addend,
                    addend_delay=5 if terms == 2 else 0)
    fmt = Format(9, signed=bool(terms & 1))
    items = step_items(random.Random(terms), 150, **shape, fmt=fmt, addend_width=34 * addend)
    run_step(dut, [(fmt, items)], addends=addend)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("result_width", [8, 32])
def test_scale_step_clamps_to_every_width(result_width, signed):
    shape = {"value_width": 24, "terms": 1, "sum_width": 44}
    formats = [Format(width, signed) for width in range(1, result_width + 1)]
    rng = random.Random(result_width)
    runs = [(fmt, step_items(rng, 30, **shape, fmt=fmt)) for fmt in formats]
    run_step(ScaleStep(**shape, result_width=result_width), runs)


def test_scale_step_shifts_by_every_amount():
    shape = {"value_width": 24, "terms": 1, "sum_width": 44}
    fmt = Format(8, signed=True)
    rng = random.Random(5)
    items = []
    for shift in range(32):
        for total in (-(1 << 43), (1 << 43) - 1, 127 << shift, 128 << shift, -128 << shift,
                      (-128 << shift) - 1, -1, rng.randint(-(1 << shift + 7), 1 << shift + 7)):
            items.append((1, ([(1, 0)], [{"exponent": 0, "negative": 0, "present": 1}]),
                          min(total, (1 << 43) - 2) - 1, shift, 0))
    items = [item for item in items if item[2] >= -(1 << 43)]
    run_step(ScaleStep(**shape, result_width=8), [(fmt, items)])


def test_scale_step_refuses_a_33_bit_result():
    assert_refused(ScaleStep, 8, 1, 30, 33, match="from 1 to 32, not 33")


@pytest.mark.parametrize(("tables", "lanes"), [(1, 1), (2, 2), (3, 3), (16, 5)])
def test_function_table_looks_up_every_lane(tables, lanes):
    dut = FunctionTable(tables, lanes)
    rng = random.Random(tables)
    contents = [rng.randrange(256) for _ in range(256 * tables)]

    async def testbench(ctx):
        for address, byte in enumerate(contents):
            ctx.set(dut.i_write, {"enable": 1, "address": address, "data": byte})
            await ctx.tick()
        ctx.set(dut.i_write, {"enable": 0, "address": 0, "data": 0})
        for _ in range(200):
            table, index = rng.randrange(tables), [rng.randrange(256) for _ in range(lanes)]
            ctx.set(dut.i_table, table)
            ctx.set(dut.i_index, index)
            await ctx.tick()
            assert [ctx.get(dut.o_value[lane]) for lane in range(lanes)] == [
                FunctionTable.compute(contents, table, i) for i in index]

    simulate(dut, testbench)


def test_function_table_refuses_17_tables():
    assert_refused(FunctionTable, 17, 1, match="from 1 to 16, not 17")


def config(**changes):
    engine = EngineConfig(rows=4, lanes=8, code_width=8, acc_width=16)
    return Config.of(**{"l1": engine, "pool_acc_width": 16, **changes})


def random_record(rng, layout, exponent):
    record = {}
    for field in layout.fields.values():
        record[field.name] = rng.randint(field.low, field.high)
        if field.name.endswith("exponent"):
            most = 16 if field.name[0] == "r" else exponent
            absent = rng.random() < 0.25
            record[field.name] = field.high if absent else rng.randint(0, most)
        if field.name in ("bias", "bias2"):
            record[field.name] >>= rng.randint(2, field.width - 1)
    return record


def run_post(config, layers, count=12):
    """Send random vectors through every layer and compare all bytes and valid bits."""
    dut = PostProcessor(config)
    layout, rng = param_layout(config), random.Random(config.post.width)
    tables = bytes(rng.randrange(256) for _ in range(256 * config.post.tables))
    lanes = config.post.width

    async def testbench(ctx):
        for address, byte in enumerate(tables):
            ctx.set(dut.i_table_write, {"enable": 1, "address": address, "data": byte})
            await ctx.tick()
        ctx.set(dut.i_table_write, {"enable": 0, "address": 0, "data": 0})
        for layer in layers:
            for port in (dut.i_post, dut.i_adds):
                ctx.set(port, values_of(port.shape(), layer))
            ctx.set(dut.i_serial, layer.get("serial", 0))
            await ctx.tick().repeat(2)
            want = []
            for k in range(count + dut.latency):
                if k >= dut.latency:
                    valid, data = want[k - dut.latency]
                    assert ctx.get(dut.o_valid) == valid
                    got = ctx.get(Value.cast(dut.o_data)).to_bytes(max(lanes, 4), "little")
                    assert got[:len(data)] == data, (layer, k - dut.latency)
                values = [edge_int(rng, config.value_width - 3) for _ in range(lanes)]
                residuals = [edge_int(rng, 17) for _ in range(lanes)]
                records = [random_record(rng, layout, config.post.exponent) for _ in range(lanes)]
                valid = rng.random() < 0.7 and k < count
                ctx.set(dut.i_values, values)
                ctx.set(dut.i_residuals, residuals)
                packed = [int.from_bytes(layout.encode(**record), "little") for record in records]
                ctx.set(Value.cast(dut.i_records), sum(
                    word << lane * layout.width for lane, word in enumerate(packed)))
                ctx.set(dut.i_valid, valid)
                data = [PostProcessor.compute(config, layer, *item, tables)
                        for item in zip(records, values, residuals, strict=True)]
                want.append((valid, data[0] if layer.get("serial") else b"".join(data)))
                await ctx.tick()

    simulate(dut, testbench)


BYTES = [
    {"u_width": 8, "u_signed": 1},
    {"u_width": 3},
    {"u_width": 8, "res": 1},
    {"u_width": 8, "u_signed": 1, "res": 1, "res_second": 1, "second": 1, "z_width": 8,
     "y_signed": 1, "z_signed": 1},
    {"u_width": 8, "res": 1, "second": 1, "z_width": 5},
    {"u_width": 8, "table": 1, "table_index": 1},
    {"u_width": 7, "u_signed": 1, "table": 1, "second": 1, "z_width": 8, "y_signed": 1},
]
WIDE = [
    {"u_width": 32, "u_signed": 1, "serial": 1, "out_log_bytes": 2},
    {"u_width": 20, "serial": 1, "out_log_bytes": 2, "res": 1},
    {"u_width": 16, "u_signed": 1, "serial": 1, "out_log_bytes": 1},
    {"u_width": 8, "serial": 1},
    {"u_width": 8, "second": 1, "z_width": 16, "z_signed": 1, "serial": 1, "out_log_bytes": 1,
     "res": 1, "res_second": 1},
    {"u_width": 8, "second": 1, "z_width": 11, "z_signed": 1, "serial": 1, "out_log_bytes": 2},
]


@pytest.mark.parametrize(("post_width", "terms", "distributed"),
                         [(1, 1, False), (2, 4, True), (3, 3, True), (5, 2, False)])
def test_post_processor_equals_compute(post_width, terms, distributed):
    run_post(config(post_width=post_width, terms=terms, distributed=distributed), BYTES + WIDE)


def test_post_processor_without_residual():
    layers = [layer for layer in BYTES + WIDE if "res" not in layer]
    run_post(config(post_width=2, residual_terms=0), layers)


@pytest.mark.parametrize(("exponent", "sum_bits"), [(7, 30), (4, 28), (15, 0), (11, 40)])
def test_post_processor_with_small_multipliers(exponent, sum_bits):
    layers = [layer for layer in BYTES + WIDE if "res" not in layer]
    run_post(config(post_width=2, residual_terms=0, exponent=exponent, sum_bits=sum_bits), layers)


def test_post_processor_without_second_step():
    layers = [layer for layer in BYTES + WIDE if "second" not in layer]
    run_post(config(post_width=2, second_step=False), layers)


def test_post_processor_without_tables_or_anything_else():
    run_post(config(tables=0, residual_terms=0, second_step=False),
             [{"u_width": 8, "u_signed": 1}, WIDE[0]])


def test_post_processor_is_multiplier_free():
    assert_multiplier_free(PostProcessor(config(post_width=2)))

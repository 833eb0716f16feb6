"""One result lane, and the values of a stored map that are added in it."""

import random

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.formats import MAX_EXPONENT, Format, half, requantise
from pyhw.hdl.isa import absent, param_layout
from pyhw.hdl.post.lane import PostLane
from pyhw.hdl.post.residual_bytes import residual_values
from pyhw.hdl.records import Residual
from tests.support.helpers import simulate

ENGINE = EngineConfig(rows=2, lanes=2, code_width=8, acc_width=16)


def config_of(**changes):
    return Config.of(l1=ENGINE, post_width=3, **changes)


@pytest.mark.parametrize("wide", [False, True])
def test_bytes_of_a_stored_map_are_values_of_one_or_two_bytes_with_or_without_sign(wide):
    config, rng = config_of(residual_wide=wide), random.Random(1)
    m, run = Module(), Signal(Residual.layout().shape)
    stored = Signal(data.ArrayLayout(8, 3 * (1 + wide)))
    found = [Signal(signed(config.residual.value_width), name=f"value{k}") for k in range(3)]
    m.d.comb += [signal.eq(value) for signal, value in zip(
        found, residual_values(config, run, stored), strict=True)]
    m.d.sync += Signal().eq(0)  # the simulator wants a clock

    async def testbench(ctx):
        for _ in range(60):
            raw = rng.randbytes(3 * (1 + wide))
            sign, two = rng.random() < 0.5, wide and rng.random() < 0.5
            ctx.set(stored, list(raw))
            ctx.set(run, {"res_signed": sign, "res_wide": two})
            size = 1 + two
            assert [ctx.get(value) for value in found] == [
                int.from_bytes(raw[k * size:(k + 1) * size], "little", signed=sign)
                for k in range(3)]
            await ctx.tick()

    simulate(m, testbench)


@pytest.mark.parametrize("second", [False, True])
def test_a_lane_scales_adds_rounds_and_clamps_a_result_a_cycle(second):
    config, rng = config_of(second_step=second, tables=0, residual_terms=2), random.Random(2)
    dut, cases = PostLane(config, wide=False), []
    for _ in range(60):
        terms = {name: [(rng.choice([-1, 0, 1]), rng.randrange(9)) for _ in range(count)]
                 for name, count in (("m", 3), ("r", 2), ("n", 3))}
        cases.append({"value": rng.randrange(-(1 << 15), 1 << 15), "terms": terms,
                      "residual": rng.randrange(-128, 256), "bias": rng.randrange(-9999, 9999),
                      "shift": rng.randrange(8, 14), "bias2": rng.randrange(-999, 999),
                      "shift2": rng.randrange(3, 9)})
    fmt, to_second, layout = Format(8, True), second, param_layout(config).fields

    def expected(case):
        residual, r = case["residual"], case["terms"]["r"]
        first = requantise(case["value"], case["terms"]["m"], case["bias"], case["shift"], fmt,
                           *(() if to_second else (residual, r)))
        if not second:
            return first
        return requantise(first, case["terms"]["n"], case["bias2"], case["shift2"], fmt,
                          residual, r)

    def record(case):
        """Return the fields of a case's record: constants hold the rounding."""
        fields = {"bias": case["bias"] + half(case["shift"]), "shift": case["shift"]}
        if second:
            fields |= {"bias2": case["bias2"] + half(case["shift2"]), "shift2": case["shift2"]}
        for name, terms in case["terms"].items():
            for k, (sign, exponent) in enumerate(terms):
                gone = absent(MAX_EXPONENT if name == "r" else config.post.exponent)
                fields |= {f"{name}{k}_exponent": exponent if sign else gone,
                           f"{name}{k}_negative": sign < 0}
        return {name: value for name, value in fields.items() if name in layout}

    async def testbench(ctx):
        ctx.set(dut.i_post, {"u_signed": 1, "u_width": 8, "y_signed": 1, "second": second,
                             "z_signed": 1, "z_width": 8})
        ctx.set(dut.i_adds, {"res": 1, "res_second": to_second})
        results = [expected(case) for case in cases]
        for cycle in range(len(cases) + dut.latency):
            if cycle < len(cases):
                case = cases[cycle]
                ctx.set(dut.i_value, case["value"])
                ctx.set(dut.i_residual, case["residual"])
                ctx.set(dut.i_record, record(case))
            if cycle >= dut.latency:
                assert (ctx.get(dut.o_result) + 128) % 256 - 128 == results[cycle - dut.latency]
            await ctx.tick()

    simulate(dut, testbench)

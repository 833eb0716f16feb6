"""The depthwise unit: chains behind real rows, and the pooling unit that shares its sums."""

import random

import pytest
from amaranth.hdl import Fragment

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.chains import CHAIN_LATENCY
from pyhw.hdl.engines.depthwise import ChainedPool, Depthwise
from pyhw.hdl.engines.lone_engine import LoneEngine
from pyhw.hdl.engines.pool import PoolEngine, pooling_unit
from pyhw.hdl.engines.registry import engine_of
from pyhw.hdl.formats import ShiftCode
from tests.support.helpers import simulate

TAPS, CHANNELS, GROUPS = 3, 3, 2
SHAPE = {"rows": 3, "lanes": 4, "acc_width": 24}
CONFIG = Config.of(
    groups=GROUPS, l1=EngineConfig(code_width=8, **SHAPE),
    shift=EngineConfig(code_width=4, **SHAPE), pool_lanes=CHANNELS, taps=TAPS, load_bits=64)


def l1_term(x, code):
    return 256 - abs((x & 255) - code)


def shift_term(x, code):
    sign, exponent = ShiftCode(4).decode(code)
    x = x - 512 if x & 256 else x
    return 0 if sign == 0 else (x ^ (-1 if sign < 0 else 0)) << exponent


async def load(ctx, engine, codes, width):
    """Load the codes of all rows and let them become active."""
    flat, per_word = [code for row in codes for code in row], 64 // width
    for index in range(-(-len(flat) // per_word)):
        part = flat[index * per_word:(index + 1) * per_word]
        word = sum(code << k * width for k, code in enumerate(part))
        ctx.set(engine.i_load, {"valid": 1, "index": index, "word": word})
        await ctx.tick()
    ctx.set(engine.i_load, {"valid": 0})
    await ctx.tick().repeat(2)
    ctx.set(engine.i_swap, 1)
    await ctx.tick()
    ctx.set(engine.i_swap, 0)


@pytest.mark.parametrize(("name", "width", "term"), [("l1", 8, l1_term), ("shift", 4, shift_term)])
@pytest.mark.parametrize("warmup", [0, TAPS - 1])
def test_a_chain_adds_up_what_the_rows_in_use_make_of_the_last_columns(name, width, term, warmup):
    dut, rng = LoneEngine(CONFIG, name), random.Random(warmup)
    reserved = (1 << width) - 1 if name == "shift" else -1
    codes = [[rng.choice([c for c in range(1 << width) if c != reserved])
              for _ in range(SHAPE["lanes"])] for _ in range(SHAPE["rows"])]
    use = [k + warmup >= TAPS - 1 for k in range(TAPS)]
    cycles = [(rng.random() < 0.7, [[rng.randrange(512) for _ in range(SHAPE["lanes"])]
                                    for _ in range(GROUPS)]) for _ in range(40)]

    async def testbench(ctx):
        ctx.set(dut.i_use, sum(bit << k for k, bit in enumerate(use)))
        await load(ctx, dut, codes, width)
        for _ in range(CHAIN_LATENCY):  # a layer begins with empty chains
            await ctx.tick()
        ctx.set(dut.i_depthwise, 1)
        past, expected = [], [None] * CHAIN_LATENCY
        for valid, vectors in cycles:
            ctx.set(dut.i_valid, valid)
            ctx.set(dut.i_x, vectors)
            if valid:
                past.append(vectors)
            newest = past[::-1]
            expected.append(None if not past else [
                [sum(term(newest[TAPS - 1 - k][group][lane], codes[k][lane])
                     for k in range(TAPS) if use[k] and TAPS - 1 - k < len(newest))
                 for lane in range(CHANNELS)] for group in range(GROUPS)])
            due = expected.pop(0)
            if due is not None:
                assert [[ctx.get(dut.o_chained[group][lane]) for lane in range(CHANNELS)]
                        for group in range(GROUPS)] == due
            await ctx.tick()
        ctx.set(dut.i_depthwise, 0)
        await ctx.tick().repeat(CHAIN_LATENCY)
        assert ctx.get(dut.o_chained.as_value()) == 0

    simulate(dut, testbench)


def test_the_pooling_unit_hands_on_vectors_or_sums_of_chains_at_one_latency():
    dut, rng = pooling_unit(CONFIG), random.Random(1)
    assert isinstance(dut, ChainedPool)
    assert dut.latency == 1 + CHAIN_LATENCY == engine_of("pool").latency(CONFIG)
    settings = [("pool", 1, 0)] * 20 + [("chain", 1, 1)] * 20 + [("off", 0, 0)] * 20

    async def testbench(ctx):
        chained, expected = [[0] * CHANNELS] * CHAIN_LATENCY, [None] * dut.latency
        for number, (mode, on, depthwise) in enumerate(settings):
            vector = [rng.randrange(512) for _ in range(CHANNELS)]
            sums = [rng.randrange(-(1 << 15), 1 << 15) * (mode == "chain")
                    for _ in range(CHANNELS)]
            chained.append(sums)
            ctx.set(dut.i_on, on)
            ctx.set(dut.i_depthwise, depthwise)
            ctx.set(dut.i_x, [vector] * GROUPS)
            ctx.set(dut.i_chained, [chained.pop(0)] * GROUPS)
            signed = [x - 512 if x & 256 else x for x in vector]
            # No vector comes in the last cycles before the engine at work changes.
            settling = settings[min(number + dut.latency, len(settings) - 1)][0] != mode
            expected.append({"pool": signed, "chain": sums, "off": [0] * CHANNELS}[mode]
                            if not settling else None)
            if (due := expected.pop(0)) is not None:
                assert [[ctx.get(dut.o_sums[group][row]) for row in range(CHANNELS)]
                        for group in range(GROUPS)] == [due] * GROUPS
            await ctx.tick()

    simulate(dut, testbench)


def test_a_configuration_without_the_unit_has_no_part_of_it():
    plain = CONFIG.changed(taps=0)
    pool, engine = pooling_unit(plain), LoneEngine(plain, "l1")
    for component in (pool, engine):
        Fragment.get(component, None)
    assert isinstance(pool, PoolEngine)
    assert Depthwise(plain).tap_ports(5, 8, True) == {}
    assert engine.chains is None
    assert engine_of("pool").latency(plain) == 1

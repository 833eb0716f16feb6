"""Latencies that the cycle model uses are those of the components. (Sequencer: see its test.)"""

import gc
import warnings

import pytest
from amaranth.hdl import Module, UnusedElaboratable
from amaranth.lib.wiring import connect

from pyhw.hdl.common.technology import Technology
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.control.address_generator import AddressGenerator
from pyhw.hdl.control.store_unit import StoreUnit
from pyhw.hdl.engines.accumulator_array import result_latency
from pyhw.hdl.engines.l1 import L1Engine
from pyhw.hdl.engines.pool import PoolEngine
from pyhw.hdl.engines.shift import ShiftEngine
from pyhw.hdl.engines.window import Window
from pyhw.hdl.memory.scratchpad import Scratchpad
from pyhw.hdl.post.parameter_loader import ParameterLoader
from pyhw.hdl.post.processor import PostProcessor
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.timing import Timing
from pyhw.hdl.weights.expander import Expander
from pyhw.hdl.weights.fetch import WeightFetch
from tests.support.helpers import simulate
from tests.support.records import run_value


def engine(lanes, code_width=4):
    return EngineConfig(rows=2, lanes=lanes, code_width=code_width, acc_width=20)


PLAIN = {"residual_terms": 0, "second_step": False, "tables": 0}
CONFIGS = [
    *PRESETS.values(),
    Config.of(name="one", l1=engine(1), shift=engine(1), terms=1),
    Config.of(name="odd", l1=engine(7), shift=engine(17), terms=2, post_width=3),
    Config.of(name="four", shift=engine(33), terms=4, second_step=False),
    *(Config.of(name=f"plain{terms}", l1=engine(3), terms=terms, **PLAIN) for terms in range(1, 5)),
    Config.of(name="spread", l1=engine(70), shift=engine(65), spread=True),
    *(Config.of(name=f"no_{part}{terms}", l1=engine(5), terms=terms, **{part: PLAIN[part]})
      for part in PLAIN for terms in range(1, 5)),
]
SMALL = Config.of(l1=engine(4), burst_depth=4, post_width=3)
LAYER = {"n_x": 1, "n_y": 1, "burst": 1, "n_digits": 1, "n_chunks": 1, "n_kx": 1, "n_ky": 1,
         "n_blocks": 1, "block_rows": 1, "rows": 1, "code_words": 2}


def latency_of(kind, *arguments, name="latency"):
    """Return a latency of a component that is only asked, never built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        component = kind(*arguments)
        latency = getattr(component, name)
        del component
        gc.collect()
    return latency


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_latencies_are_those_of_the_components(config):
    timing = Timing(config)
    assert timing.post_latency == latency_of(PostProcessor, config)
    assert timing.scratchpad_latency == latency_of(Scratchpad, config, name="a_latency")
    assert timing.residual_latency == latency_of(Scratchpad, config, name="b_latency")
    # From the take: the address generator's register, the window's, then the engine.
    engines = {"pool": PoolEngine} | {
        name: {"l1": L1Engine, "shift": ShiftEngine}[name] for name in config.engines}
    for name, kind in engines.items():
        accumulated = Technology(config).accumulators.latency - 1
        assert timing.take_to_last(name) == (
            1 + latency_of(Window, config) + latency_of(kind, config) + accumulated)


def test_fixed_latencies():
    timing = Timing(SMALL)
    assert timing.result_latency == result_latency(SMALL)
    assert timing.meet == max(result_latency(SMALL), timing.residual_latency)
    assert Timing(Config.of(l1=engine(4), **PLAIN)).meet == result_latency(SMALL)
    assert timing.issue_to_write == timing.meet + timing.post_latency


async def cycles_until(ctx, *signals):
    """Count the cycles from now to the first one in which a signal is high."""
    for cycle in range(100):
        if any(ctx.get(signal) for signal in signals):
            return cycle
        await ctx.tick()
    raise AssertionError("the signal never rose")


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def test_start_to_the_first_weight_word():
    dut = WeightFetch(SMALL)

    async def testbench(ctx):
        ctx.set(dut.i_run, run_value(dut.i_run, LAYER, 1))
        await pulse(ctx, dut.i_run.start)
        assert 1 + await cycles_until(ctx, dut.o_stream.valid) == Timing(SMALL).start_to_words

    simulate(dut, testbench)


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_start_to_the_first_expanded_word(lanes):
    config = Config.of(shift=EngineConfig(rows=4, lanes=8, code_width=4, acc_width=20),
                    load_bits=32, burst_depth=12, prototypes=16)
    fetch, expander, timing = WeightFetch(config), Expander(config), Timing(config)
    first, step = timing.expanded
    assert (first, step) == (2, 8)
    layer = LAYER | {"masked": 1, "n_blocks": 2, "block_rows": 4, "rows": 8, "n_kx": 2,
                     "chunk_bytes": 8, "run_bytes": lanes, "code_words": 4,
                     "block_bits": 8 * lanes, "last_bits": 8 * lanes, "proto_size": 1,
                     "n_tap0": 1, "n_tap1": 1}
    m = Module()
    m.submodules.fetch, m.submodules.expander = fetch, expander
    connect(m, words=fetch.o_stream, expander=expander.i_stream)
    times = []

    async def testbench(ctx):
        for dut in (fetch, expander):  # two bursts in each block
            ctx.set(dut.i_run, run_value(dut.i_run, layer, 2, start=1))
        ctx.set(expander.o_stream.ready, 1)
        for cycle in range(100):
            if ctx.get(expander.o_stream.valid):
                times.append(cycle)
            await ctx.tick()
            ctx.set(fetch.i_run.start, 0)
            ctx.set(expander.i_run.start, 0)

    simulate(m, testbench)
    wanted, time = [], timing.start_to_expanded(lanes) - first
    for step_number in range(8):
        # Steps that use few lanes take as long as others.
        wanted += [time + k for k in range(first, step + 1, 2)]
        time += step + (timing.burst_restart if step_number % 2 else 0)
    assert times == wanted


def test_vectors_are_issued_a_cycle_after_what_they_wait_for():
    timing = Timing(SMALL)
    dut = AddressGenerator(SMALL, timing.scratchpad_latency)
    wanted = 1 + timing.issue_to_take

    async def testbench(ctx):
        ctx.set(dut.i_run, run_value(dut.i_run, LAYER | {"n_x": 3}, 3))
        ctx.set(dut.i_advance, 1)
        await pulse(ctx, dut.i_run.start)
        await ctx.tick().repeat(20)
        assert ctx.get(dut.o_wait_layer)
        ctx.set(dut.i_stored, 1)
        assert 1 + await cycles_until(ctx, dut.o_swap) == wanted
        # Two bursts fill both banks, the third waits.
        await ctx.tick().repeat(20)
        assert ctx.get(dut.o_wait_bank)
        assert not ctx.get(dut.o_swap)
        await pulse(ctx, dut.i_freed)
        assert 1 + await cycles_until(ctx, dut.o_swap) == wanted

    simulate(dut, testbench)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("post_width", [1, 3])
def test_records(post_width, spread):
    config = Config.of(l1=engine(4), post_width=post_width, spread=spread)
    timing = Timing(config)
    dut = ParameterLoader(config, timing.meet)

    async def testbench(ctx):
        await pulse(ctx, dut.i_request)
        assert 1 + await cycles_until(ctx, dut.o_ready) == timing.request_to_ready
        await pulse(ctx, dut.i_take)
        assert not ctx.get(dut.o_ready)
        assert 1 + await cycles_until(ctx, dut.o_taken) == timing.take_to_request
        assert not ctx.get(dut.o_ready)

    simulate(dut, testbench)


def test_start_of_the_drain_to_its_request():
    dut = StoreUnit(SMALL)

    async def testbench(ctx):
        ctx.set(dut.i_run, run_value(dut.i_run, LAYER, 1))
        await pulse(ctx, dut.i_run.start)
        assert 1 + await cycles_until(ctx, dut.o_request) == Timing.start_to_request
        ctx.set(dut.i_ready, 1)
        await pulse(ctx, dut.i_full)
        assert await cycles_until(ctx, dut.o_issue) == 0  # in the cycle after the strobe
        await ctx.tick().repeat(5)
        assert ctx.get(dut.o_busy)
        await pulse(ctx, dut.i_written)
        assert not ctx.get(dut.o_busy)  # what the sequencer adds to this is in its test

    simulate(dut, testbench)

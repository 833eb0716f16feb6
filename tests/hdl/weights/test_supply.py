"""Weights from the memory to the engines: every step's words, in the order of the layer."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.weights.supply import WeightSupply
from tests.hdl.weights.test_weights import memory
from tests.support.helpers import simulate
from tests.support.records import run_value

CONFIG = Config.of(
    l1=EngineConfig(rows=3, lanes=5, code_width=8, acc_width=20),
    shift=EngineConfig(rows=2, lanes=6, code_width=4, acc_width=20), pool_lanes=7, load_bits=16)
LAYER = {"n_digits": 2, "n_chunks": 1, "n_kx": 3, "n_ky": 1, "n_blocks": 2, "burst": 4,
         "pad_words": 2, "code_words": 3, "w_base": 40}


@pytest.mark.parametrize("changes", [{}, {"overlap": False}, {"spread": True}], ids=str)
def test_a_step_that_is_taken_has_been_loaded_with_its_own_words(changes):
    config, rng = CONFIG.changed(**changes), random.Random(6)
    dut, loaded, current = WeightSupply(config), [], []
    steps, total = LAYER["n_digits"] * LAYER["n_kx"], 7
    words = LAYER["pad_words"] + LAYER["code_words"]
    order = [block * steps + step for block in range(LAYER["n_blocks"])
             for _ in range(-(-total // LAYER["burst"])) for step in range(steps)]

    async def testbench(ctx):
        layer = LAYER | {"engine": config.number("l1")}
        ctx.set(dut.i_run, run_value(dut.i_run, layer, total, start=1))
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)
        ctx.set(dut.i_swap, 1)
        ctx.set(dut.i_swap_ahead, 1)
        await ctx.tick().repeat(3)
        for number in order:
            while True:
                take = not ctx.get(dut.o_hold) and rng.random() < 0.5
                ctx.set(dut.i_take, take)
                _, _, load, other = await ctx.tick().sample(dut.o_l1, dut.o_shift.valid)
                assert not other
                if load.valid:
                    current.append((load.index, load.word))
                if take:
                    break
            ctx.set(dut.i_take, 0)
            assert ctx.get(dut.o_swap)
            base = LAYER["w_base"] + number * words
            read = [7 * (base + k) & 0xffff for k in range(words)]
            loaded.append(current[:LAYER["code_words"]])
            assert loaded[-1] == list(enumerate(read[LAYER["pad_words"]:]))
            del current[:LAYER["code_words"]]
            assert ctx.get(dut.o_pad) & 0xffffffff == read[0] | read[1] << 16

    simulate(dut, testbench, background=[memory(dut)])
    assert len(loaded) == len(order)

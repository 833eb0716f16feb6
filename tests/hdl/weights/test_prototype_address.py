"""Where the weights of a step's lanes lie in the prototype, against loops over the taps."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.weights.prototype_address import PrototypeAddress
from tests.support.helpers import simulate
from tests.support.records import run_value

LANES = 5
CONFIG = Config.of(
    shift=EngineConfig(rows=4, lanes=LANES, code_width=4, acc_width=20), prototypes=64,
    load_bits=16, burst_depth=4)


def steps_of(fields):
    """Return (offsets of the lanes in use, last of the burst) of every step of a burst."""
    size, base = fields["proto_size"], fields["proto_base"]
    index, count, steps = 0, 0, []
    runs = fields["n_ky"] * fields["n_kx"]
    for run in range(runs):
        left = fields["run_bytes"]
        while left:
            lanes = []
            for _ in range(min(left, LANES)):
                lanes.append(base + index)
                count += 1
                by = ("proto_tap2" if count % (fields["n_tap0"] * fields["n_tap1"]) == 0 else
                      "proto_tap1" if count % fields["n_tap0"] == 0 else "proto_tap0")
                index = (index + fields[by]) % size
            left -= len(lanes)
            steps.append((lanes, run == runs - 1 and not left))
    return steps


@pytest.mark.parametrize(("ky", "kx", "run_bytes", "tap0", "tap1"), [
    (1, 1, 1, 1, 1), (2, 3, 4, 4, 3), (3, 1, 12, 4, 3), (1, 2, 7, 7, 2), (3, 3, 2, 2, 3)])
def test_offsets_of_lanes_follow_the_taps_modulo_the_prototype(ky, kx, run_bytes, tap0, tap1):
    dut, rng = PrototypeAddress(CONFIG), random.Random(run_bytes)
    width, bits = CONFIG.expand_lanes, (CONFIG.weights.prototypes - 1).bit_length()
    fields = {"masked": 1, "n_ky": ky, "n_kx": kx, "run_bytes": run_bytes, "n_tap0": tap0,
              "n_tap1": tap1, "proto_base": 17, "proto_size": 41,
              **{f"proto_tap{k}": rng.randrange(41) for k in range(3)}}
    expected = steps_of(fields)

    async def testbench(ctx):
        for _ in range(2):  # a start forgets what was before
            ctx.set(dut.i_run, run_value(dut.i_run, fields, start=1))
            ctx.set(dut.i_enable, 1)
            await ctx.tick()
            ctx.set(dut.i_run, run_value(dut.i_run, fields))
            for lanes, last in expected + expected[:2]:  # steps repeat, burst after burst
                while not ctx.get(dut.o_valid) or rng.random() < 0.2:
                    await ctx.tick()
                assert (ctx.get(dut.o_lanes), ctx.get(dut.o_last)) == (len(lanes), last)
                found = []
                for group in range(-(-len(lanes) // width)):
                    ctx.set(dut.i_group, group)
                    await ctx.tick()
                    offsets = ctx.get(dut.o_offsets)
                    found += [offsets >> bits * k & (1 << bits) - 1 for k in range(width)]
                assert found[:len(lanes)] == lanes
                ctx.set(dut.i_next, 1)
                await ctx.tick()
                ctx.set(dut.i_next, 0)

    simulate(dut, testbench)

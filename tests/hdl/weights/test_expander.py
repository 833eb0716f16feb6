"""Weight expander: the words of masked layers are those that stored codes would have been."""

import random

import pytest

from pyhw.compiler import compile_graph
from pyhw.compiler.disassemble import layer_instructions
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.expansion import visit_count, visits
from pyhw.hdl.isa import Space
from pyhw.hdl.weights.expander import Expander
from tests.support.helpers import feed, simulate, take, tells_ahead
from tests.support.masked_models import masked_graph
from tests.support.records import flat, run_value

MEMORY = {"weight_words": 1 << 16, "scratch_bytes": 1 << 16, "prototypes": 1024}


def shaped(name, rows, lanes, code_width, **fields):
    return Config.of(name=name, shift=EngineConfig(rows=rows, lanes=lanes, code_width=code_width,
                                                acc_width=32), **MEMORY | fields)


CONFIGS = {config.name: config for config in (
    shaped("plain", 4, 8, 4, burst_depth=12, load_bits=32),
    shaped("one", 1, 1, 4, burst_depth=3, load_bits=8),
    shaped("odd", 4, 9, 5, burst_depth=9, load_bits=64),  # a word ends inside a group
    shaped("wide", 8, 5, 3, burst_depth=12, load_bits=128),
    shaped("tall", 9, 2, 5, burst_depth=16, load_bits=16),
)}
CASES = {
    "1x1": {"shape": (5, 1, 1, 11), "size": 7},
    "3x3": {"shape": (6, 3, 3, 5), "size": 64},
    "5x5": {"shape": (3, 5, 5, 4), "size": 33},
    "patch": {"shape": (9, 2, 2, 3), "size": 10, "stride": (2, 2), "side": 6},
    "depthwise": {"shape": (6, 3, 3, 1), "groups": 6, "size": 13},
    "grouped": {"shape": (10, 2, 3, 4), "groups": 2, "size": 50},
    "dilated": {"shape": (4, 3, 2, 3), "dilation": (1, 2), "size": 17},
    "whole map": {"shape": (7, 5, 5, 3), "side": 5, "size": 100},
    "one value": {"shape": (6, 3, 3, 4), "size": 1},
    "longer than the layer": {"shape": (5, 3, 1, 6), "size": 300},
    "as long as the layer": {"shape": (4, 2, 2, 5), "size": 80},
    "one weight": {"shape": (1, 1, 1, 1), "size": 3},
}


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("per_word", [2, 5, 12, 64])
@pytest.mark.parametrize(("rows", "lanes"), [(1, 1), (4, 9), (8, 16), (3, 5)])
def test_visits_make_every_code_once_and_in_order(rows, lanes, per_word, width):
    made, words = [], [[]]
    schedule = visits(rows, lanes, per_word, width)
    for visit in schedule:
        for slot, lane in visit.slots:
            made.append((visit.row, visit.group * width + lane))
            assert slot == len(words[-1])
            assert lane < width
            words[-1].append(made[-1])
        if visit.word_end:
            words.append([])
    assert made == [(row, lane) for row in range(rows) for lane in range(lanes)]
    assert [len(word) for word in words[:-2]] == [per_word] * (len(words) - 2)
    assert words[-1] == []
    assert sum(visit.group_end for visit in schedule) == rows * -(-lanes // width)
    assert len(schedule) == visit_count(rows, lanes, per_word, width)


def compiled(config, case, seed):
    """Compile a layer; return its instructions' fields, its words and the prototype memory."""
    program = compile_graph(masked_graph(config.engines["shift"].code_width, seed=seed, **case),
                            config)
    raw, size = program.section(Space.WEIGHTS), config.weights.load_bits // 8
    words = [int.from_bytes(raw[k:k + size], "little") for k in range(0, len(raw), size)]
    fields = [flat(layer) for layer in layer_instructions(program, config)]
    assert all(f["masked"] == (config.weights.prototypes > 0) for f in fields)
    return fields, words, program.section(Space.PROTOTYPES)


def moved(layers, words, load_bits, by):
    """Return fields and words of layers whose mask begins in the middle of a word."""
    bits = sum(word << load_bits * k for k, word in enumerate(words)) << by
    count = len(words) + 1
    first = [fields["w_base"] * load_bits + fields["mask_bit"] + by for fields in layers]
    return ([fields | {"w_base": bit // load_bits, "mask_bit": bit % load_bits}
             for fields, bit in zip(layers, first, strict=True)],
            [bits >> load_bits * k & (1 << load_bits) - 1 for k in range(count)])


def mask_stream(fields, words, load_bits, bursts):
    """Return the words that a layer's bursts read: for each block those with a bit of it."""
    out, first = [], fields["w_base"] * load_bits + fields["mask_bit"]
    for block in range(fields["n_blocks"]):
        last = block == fields["n_blocks"] - 1
        end = first + fields["last_bits" if last else "block_bits"]
        out += words[first // load_bits:-(-end // load_bits)] * bursts
        first = end
    return out


def code_stream(fields, words, bursts):
    """Return the words of a layer's stored codes as the loader gets them, burst after burst."""
    steps = fields["n_kx"] * fields["n_ky"] * fields["n_chunks"]
    size, out = steps * fields["code_words"], []
    for block in range(fields["n_blocks"]):
        base = fields["w_base"] + block * size
        out += words[base:base + size] * bursts
    return out


def used_codes(config, words, count):
    """Return the codes of a step's words that have a lane."""
    width, shift = config.engines["shift"].code_width, config.engines.get("shift")
    per_word = config.weights.load_bits // width
    return [words[k] >> slot * width & (1 << width) - 1
            for k in range(count) for slot in range(per_word)
            if k * per_word + slot < shift.rows * shift.lanes]


def run(config, cases, *, gap=0.0, stall=0.0, total=5, seed=0):
    """Expand layers one after the other and compare every code of every step."""
    dut, wanted, found, rng = Expander(config), [], [], random.Random(seed)
    stored = config.changed(prototypes=0)

    async def testbench(ctx):
        for number, case in enumerate(cases):
            layers, words, prototypes = compiled(config, case, seed + number)
            layers, words = moved(layers, words, config.weights.load_bits,
                                  rng.randrange(config.weights.load_bits))
            for address, code in enumerate(prototypes):
                ctx.set(dut.i_write, {"enable": 1, "address": address, "data": code})
                await ctx.tick()
            ctx.set(dut.i_write, {})
            others, code_words, _ = compiled(stored, case, seed + number)
            for fields, other in zip(layers, others, strict=True):
                # A layer that runs channel by channel stores codes of its taps alone.
                assert fields["code_words"] >= other["code_words"]
                assert fields["code_words"] == other["code_words"] or fields["depthwise"]
                bursts = -(-total // fields["burst"])
                wanted.extend(code_stream(other, code_words, bursts))
                ctx.set(dut.i_run, run_value(dut.i_run, fields, total, start=1))
                await ctx.tick()
                ctx.set(dut.i_run.start, 0)
                await feed(ctx, dut.i_stream, mask_stream(fields, words, config.weights.load_bits,
                                                          bursts),
                           gap=gap, seed=seed)
                count = len(wanted) // other["code_words"] * fields["code_words"]
                while len(found) < count:
                    await ctx.tick()
                await ctx.tick().repeat(10)
                assert len(found) == count
                check(found, wanted, fields["code_words"], other["code_words"], number)
                found.clear()
                wanted.clear()

    def check(some, others, count, stored, number):
        zero = (1 << config.engines["shift"].code_width - 1) - 1
        for step in range(len(others) // stored):
            made = used_codes(config, some[step * count:], count)
            codes = used_codes(config, others[step * stored:], stored)
            if config.depthwise.columns:
                codes = codes[:config.depthwise.columns * config.engines["shift"].lanes]
            assert made[:len(codes)] == codes, f"layer {number} step {step}"
            assert set(made[len(codes):]) <= {zero}, f"layer {number} step {step}"

    async def sink(ctx):
        await take(ctx, dut.o_stream, found.append, stall=stall, seed=seed)

    simulate(dut, testbench, background=[sink, tells_ahead(dut)], cycles=1_000_000)


@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("name", CONFIGS)
def test_expanded_words_are_those_of_stored_codes(name, gap, stall):
    run(CONFIGS[name], CASES.values(), gap=gap, stall=stall)


@pytest.mark.parametrize("seed", range(4))
def test_random_layers_under_random_stalls(seed):
    rng = random.Random(seed)
    cases = []
    for _ in range(5):
        groups = rng.choice([1, 1, 2, 5])
        cases.append({"shape": (groups * rng.randint(1, 6), rng.randint(1, 4), rng.randint(1, 4),
                                rng.randint(1, 7)), "groups": groups, "size": rng.randint(1, 120)})
    run(rng.choice(list(CONFIGS.values())), cases, gap=0.3, stall=0.3, seed=seed,
        total=rng.randint(1, 30))


@pytest.mark.parametrize("name", ["odd", "tall"])
def test_rows_that_are_no_taps_get_no_bits(name):
    # Kernels of fewer columns than the chain has, in arrays of more rows.
    config = CONFIGS[name].changed(taps=3, pool_lanes=2)
    shapes = ((8, 3, 3, 1), (4, 2, 2, 1), (8, 3, 1, 1), (4, 1, 4, 1), (12, 1, 1, 1))
    run(config, [{"shape": shape, "groups": shape[0], "size": 11} for shape in shapes], gap=0.2)

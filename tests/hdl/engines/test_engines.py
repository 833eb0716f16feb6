"""The three engines against their `compute` reference models, and those against the numeric
contract."""

import gc
import random
import warnings

import pytest
from amaranth.hdl import Cat, Const, Module, Signal, UnusedElaboratable
from amaranth.sim import Simulator

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.accumulator_array import result_latency
from pyhw.hdl.engines.l1 import L1Engine, L1Row
from pyhw.hdl.engines.lone_engine import LoneEngine
from pyhw.hdl.engines.pool import PoolEngine
from pyhw.hdl.engines.shift import ShiftEngine, ShiftRow
from pyhw.hdl.formats import ShiftCode, l1_term, shift_term
from pyhw.synthesis.yosys import multiplier_free_check

SHAPES = [(1, 1, 1), (3, 5, 7), (2, 24, 20)]


def make_config(groups, rows, lanes, *, l1_width=8, shift_width=4, **changes):
    shape = {"rows": rows, "lanes": lanes}
    return Config.of(**{
        "groups": groups, "pool_lanes": rows, "burst_depth": 5, "load_bits": 64, "post_width": 3,
        "l1": EngineConfig(**shape, code_width=l1_width, acc_width=20),
        "shift": EngineConfig(**shape, code_width=shift_width, acc_width=26),
    } | changes)


class Bench:
    """Stream bursts through an engine with codes loading behind, and drain each behind the next.

    A burst is a list of steps; a step is (codes, positions): codes a list of rows of lanes or
    None, positions a list of vectors for each group. Everything comes as early as the contract
    allows, unless `bubble` (a probability) delays it.
    """

    def __init__(self, engine, config, bursts, *, code_width=None, settings=(), serial=False,
                 bubble=0.0):
        self.engine, self.config, self.bursts = engine, config, bursts
        self.code_width, self.settings, self.serial = code_width, dict(settings), serial
        self.random = random.Random(3)
        self.bubble = bubble
        self.lasts = 0  # bursts accumulated
        self.drained = 0
        self.cycles = 0
        self.results = [[[[None] * engine.rows for _ in range(config.groups)]
                         for _ in burst[0][1]] for burst in bursts]

    def words(self, codes):
        """Return the words of one step, in load order."""
        flat = [code for row in codes for code in row]
        per_word = self.config.weights.load_bits // self.code_width
        mask = (1 << self.code_width) - 1
        return [{"valid": 1, "index": i // per_word, "word": sum(
            (code & mask) << k * self.code_width for k, code in enumerate(flat[i:i + per_word]))}
            for i in range(0, len(flat), per_word)]

    def late(self):
        return self.random.random() < self.bubble

    async def fill(self, ctx):
        for name, value in self.settings.items():
            ctx.set(getattr(self.engine, name), value)
        steps = [(b, s) for b, burst in enumerate(self.bursts) for s in range(len(burst))]
        engine, coded = self.engine, self.code_width is not None
        loading = self.words(self.bursts[0][0][0]) if coded else []
        ready = not coded  # the codes of the step are active
        step, position = 0, 0
        # With `spread` vectors come a cycle after what is decided here.
        nothing = engine.i_x.shape().const(None), {"valid": 0}
        coming = [nothing] * (coded and self.config.build.links)
        while step < len(steps):
            b, s = steps[step]
            vectors = self.bursts[b][s][1]
            (x, token), swap, load = nothing, 0, {"valid": 0}
            if ready and self.drained >= b - 1 and not self.late():
                x = [[value & 511 for value in group] for group in vectors[position]]
                position += 1
                token = {"valid": 1, "clear": s == 0, "bank": b & 1, "position": position - 1,
                         "last": s == len(self.bursts[b]) - 1 and position == len(vectors)}
                if position == len(vectors):
                    step, position, ready = step + 1, 0, not coded
            # The next codes swap in together with the last vector of this step, and those after
            # them begin to load in the same cycle.
            if coded and not ready and not loading and step < len(steps) and not self.late():
                swap, ready = 1, True
                if step + 1 < len(steps):
                    after, inside = steps[step + 1]
                    loading = self.words(self.bursts[after][inside][0])
            if loading and not self.late():
                load = loading.pop(0)
            coming.append((x, token))
            ctx.set(engine.i_x, coming[0][0])
            ctx.set(engine.i_token, coming.pop(0)[1])
            if coded:
                ctx.set(engine.i_swap, swap)
                ctx.set(engine.i_load, load)
            await ctx.tick()
        for x, token in [*coming, nothing]:
            ctx.set(engine.i_x, x)
            ctx.set(engine.i_token, token)
            await ctx.tick()

    async def watch(self, ctx):
        while self.lasts < len(self.bursts):
            self.cycles += 1
            assert self.cycles < 5_000, "the bursts do not end"
            _, _, last = await ctx.tick().sample(self.engine.o_last)
            self.lasts += last  # known in the cycle after the strobe

    async def request(self, ctx):
        engine, pipeline = self.engine, [None] * result_latency(self.config)
        width = 1 if self.serial else self.config.post.width
        for b, burst in enumerate(self.bursts):
            while self.lasts <= b:
                await ctx.tick()
                assert self.cycles < 5_000
            requests = [(p, g, first) for p in range(len(burst[0][1]))
                        for g in range(self.config.groups)
                        for first in range(0, engine.rows, width)]
            for request in [*requests, *[None] * result_latency(self.config)]:
                if request:
                    p, g, first = request
                    ctx.set(engine.i_read, {
                        "bank": b & 1, "position": p, "group": g, "serial": self.serial,
                        "row": first if self.serial else 255,
                        "vector": 255 if self.serial else first // width})
                if done := pipeline[0]:
                    p, g, first = done
                    for lane in range(min(width, engine.rows - first)):
                        self.results[b][p][g][first + lane] = ctx.get(engine.o_values[lane])
                pipeline = [*pipeline[1:], request]
                await ctx.tick()
            self.drained += 1

    def run(self):
        simulator = Simulator(self.engine)
        simulator.add_clock(1e-6)
        for process in (self.fill, self.watch, self.request):
            simulator.add_testbench(process)
        simulator.run()
        assert self.drained == len(self.bursts)
        return self.results


def random_bursts(engine, config, draw_x, draw_code, lengths):
    """Return bursts of (positions, steps) in `lengths`."""
    return [[([[draw_code() for _ in range(engine.lanes)] for _ in range(engine.rows)],
              [[[draw_x() for _ in range(engine.lanes)] for _ in range(config.groups)]
               for _ in range(positions)]) for _ in range(steps)] for positions, steps in lengths]


def expect(engine, config, bursts, compute):
    return [[[compute([step[1][p][g] for step in burst], [step[0] for step in burst])
              for g in range(config.groups)] for p in range(len(burst[0][1]))] for burst in bursts]


def assert_refused(component, argument, kind, match):
    """Expect an error from a constructor, whose half-made component is then thrown away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(kind, match=match):
            component(argument)
        gc.collect()


LENGTHS = [(1, 4), (5, 2), (1, 1), (3, 1), (2, 3)]


def engine_case(kind, config, lengths=LENGTHS, seed=5):
    rng = random.Random(seed)
    if kind == "l1":
        engine, width = LoneEngine(config, "l1"), 8
        bursts = random_bursts(engine, config, lambda: rng.randrange(256),
                               lambda: rng.randrange(256), lengths)
        return engine, width, bursts, expect(engine, config, bursts, engine.compute)
    if kind == "shift":
        engine, width = LoneEngine(config, "shift"), config.engines["shift"].code_width
        bursts = random_bursts(engine, config, lambda: rng.randrange(-256, 256),
                               lambda: rng.randrange((1 << width) - 1), lengths)
        return engine, width, bursts, expect(engine, config, bursts, engine.compute)
    engine = LoneEngine(config, "pool")
    bursts = random_bursts(engine, config, lambda: rng.randrange(-256, 256), lambda: 0, lengths)
    maximum = kind == "max"
    return engine, None, bursts, expect(engine, config, bursts,
                                        lambda vectors, _: engine.compute(vectors, maximum))


@pytest.mark.parametrize("distributed", [True, False], ids=["distributed", "block"])
@pytest.mark.parametrize("kind", ["l1", "shift", "sum", "max"])
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_engine_equals_compute(shape, kind, distributed):
    config = make_config(*shape, distributed=distributed)
    engine, width, bursts, expected = engine_case(kind, config)
    settings = {"i_maximum": kind == "max"} if width is None else {}
    assert Bench(engine, config, bursts, code_width=width, settings=settings).run() == expected


def test_a_pooling_unit_without_maxima_sums():
    config = make_config(2, 3, 5).changed(pool_max=False)
    engine, width, bursts, expected = engine_case("sum", config)
    assert Bench(engine, config, bursts, code_width=width).run() == expected
    assert not hasattr(engine, "i_maximum")


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", ["l1", "shift"])
def test_large_engine_equals_compute(kind, spread):
    config = make_config(*SHAPES[2], load_bits=256, spread=spread)
    engine, width, bursts, expected = engine_case(kind, config, [(1, 2), (1, 1)])
    assert Bench(engine, config, bursts, code_width=width).run() == expected


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", ["l1", "shift", "sum"])
def test_vectors_words_and_swaps_may_come_late(kind, spread, monkeypatch):
    # Words belong to one cluster and the next.
    monkeypatch.setattr("pyhw.hdl.config_derived.CLUSTER_LANES", 15)
    config = make_config(2, 8, 5, spread=spread)
    engine, width, bursts, expected = engine_case(kind, config)
    assert Bench(engine, config, bursts, code_width=width, bubble=0.4).run() == expected


@pytest.mark.parametrize("kind", ["l1", "shift", "sum"])
def test_single_reads_one_row_into_lane_0(kind):
    config = make_config(2, 5, 3, post_width=4)
    engine, width, bursts, expected = engine_case(kind, config)
    assert Bench(engine, config, bursts, code_width=width, serial=True).run() == expected


@pytest.mark.parametrize("kind", ["l1", "shift", "sum"])
def test_more_result_lanes_than_rows(kind):
    config = make_config(2, 3, 4, post_width=8)
    engine, width, bursts, expected = engine_case(kind, config)
    assert Bench(engine, config, bursts, code_width=width).run() == expected


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", ["l1", "shift", "sum"])
def test_latency_is_that_of_the_strobe(kind, spread, monkeypatch):
    monkeypatch.setattr("pyhw.hdl.config_derived.CLUSTER_LANES", 14)
    config = make_config(1, 6, 7, spread=spread)
    engine, *_ = engine_case(kind, config)
    seen = []

    async def bench(ctx):
        await ctx.tick()
        ctx.set(engine.i_token, {"valid": 1, "last": 1})
        await ctx.tick()
        ctx.set(engine.i_token.valid, 0)
        for _ in range(engine.latency + 3):
            seen.append(ctx.get(engine.o_last))
            await ctx.tick()

    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen.index(1) + 1 == engine.latency == (
        2 if kind == "sum" else 6 + 2 * spread)
    assert sum(seen) == 1


@pytest.mark.parametrize("x_signed", [False, True])
@pytest.mark.parametrize(("code_width", "ex", "ew"), [(8, 0, 0), (5, 0, 3), (4, 2, 1), (2, 0, 6)])
def test_l1_values_stand_for_the_contract(x_signed, code_width, ex, ew):
    rng = random.Random(7)
    config = make_config(1, 4, 3, l1_width=code_width)
    engine = LoneEngine(config, "l1")
    offset = 128 if x_signed else 0

    def draw(width):
        return rng.randrange(1 << width) - (1 << width - 1 if x_signed else 0)

    weights = [[[draw(code_width) for _ in range(3)] for _ in range(4)] for _ in range(2)]
    inputs = [[draw(8 - ex) for _ in range(3)] for _ in range(2)]
    burst = [(w, [[[(v << ex) + offset for v in x]]]) for w, x in zip(weights, inputs)]
    got = Bench(engine, config, [burst], code_width=code_width,
                settings={"i_w_signed": x_signed, "i_w_shift": ew}).run()[0][0][0]
    constants = [sum((v << ew) + offset for step in weights for v in step[row])
                 for row in range(4)]
    assert [value - constant for value, constant in zip(got, constants)] == [
        sum(l1_term(x, w, ex, ew) for xs, step in zip(inputs, weights)
            for x, w in zip(xs, step[row])) for row in range(4)]


def test_shift_values_stand_for_the_contract():
    rng = random.Random(9)
    config = make_config(1, 4, 6)
    engine, code = LoneEngine(config, "shift"), ShiftCode(4)
    codes = [[rng.randrange(15) for _ in range(6)] for _ in range(4)]
    x = [rng.randrange(-128, 256) for _ in range(6)]
    short = [sum((s < 0) << e for s, e in map(code.decode, row)) for row in codes]
    got = Bench(engine, config, [[(codes, [[x]])]], code_width=4).run()[0][0][0]
    assert [value + rest for value, rest in zip(got, short)] == [
        sum(shift_term(v, *code.decode(c)) for v, c in zip(x, row)) for row in codes]


def sweep(rows, codes, inputs):
    """Return for each input the sums of one-lane rows, each with its code."""
    m = Module()
    x, sums = Signal(rows[0].i_x.shape()), [Signal(row.o_sum.shape()) for row in rows]
    for row, code, total in zip(rows, codes, sums):
        m.submodules += row
        m.d.comb += [row.i_x.eq(x), row.i_codes.eq(code), row.i_swap.eq(1), total.eq(row.o_sum)]
    everything, width = Signal(len(Cat(sums))), len(sums[0])
    m.d.comb += everything.eq(Cat(sums))
    seen = []

    async def bench(ctx):
        await ctx.tick().repeat(2)
        for value in inputs:
            ctx.set(x, value & (1 << len(x)) - 1)
            await ctx.tick()
            word = ctx.get(everything)
            seen.append([Const(word >> k * width, sums[0].shape()).value
                         for k in range(len(sums))])

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def test_l1_lane_exhaustively():
    seen = sweep([L1Row(1) for _ in range(256)], range(256), range(256))
    # 2 min(x, w) - x = x - 2 max(x - w, 0)
    assert [[x - 2 * total for total in sums] for x, sums in enumerate(seen)] == [
        [2 * min(x, w) - x for w in range(256)] for x in range(256)]


@pytest.mark.parametrize("width", [3, 4, 5])
def test_shift_lane_exhaustively(width):
    code, inputs = ShiftCode(width), range(-256, 256)
    stored = range((1 << width) - 1)
    seen = sweep([ShiftRow(1, code) for _ in stored],
                 [c | (c == code.zero) << width for c in stored], inputs)
    decoded = [code.decode(c) for c in stored]
    assert seen == [[shift_term(x, s, e) - ((s < 0) << e) for s, e in decoded] for x in inputs]


@pytest.mark.parametrize("engine", ["l1", "shift", "pool"])
def test_engine_does_not_multiply(engine, yosys):
    multiplier_free_check(LoneEngine(make_config(3, 5, 7), engine))


@pytest.mark.parametrize("engine", [L1Engine, ShiftEngine, PoolEngine])
def test_engine_refuses_what_is_not_a_configuration(engine):
    assert_refused(engine, "default", TypeError, "made from a Config")


@pytest.mark.parametrize(("engine", "name"), [(L1Engine, "l1"), (ShiftEngine, "shift")])
def test_engine_refuses_a_configuration_without_it(engine, name):
    config = make_config(1, 1, 1, **{name: None})
    assert_refused(engine, config, ValueError, f"with the engine '{name}'")

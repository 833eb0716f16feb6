"""Sequencer: the order of layers, limits and prefetch. Program memories."""

import itertools
import random

import pytest
from amaranth.hdl import Fragment

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.control.stages import Stages
from pyhw.hdl.instruction import COMPUTE_STAGE, STORE_STAGE, instruction
from pyhw.hdl.isa import INPUT, Opcode, Space, param_layout
from pyhw.hdl.memory.program_memories import ProgramMemories
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.records import RECORDS, Instruction
from pyhw.hdl.timing import Timing
from tests.support.helpers import simulate

END = (Opcode.END.value).to_bytes(4, "little")
FORM = instruction(PRESETS["default"])
CONFIG = Config.of(
    l1=EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16), load_bits=32, weight_words=16,
    param_records=8, program_words=64, index_entries=16)
TIMING = Timing(CONFIG)
VARIANTS = [{}, {"overlap": False}, {"spread": True}]


def layer(number, **fields):
    """Return an instruction that is known by its `w_base`."""
    return FORM.encode(Instruction.of(**{"opcode": Opcode.COMPUTE.value, "w_base": number,
                                         "n_xy": 5, "n_slots": 1} | fields))


def fields_of(run):
    """Return the fields of all records of a port."""
    members = run.shape().members
    return {field: getattr(getattr(run, name), field) for name in members
            if name in RECORDS for field in members[name].members}


class Bench:
    """A sequencer with a program and a datapath, busy in the compute stage and in the store stage
    for some cycles."""

    def __init__(self, program, busy=(20,), drain=(20,), **changes):
        self.words = [int.from_bytes(program[k:k + 4], "little")
                      for k in range(0, len(program), 4)]
        config = PRESETS["default"].changed(**changes)
        self.dut = Stages(config).sequencer(config)
        self.cycle = 0
        self.busy, self.left = {"compute": busy, "store": drain}, {"compute": 0, "store": 0}
        self.started, self.drained = [], []
        """Per layer: cycle, fields, total; in the compute stage and in the store stage."""
        self.free, self.ended = [], []
        """Per layer: the first cycle in which the compute stage is not busy, and that of the
        end."""
        self.between = 0

    async def tick(self, ctx):
        dut = self.dut
        _, _, enable, address, front, back, done, between, stored = await ctx.tick().sample(
            dut.o_enable, dut.o_address, dut.o_compute, dut.o_store, dut.o_layer_done,
            dut.o_between, dut.o_stored)
        if enable:
            ctx.set(dut.i_data, self.words[address] if address < len(self.words) else 0)
        if done:
            self.ended.append(self.cycle)
        if len(self.free) < len(self.started) and not self.left["compute"]:
            self.free.append(self.cycle)
        if front.start:
            assert len(self.started) == len(self.free), "the compute stage was still busy"
            assert len(self.started) == len(self.drained), "a layer has been left out"
            self.started.append((self.cycle, fields_of(front), front.total))
        if back.start:
            assert len(self.drained) == len(self.ended), "the store stage was still busy"
            self.drained.append((self.cycle, fields_of(back), back.total))
            _, fields, total = self.started[-1]
            assert self.drained[-1][2] == total
            assert all(fields.get(name, value) == value
                       for name, value in self.drained[-1][1].items())
        assert stored == (len(self.started) == len(self.drained))
        for name, starts, here in (("compute", self.started, front), ("store", self.drained, back)):
            length = self.busy[name][(len(starts) - 1) % len(self.busy[name])]
            self.left[name] = length if here.start else max(0, self.left[name] - 1)
            ctx.set(getattr(dut, f"i_{name}_busy"), self.left[name] > 0)
        self.between += between
        self.cycle += 1

    async def run(self, ctx, *, layers=0, count=1, resume=False):
        """Run; return the numbers of the layers started."""
        dut, first = self.dut, len(self.started)
        for signal, value in ((dut.i_layers, layers), (dut.i_count, count),
                              (dut.i_resume, resume), (dut.i_run, 1)):
            ctx.set(signal, value)
        await self.tick(ctx)
        for signal in (dut.i_run, dut.i_layers, dut.i_count, dut.i_resume):
            ctx.set(signal, 0)  # they mean something with the strobe only
        self.run_from = self.cycle
        while ctx.get(dut.o_running):
            await self.tick(ctx)
        self.run_to = self.cycle
        return [fields["w_base"] for _, fields, _ in self.started[first:]]


def bench(program, test, **options):
    unit = Bench(program, **options)

    async def testbench(ctx):
        await unit.tick(ctx)
        await test(ctx, unit)

    simulate(unit.dut, testbench, cycles=5000)
    return unit


def test_layers_run_in_order_with_all_the_fields_of_each_stage():
    rng = random.Random(3)
    values = [{f.name: rng.randint(f.low, f.high) for name in FORM.records
               for f in RECORDS[name].layout().fields.values()}
              | {"opcode": Opcode.COMPUTE.value, "n_slots": slots, "slots_from_run": 0}
              for slots in (1, 3)]
    program = b"".join(FORM.encode(Instruction.of(**v)) for v in values) + END

    async def test(ctx, unit):
        await unit.run(ctx, count=9)
        for stage, records in ((unit.started, COMPUTE_STAGE), (unit.drained, STORE_STAGE)):
            for (_, fields, total), wanted in zip(stage, values, strict=True):
                assert fields == {name: wanted[name] for record in records
                                  if record in FORM.records
                                  for name in RECORDS[record].layout().fields}
                # As many as a scratchpad may hold.
                most = 1 << PRESETS["default"].count_width
                assert total == wanted["n_xy"] * wanted["n_slots"] % most
        assert ctx.get(unit.dut.o_layers_done) == 2

    bench(program, test)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_slots_come_from_the_run(count, variant):
    program = layer(1, slots_from_run=1, n_slots=7) + layer(2, n_slots=2) + END

    async def test(ctx, unit):
        # A layer without image slots is passed over, and counts as done.
        assert await unit.run(ctx, count=count) == [1, 2][count == 0:]
        assert [total for _, _, total in unit.started] == [5 * count, 10][count == 0:]
        assert ctx.get(unit.dut.o_layers_done) == 2

    bench(program, test, **variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_run_stops_after_so_many_layers_and_goes_on(step, variant):
    order = [1, 2, 3, 4, 5]
    program = b"".join(map(layer, order)) + END

    async def test(ctx, unit):
        done = 0
        while done < len(order):
            started = await unit.run(ctx, layers=step, resume=done > 0)
            assert started == order[done:done + step]
            done += len(started)
            assert ctx.get(unit.dut.o_layers_done) == done
        # At the end there is nothing more; a new run begins at the first layer.
        for _ in range(3):
            assert await unit.run(ctx, resume=True) == []
            assert ctx.get(unit.dut.o_layers_done) == len(order)
        assert await unit.run(ctx) == order
        assert ctx.get(unit.dut.o_layers_done) == len(order)

    bench(program, test, **variant)


@pytest.mark.parametrize("spread", [False, True])
def test_the_next_layer_starts_in_front_when_that_is_free_and_the_last_one_at_the_back(spread):
    fetch = FORM.words + 1 + Timing(CONFIG.changed(spread=spread)).fetch_overhead
    program = layer(1) + layer(2) + layer(3) + END

    async def test(ctx, unit):
        await unit.run(ctx)

    def cycles(entries):
        return [entry[0] for entry in entries]

    def differences(first, second):
        return [b - a for a, b in zip(first, second, strict=True)]

    # The compute stage is the slow one: the store stage waits for it, and the next layer follows
    # at once.
    long = bench(program, test, busy=(fetch + 20,), drain=(5,), spread=spread)
    assert differences(long.free[:-1], cycles(long.started)[1:]) == [TIMING.free_to_start] * 2
    assert differences(cycles(long.started), cycles(long.drained)) == [TIMING.compute_to_store] * 3
    # The store stage is the slow one: a layer that is done in the compute stage waits there for
    # the store stage.
    slow = bench(program, test, busy=(5,), drain=(2 * fetch + 20,), spread=spread)
    # The store unit is busy up to the write of the last result; in the next cycle it is not.
    idle = TIMING.write_to_store - 1
    assert differences(slow.ended[:-1], cycles(slow.drained)[1:]) == [idle] * 2
    assert cycles(slow.started)[2] - cycles(slow.drained)[1] == TIMING.store_to_start
    # The instruction is the last to come.
    short = bench(program, test, busy=(3,), drain=(3,), spread=spread)
    starts = cycles(short.started)
    assert [b - a for a, b in itertools.pairwise(starts)] == [fetch] * 2
    assert starts[0] - short.run_from == fetch
    assert slow.run_to - slow.ended[-1] == TIMING.write_to_halt - 1
    # No layer is at work during the first fetch, and at the very end.
    assert slow.between == long.between == fetch + 1


def test_without_overlap_a_layer_is_fetched_when_the_one_before_is_stored():
    async def test(ctx, unit):
        await unit.run(ctx)

    unit = bench(layer(1) + layer(2) + END, test, busy=(5,), drain=(9, 70), overlap=False)
    starts = [cycle for cycle, _, _ in unit.started]
    fetch = FORM.words + 1 + TIMING.fetch_overhead
    assert starts[0] - unit.run_from == fetch
    assert starts[1] - unit.ended[0] == TIMING.write_to_store - 1 + fetch
    assert [cycle - start for (cycle, _, _), start in zip(unit.drained, starts, strict=True)] == [
        TIMING.compute_to_store] * 2
    assert unit.run_to - unit.ended[-1] == TIMING.write_to_halt - 1
    # Beside the two fetches, the cycle in which the run ends.
    assert unit.between == 2 * fetch + 1


def test_fields_are_kept_to_their_ranges():
    ranges = {"nest.n_x": (1, 28), "read.in_x": (-5, 3), "read.in_y": (-8, -8),
              "steps.n_kx": (3, 3), "read.in_base": (0, 7)}
    fields = {"n_x": 28, "in_x": -5, "in_y": -8, "n_kx": 3, "in_base": 6, "n_y": 1000}

    async def test(ctx, unit):
        await unit.run(ctx)

    for changes, kept in (({}, {}), ({"n_x": 33, "in_x": 8, "n_kx": 9, "in_y": 5},
                                     {"n_x": 1, "in_x": -8})):
        unit = bench(layer(1, **fields | changes) + END, test, ranges=ranges)
        found = unit.started[0][1]
        assert {name: found[name] for name in fields} == fields | kept


def test_an_unknown_opcode_ends_the_run():
    async def test(ctx, unit):
        assert await unit.run(ctx) == [1]

    bench(layer(1) + (9).to_bytes(4, "little") + layer(2) + END, test)


# Memories -----------------------------------------------------------------------------------------

PORTS = {"program": (Space.PROGRAM, 4, 32, 64), "index": (Space.INDEX, 4, 24, 16),
         "records": (Space.PARAMS, param_layout(CONFIG).bytes, param_layout(CONFIG).width, 8)}


@pytest.mark.parametrize(("overlap", "bits"), [(True, 32), (True, 18), (False, 32), (False, 36)])
def test_memories_take_the_bytes_of_words_and_are_read_by_words(overlap, bits):
    config = CONFIG.changed(overlap=overlap, load_bits=bits)
    ports = PORTS | {"weights": (Space.WEIGHTS, config.weights.load_bytes, bits,
                                 config.weights.words)}
    dut = ProgramMemories(config)
    rng = random.Random(6)
    contents = {name: [rng.getrandbits(8 * lanes) for _ in range(depth)]
                for name, (_, lanes, _, depth) in ports.items()}
    record = {f.name: rng.randint(f.low, f.high) for f in INPUT.fields.values()}
    words = [[(space, address, lane, contents[name][address] >> 8 * lane & 255)
              for lane in range(lanes)]
             for name, (space, lanes, _, depth) in ports.items() for address in range(depth)]
    words.append([(Space.INPUT, 0, 0, byte) for byte in INPUT.encode(**record)])
    words += [[(space, address, lane, 0xEE) for lane in range(4)]
              for space in (Space.SCRATCH, Space.TABLES) for address in range(4)]
    rng.shuffle(words)

    async def testbench(ctx):
        for space, address, lane, value in itertools.chain(*words):
            ctx.set(dut.i_write, {"space": space, "address": address, "lane": lane, "data": value})
            ctx.set(dut.i_write_valid, 1)
            await ctx.tick()
            # Without valid nothing is written, and no byte of the word is lost.
            ctx.set(dut.i_write_valid, 0)
            ctx.set(dut.i_write, {"space": Space.PROGRAM, "lane": 3, "data": 0x55})
            await ctx.tick()
        for name, (_, _, width, depth) in ports.items():
            ctx.set(getattr(dut, f"i_{name}_enable"), 1)
            for address in range(depth):
                ctx.set(getattr(dut, f"i_{name}_address"), address)
                await ctx.tick()
                word = ctx.get(getattr(dut, f"o_{name}_data"))
                assert word == contents[name][address] & (1 << width) - 1
            # Without its enable a port keeps its word.
            ctx.set(getattr(dut, f"i_{name}_enable"), 0)
            ctx.set(getattr(dut, f"i_{name}_address"), 0)
            await ctx.tick()
            assert ctx.get(getattr(dut, f"o_{name}_data")) == word
        assert {n: getattr(ctx.get(dut.o_input), n) for n in record} == record

    simulate(dut, testbench)


def test_without_index_lists_there_is_no_port_for_them():
    dut = ProgramMemories(Config.of(l1=CONFIG.engines.get("l1")))
    assert not hasattr(dut, "o_index_data")
    Fragment.get(dut, None)  # it can be built

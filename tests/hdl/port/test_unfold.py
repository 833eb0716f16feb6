# amaranth: UnusedElaboratable=no
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from pyhw.hdl.isa import INPUT, input_record
from pyhw.hdl.port.image_copy import ImageCopy, stored_as_they_come
from pyhw.hdl.port.image_store import image_store
from pyhw.hdl.port.unfold import compute
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import feed, take

CASES = {
    "plain copy": {"width": 5, "rows": 4, "channels": 3},
    "kernel 5, pad 2": {"width": 6, "rows": 7, "channels": 1, "fold": 5,
        "pad": 2, "pad_values": [9]},
    "stride 2": {"width": 5, "rows": 9, "channels": 2, "fold": 3,
        "stride": 2, "pad": 1, "pad_values": [7, 8]},
    "three channels": {"width": 4, "rows": 5, "channels": 3, "fold": 3,
        "pad": 1, "pad_values": [1, 2, 3]},
    "rows left over": {"width": 3, "rows": 8, "channels": 2, "fold": 3, "stride": 3},
    "rows missing below": {"width": 3, "rows": 4, "channels": 1, "fold": 3,
        "pad": 1, "out_rows": 6},
    "patches": {"width": 4, "rows": 8, "channels": 4, "fold": 4,
        "stride": 4, "pad_values": [5, 6, 7, 8]},
    "stride above fold": {"width": 2, "rows": 9, "channels": 1, "fold": 2, "stride": 4, "pad": 1},
    "wide rows": {"width": 3, "rows": 5, "channels": 2, "fold": 3, "pad": 1, "row_step": 29},
    "six channels": {"width": 2, "rows": 4, "channels": 6, "fold": 3,
        "pad": 1, "pad_values": [1, 2, 3, 4]},
    "one row": {"width": 7, "rows": 1, "channels": 1, "fold": 5, "pad": 2},
}


def make(name):
    record = input_record(**CASES[name])
    generator = np.random.default_rng(len(name))
    size = record["row_values"] * record["rows"]
    return record, generator.integers(0, 256, size, dtype=np.uint8).tobytes()


def gathered(record, image, base):
    """Every byte of the map looked up in the padded image."""
    width = record["row_values"] // record["channels"]
    pixels = np.frombuffer(image, np.uint8).reshape(record["rows"], width, record["channels"])
    out = {}
    for oy in range(record["out_rows"]):
        for x in range(width):
            for ky in range(record["fold"]):
                for c in range(record["channels"]):
                    y = oy * record["stride"] + ky - record["pad"]
                    value = (pixels[y, x, c] if 0 <= y < record["rows"]
                             else record.get(f"pad_value{c}", 0))
                    out[base + oy * record["row_step"] + x * record["pixel_step"]
                        + ky * record["channels"] + c] = value
    return out


@pytest.mark.parametrize("name", CASES)
def test_compute_equals_the_padded_image_gathered(name):
    record, image = make(name)
    assert compute(record, image, 100) == gathered(record, image, 100)


def simulate(jobs, *, gap=0.0, stall=0.0, config=PRESETS["tiny"]):
    """Run images through one unit; return the writes and the cycles of each."""
    dut = image_store(config)
    results, cycles = [], []

    async def bench(ctx):
        for record, image, base in jobs:
            for field in INPUT.fields:
                ctx.set(getattr(dut.i_record, field), record.get(field, 0))
            ctx.set(dut.i_start.base, base)
            ctx.set(dut.i_start.strobe, 1)
            await ctx.tick()
            ctx.set(dut.i_start.strobe, 0)
            results.append([])
            start = now[0]
            await feed(ctx, dut.i, image, gap=gap)
            await ctx.tick().until(~dut.o_busy)
            cycles.append(now[0] - start)

    async def sink(ctx):
        await take(ctx, dut.o, lambda write: results[-1].append((write.address, write.data)),
                   stall=stall)

    now = [0]

    async def clock(ctx):
        async for _ in ctx.tick():
            now[0] += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(sink, background=True)
    simulator.add_testbench(clock, background=True)
    simulator.run()
    return results, cycles


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.4, 0), (0, 0.4), (0.3, 0.3)])
def test_hardware_equals_compute(gap, stall):
    jobs = [(*make(name), 40 + 13 * k) for k, name in enumerate(CASES)]
    results, _ = simulate(jobs, gap=gap, stall=stall)
    for name, (record, image, base), writes in zip(CASES, jobs, results, strict=True):
        assert len(dict(writes)) == len(writes), name
        assert dict(writes) == compute(record, image, base), name


def test_a_byte_takes_a_cycle_per_copy():
    record, image = make("kernel 5, pad 2")
    [writes], [cycles] = simulate([(record, image, 0)])
    rows = record["rows"] + 4
    assert cycles <= len(writes) + 2 * rows + 8


def test_a_start_in_the_middle_forgets_the_image_before():
    record, image = make("kernel 5, pad 2")
    for cut in range(1, 20, 6):
        results, _ = simulate([(record, image[:cut], 0), (record, image, 200)])
        assert dict(results[1]) == compute(record, image, 200)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_start_while_copies_are_still_written_forgets_them(after):
    record, image = make("kernel 5, pad 2")
    dut, writes = image_store(PRESETS["tiny"]), []

    async def bench(ctx):
        for field in INPUT.fields:
            ctx.set(getattr(dut.i_record, field), record.get(field, 0))
        for base in (0, 200):
            ctx.set(dut.i_start, {"strobe": 1, "base": base})
            await ctx.tick()
            ctx.set(dut.i_start.strobe, 0)
            if base == 0:
                await feed(ctx, dut.i, image[:14])
                assert ctx.get(dut.o_busy)  # copies of the last byte
                for _ in range(after):
                    await ctx.tick()
                writes.clear()
        await feed(ctx, dut.i, image)
        await ctx.tick().until(~dut.o_busy)

    async def sink(ctx):
        rng = random.Random(after)
        while True:  # a start takes back what is offered
            ready = rng.random() < 0.5
            ctx.set(dut.o.ready, ready)
            _, _, valid, write = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                writes.append((write.address, write.data))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(sink, background=True)
    simulator.run()
    # What is offered up to the cycle of the start may still be taken.
    late = [write for write in writes if write[0] < 200]
    assert len(late) <= 2
    assert dict(write for write in writes if write not in late) == compute(record, image, 200)


def test_bytes_past_the_image_are_dropped():
    record, image = make("three channels")
    [writes], _ = simulate([(record, image + bytes(range(50)), 0)])
    assert dict(writes) == compute(record, image)


def test_addresses_past_the_scratchpad_are_left_out():
    record, image = make("plain copy")
    base = PRESETS["tiny"].memory.scratch_bytes - 20
    [writes], _ = simulate([(record, image, base)])
    assert dict(writes) == {a: v for a, v in compute(record, image, base).items()
                            if a < PRESETS["tiny"].memory.scratch_bytes}
    assert len(writes) == 20


def test_random_shapes():
    generator = random.Random(5)
    jobs = []
    for _ in range(40):
        fold, stride = generator.randint(1, 5), generator.randint(1, 4)
        channels, rows = generator.randint(1, 5), generator.randint(fold, 9)
        record = input_record(
            width=generator.randint(1, 4), rows=rows, channels=channels, fold=fold, stride=stride,
            pad=generator.randint(0, fold - 1),
            out_rows=generator.choice([None, generator.randint(1, 8)]),
            pad_values=[generator.randint(0, 255) for _ in range(min(channels, 4))])
        size = record["rows"] * record["row_values"]
        jobs.append((record, generator.randbytes(size), generator.randint(0, 1000)))
    results, _ = simulate(jobs)
    for (record, image, base), writes in zip(jobs, results, strict=True):
        assert dict(writes) == compute(record, image, base), record


def copying(record):
    return PRESETS["tiny"].changed(ranges={
        f"input.{name}": (value, value) for name, value in record.items()})


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.4, 0), (0, 0.4), (0.3, 0.3)])
def test_a_copy_equals_compute(gap, stall):
    record, image = make("plain copy")
    config = copying(record)
    jobs = [(record, image, 100), (record, image[:7], 5), (record, image + b"more", 0),
            (record, image, config.memory.scratch_bytes - 20)]
    results, cycles = simulate(jobs, gap=gap, stall=stall, config=config)
    assert dict(results[0]) == compute(record, image, 100)
    assert [address for address, _ in results[1]] == list(range(5, 12))
    assert dict(results[2]) == compute(record, image)
    assert len(results[3]) == 20
    if not gap and not stall:
        assert cycles[0] <= len(image) + 2


@pytest.mark.parametrize(("name", "copies"), [(name, name == "plain copy") for name in CASES])
def test_only_images_that_are_stored_as_they_come_are_copied(name, copies):
    record, _ = make(name)
    config = copying(record)
    assert stored_as_they_come(config) == copies
    if not copies:
        with pytest.raises(ValueError, match="stored as they come"):
            ImageCopy(config)


def test_an_image_that_may_have_other_sizes_is_not_copied():
    record, _ = make("plain copy")
    ranges = copying(record).ranges | {"input.rows": (1, record["rows"])}
    assert not stored_as_they_come(PRESETS["tiny"].changed(ranges=ranges))

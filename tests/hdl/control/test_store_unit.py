"""ParameterLoader and drain: order of results, addresses, tags, records beside their results."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.control.store_unit import StoreUnit
from pyhw.hdl.isa import param_layout
from pyhw.hdl.post.parameter_loader import ParameterLoader
from pyhw.hdl.timing import Timing
from tests.support.helpers import simulate
from tests.support.records import run_value


def make_config(groups, post_width):
    engine = EngineConfig(rows=5, lanes=2, code_width=8, acc_width=20)
    return Config.of(groups=groups, l1=engine, post_width=post_width, burst_depth=8)


# ParameterLoader ------------------------------------------------------------------------------


@pytest.mark.parametrize("post_width", [1, 3])
@pytest.mark.parametrize("latency", [3, 4])
def test_records_become_active_beside_their_values(post_width, latency):
    config = make_config(1, post_width)
    dut, width = ParameterLoader(config, latency), param_layout(config).width
    memory = [random.Random(record).getrandbits(width) for record in range(40)]
    rng = random.Random(1)

    async def testbench(ctx):
        cycle, requests, active_at = 0, [], {}
        pending = ready_at = None
        while len(requests) < 8 or active_at:
            request = pending is None and ready_at is None and len(requests) < 8
            ready = ctx.get(dut.o_ready)
            if ready_at is not None:
                assert ready == (cycle >= ready_at)
            issue = bool(ready) and rng.random() < 0.5
            ctx.set(dut.i_request, request)
            ctx.set(dut.i_take, issue)
            if request:
                pending = rng.randrange(len(memory) - post_width)
                requests.append(pending)
                ctx.set(dut.i_record, pending)
                ready_at = cycle + post_width + 2
            if issue:
                active_at[cycle + latency] = pending
                ready_at = None
            if cycle in active_at:
                first = active_at.pop(cycle)
                wanted = sum(memory[first + k] << width * k for k in range(post_width))
                assert ctx.get(dut.o_records) == wanted
            assert ctx.get(dut.o_taken) == (cycle + 1 in active_at)
            if cycle + 1 in active_at:
                pending = None
            _, _, enable, address = await ctx.tick().sample(dut.o_enable, dut.o_address)
            if enable:  # data stay until the next read
                ctx.set(dut.i_data, memory[address])
            cycle += 1

    simulate(dut, testbench, cycles=2000)


# Drain --------------------------------------------------------------------------------------------

LAYER = {
    "n_x": 3, "n_y": 2, "burst": 4, "n_blocks": 3, "block_rows": 5, "rows": 12,
    "out_base": 1000, "out_x": 12, "out_y": 50 - 2 * 12, "out_slot": 300 - 50 - 2 * 12,
    "out_vector": 2, "out_block": 5, "param_base": 30,
    "res_base": 5000, "res_x": 24, "res_y": 100 - 2 * 24, "res_slot": 600 - 100 - 2 * 24,
    "res_vector": 4, "res_block": 10,
}


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def walk(layer, config, total):
    """Return results in order, as nested loops over the layer, first records, and bursts."""
    positions = [(s, y, x) for s in range(99) for y in range(layer["n_y"])
                 for x in range(layer["n_x"])][:total]
    serial = layer.get("serial", 0)
    width = 1 if serial else config.post.width
    bursts = [positions[i:i + layer["burst"]] for i in range(0, total, layer["burst"])]
    results, records, bank = [], [], 0
    ahead = 0 if layer.get("res") else Timing(config).freed_ahead
    for block in range(layer["n_blocks"]):
        first = block * layer["block_rows"]
        rows = min(layer["block_rows"], layer["rows"] - first)
        for burst in bursts:
            for vector, row in enumerate(range(0, rows, width)):
                records.append(layer["param_base"] + first + row)
                for group in range(config.groups):
                    for number, (s, y, x) in enumerate(burst):
                        place = (x, y, s, vector, block)
                        results.append({
                            "bank": bank, "position": number, "group": group, "vector": vector,
                            "row": row, "serial": serial, "take": group == number == 0,
                            "out": 1000 + dot(place, (12, 50, 300, layer["out_vector"], 5)),
                            "res": 5000 + dot(place, (24, 100, 600, layer["res_vector"], 10)),
                            "count": (1 << layer.get("out_log_bytes", 0)) if serial
                            else min(width, rows - row),
                            "freed": row + width >= rows and group == config.groups - 1
                            and number == max(len(burst) - 1 - ahead, 0),
                            "end": row + width >= rows and group == config.groups - 1
                            and number == len(burst) - 1,
                        })
            bank ^= 1
    return results, records, len(bursts) * layer["n_blocks"]


def run_drain(config, layer, total, *, full=1.0, busy=0.0, ready_after=4, latency=6):
    """Drain a layer with random strobes around it; return results, records and waiting cycles."""
    dut = StoreUnit(config)
    rng = random.Random(5)
    wanted, _, bursts = walk(layer, config, total)
    results, records, waited = [], [], 0

    async def testbench(ctx):
        nonlocal waited
        ctx.set(dut.i_run, run_value(dut.i_run, layer, total, start=1))
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)
        older, last_burst = [], bursts == 1
        filled, drained, banks, ready_in, taken_in, writes = 0, 0, 0, None, None, []
        while ctx.get(dut.o_busy):
            fill = filled < bursts and banks < 2 and rng.random() < full
            filled += fill
            ctx.set(dut.i_full, fill)
            ctx.set(dut.i_conflict, rng.random() < busy)
            ctx.set(dut.i_ready, ready_in == 0)
            ctx.set(dut.i_taken, taken_in == 0)
            written = bool(writes) and writes[0] == 0
            ctx.set(dut.i_written, written)
            (_, _, request, record, issue, take, drain, tag, residual, freed, wait,
             conflict, asks, size, tail) = await ctx.tick().sample(
                dut.o_request, dut.o_record, dut.o_issue, dut.o_take, dut.o_read, dut.o_tag,
                dut.o_residual_address, dut.o_freed, dut.o_wait_port, dut.i_conflict,
                dut.o_residual, dut.o_residual_count, dut.o_tail)
            # The tail: nothing of an earlier burst is on its way.
            assert tail == (last_burst and not older)
            older = [w - 1 for w in older if w]
            writes = [w - 1 for w in writes[written:]]
            taken_in = None if taken_in in (0, None) else taken_in - 1
            ready_in = ready_in and ready_in - 1
            waited += wait
            if request:
                assert ready_in is None, "records were requested while others are loaded"
                records.append(record)
                ready_in = ready_after
            if take:
                assert issue
                assert ready_in == 0
                ready_in, taken_in = None, 2
            if issue:
                assert not (layer.get("res") and conflict)
                assert asks == layer.get("res", 0)
                results.append({
                    "bank": drain.bank, "position": drain.position, "group": drain.group,
                    "vector": drain.vector, "row": drain.row, "serial": drain.serial,
                    "take": bool(take), "out": tag.address, "res": residual, "count": tag.count,
                    "freed": bool(freed)})
                assert tag.group == drain.group
                rows = 1 if layer.get("serial") else tag.count
                assert size == rows << layer.get("res_wide", 0)
                writes.append(latency)
                if not last_burst:
                    older.append(latency)
                results[-1]["end"] = wanted[len(results) - 1]["end"]
                drained += results[-1]["end"]
                last_burst = drained == bursts - 1 or last_burst
            else:
                assert not freed
            banks += fill - freed
        assert not writes, "the layer ended before its last result was stored"

    simulate(dut, testbench, cycles=5000)
    assert len(results) == len(wanted)
    return results, records, waited


def check(config, layer, total, **options):
    results, records, waited = run_drain(config, layer, total, **options)
    wanted, wanted_records, _ = walk(layer, config, total)
    if layer.get("res") is None:  # not used
        wanted = [{**result, "res": None} for result in wanted]
        results = [{**result, "res": None} for result in results]
    assert results == wanted
    assert records == wanted_records
    return waited


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("post_width", [1, 2, 8])
def test_results_come_in_order(groups, post_width):
    config = make_config(groups, post_width)
    check(config, LAYER | {"out_vector": post_width}, 10)


def test_single_results_come_row_by_row():
    layer = LAYER | {"serial": 1, "out_log_bytes": 2, "out_vector": 4}
    check(make_config(2, 3), layer, 7)


@pytest.mark.parametrize("changes", [
    {"n_blocks": 1, "rows": 5}, {"n_blocks": 2, "rows": 6}, {"burst": 8}, {"burst": 1},
], ids=str)  # fmt: skip
def test_other_sizes(changes):
    check(make_config(2, 2), LAYER | changes, 7)


@pytest.mark.parametrize("options", [
    {"full": 0.1}, {"ready_after": 20}, {"latency": 20}, {"full": 0.3, "ready_after": 1},
], ids=str)  # fmt: skip
def test_waiting_changes_nothing(options):
    check(make_config(2, 2), LAYER, 9, **options)


def test_a_residual_waits_for_the_port():
    config, layer = make_config(2, 2), LAYER | {"res": 1}
    assert check(config, layer | {"res_wide": 1}, 9, busy=0.5) > 30
    assert check(config, layer, 9) == 0
    assert check(config, LAYER, 9, busy=0.5) == 0

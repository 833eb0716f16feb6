"""Position counter and address generator against nested loops over a convolution's windows."""

import random
from dataclasses import dataclass

import numpy as np
import pytest

from pyhw.compiler import compile_graph
from pyhw.compiler.disassemble import instructions
from pyhw.graph.ops import Conv, Graph, Input, Permute, Post, Step
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.control.address_generator import AddressGenerator
from pyhw.hdl.control.positions import Positions
from pyhw.hdl.formats import Format
from pyhw.hdl.isa import Opcode, Space
from pyhw.hdl.records import RECORD_OF
from tests.support.helpers import simulate
from tests.support.records import flat, run_value

# Positions ----------------------------------------------------------------------------------------


def track_steps(rng, n_x, n_y):
    """Return plain strides of a track, and the differences that the counter takes."""
    base, x, y, slot = (rng.randint(-20, 20) for _ in range(4))
    return (base, x, y, slot), {
        "base": base, "x": x, "y": y - (n_x - 1) * x, "slot": slot - (n_y - 1) * y - (n_x - 1) * x}


@pytest.mark.parametrize(("n_x", "n_y"), [(1, 1), (1, 4), (4, 1), (3, 2)])
def test_positions_run_columns_then_rows_then_slots(n_x, n_y):
    rng = random.Random(n_x)
    dut = Positions([12, 9])
    tracks = [track_steps(rng, n_x, n_y) for _ in range(2)]
    walk = [[base + x * dx + y * dy + s * ds for base, dx, dy, ds in (t[0] for t in tracks)]
            for s in range(3) for y in range(n_y) for x in range(n_x)]

    async def testbench(ctx):
        ctx.set(dut.i_n_x, n_x)
        ctx.set(dut.i_n_y, n_y)
        for k, (_, steps) in enumerate(tracks):
            for name, value in steps.items():
                ctx.set(getattr(dut, f"i_{name}{k}"), value)
        ctx.set(dut.i_start, 1)
        await ctx.tick()
        ctx.set(dut.i_start, 0)
        position = mark = 0
        for _ in range(80):
            assert [ctx.get(dut.o_value0), ctx.get(dut.o_value1)] == walk[position]
            step, rewind, commit, restart = (rng.random() < share
                                             for share in (0.8, 0.2, 0.3, 0.1))
            # A walk beyond the last slot would leave the list: go back instead.
            rewind |= position == len(walk) - 1
            ctx.set(dut.i_step, step)
            ctx.set(dut.i_rewind, rewind)
            ctx.set(dut.i_commit, commit)
            ctx.set(dut.i_restart, restart)
            await ctx.tick()
            if step and restart:
                position = mark = 0
            elif step and rewind:
                position = mark
            elif step:
                position += 1
                mark = position if commit else mark
            if step and rewind and rng.random() < 0.3:
                ctx.set(dut.i_step, 0)
                ctx.set(dut.i_start, 1)
                await ctx.tick()
                ctx.set(dut.i_start, 0)
                position = mark = 0

    simulate(dut, testbench)


# AddressGenerator
# -------------------------------------------------------------------------------------------

CONFIG = Config.of(
    groups=2, l1=EngineConfig(rows=3, lanes=5, code_width=8, acc_width=20),
    shift=EngineConfig(rows=3, lanes=7, code_width=4, acc_width=24), pool_lanes=4, burst_depth=8,
    scratch_bytes=4096, index_entries=64)
READ_LATENCY = 3


@dataclass
class Case:
    """A layer: its fields, positions in all slots, index list, and the vectors to expect."""

    fields: dict
    total: int
    index: list
    vectors: list


def post(channels):
    return Post(Step(m_sign=[[1] * channels], m_exponent=[[0] * channels], bias=[0] * channels,
                     shift=[0] * channels, fmt=Format(8)))


def vector(address, row_inside, xb, row_bytes, run_left, lanes):
    """Return an address and what every lane of the vector is."""
    kinds = []
    for lane in range(lanes):
        if lane >= run_left:
            kinds.append("past")
        elif not row_inside or not 0 <= xb + lane < row_bytes:
            kinds.append("border")
        else:
            kinds.append("value")
    return address % (1 << CONFIG.address_width), kinds


def conv_case(batch=4, **changes):
    """Return the instruction of a compiled convolution, walked from the convolution itself."""
    shape, out, kernel, digits = (5, 6, 6), 7, (3, 2), 2
    rng = np.random.default_rng(1)
    sizes = {"stride": (2, 1), "padding": (1, 0, 1, 1), "dilation": (1, 1), "groups": 1} | changes
    sign = rng.integers(-1, 2, (digits, out if sizes["groups"] == 1 else 6, *kernel,
                                shape[2] // sizes["groups"]))
    conv = Conv(name="layer", input="image", term="shift", sign=sign, exponent=np.abs(sign),
                code_width=4, post=post(sign.shape[1]), **sizes)
    graph = Graph("walk", (Input(name="image", shape=shape, fmt=Format(8)), conv), "layer")
    program = compile_graph(graph, CONFIG, batch)
    _, opcode, layer = next(instructions(program.section(Space.PROGRAM), CONFIG))
    fields = flat(layer)
    assert opcode is Opcode.COMPUTE
    slots = program.batch // CONFIG.groups
    height, width, _ = program.output.shape
    pixel, row, (top, left, _, _) = shape[2], shape[1] * shape[2], sizes["padding"]
    (sy, sx), (dy, dx) = sizes["stride"], sizes["dilation"]
    grouped = sizes["groups"] > 1 or dx > 1
    lanes = CONFIG.engines["shift"].lanes
    run = sign.shape[-1] * (1 if grouped else kernel[1])

    def window(slot, y, x, ky, kx, chunk, block):
        iy, xb = y * sy - top + ky * dy, (x * sx - left) * pixel + kx * dx * pixel
        address = (program.input.base + slot * program.input.slot_bytes + iy * row + xb
                   + block * (sign.shape[-1] if sizes["groups"] > 1 else 0) + chunk * lanes)
        return vector(address, 0 <= iy < shape[0], xb + chunk * lanes, row, run - chunk * lanes,
                      CONFIG.read_lanes)

    positions = [(s, y, x) for s in range(slots) for y in range(height) for x in range(width)]
    steps = [(ky, kx, chunk) for ky in range(kernel[0])
             for kx in range(kernel[1] if grouped else 1)
             for chunk in range(-(-run // lanes)) for _ in range(digits)]
    blocks = sizes["groups"] if sizes["groups"] > 1 else -(-out // CONFIG.engines["shift"].rows)
    return Case(fields, len(positions), [], [
        (*window(*position, *step, block), step_number == 0,
         step_number == len(steps) - 1 and number == len(burst) - 1, number)
        for block in range(blocks)
        for burst in split(positions, fields["burst"])
        for step_number, step in enumerate(steps)
        for number, position in enumerate(burst)])


def split(items, size):
    return [items[i:i + size] for i in range(0, len(items), size)]


def permute_case():
    """Return an instruction that gathers positions by an index list."""
    rng = np.random.default_rng(2)
    order = rng.permutation(12)
    graph = Graph("gather", (Input(name="image", shape=(3, 4, 6), fmt=Format(8)),
                             Permute(name="layer", input="image", index=order)), "layer")
    program = compile_graph(graph, CONFIG, 4)
    _, _, layer = next(instructions(program.section(Space.PROGRAM), CONFIG))
    fields = flat(layer)
    index = np.frombuffer(program.section(Space.INDEX), "<u4").tolist()
    base, slot = program.input.base, program.input.slot_bytes
    positions = [(s, int(p)) for s in range(2) for p in order]
    return Case(fields, len(positions), index, [
        (*vector(base + s * slot + p * 6 + block * 4, True, 0, 99, 4, CONFIG.read_lanes),
         True, number == len(burst) - 1, number)
        for block in range(2) for burst in split(positions, fields["burst"])
        for number, (s, p) in enumerate(burst)])


CASES = {
    "padded": lambda: conv_case(batch=3),
    "dilated": lambda: conv_case(dilation=(2, 3), padding=(1, 2, 2, 1)),
    "one_image": lambda: conv_case(batch=1),
    "depthwise": lambda: conv_case(batch=1, groups=6), "grouped": lambda: conv_case(groups=2),
    "gathered": permute_case,
}


def run_feeder(case, freeze, drain_cycles, layers=1):
    """Return (vectors as in `Case`, banks, swaps, cycles in which it waited for a bank)."""
    dut = AddressGenerator(CONFIG, READ_LATENCY)
    rng = random.Random(7)
    seen, banks, swaps, waits = [], [], [], 0

    async def testbench(ctx):
        nonlocal waits
        ctx.set(dut.i_run, run_value(dut.i_run, case.fields, case.total))
        ctx.set(dut.i_stored, 1)
        for _ in range(layers):
            ctx.set(dut.i_run.start, 1)
            await ctx.tick()
            ctx.set(dut.i_run.start, 0)
            addresses, was_swap, wanted = [], False, len(seen) + len(case.vectors)
            drains = []  # countdowns of banks that are being emptied
            while len(seen) < wanted or drains:
                advance = rng.random() >= freeze
                freed = bool(drains) and drains[0] == 0
                drains = [max(0, d - 1) for d in drains[freed:]]
                ctx.set(dut.i_advance, advance)
                ctx.set(dut.i_freed, freed)
                _, _, index, address, token, swap, ahead, wait, *masks = await ctx.tick().sample(
                    dut.o_index_address, dut.o_address, dut.o_token, dut.o_swap,
                    dut.o_swap_ahead, dut.o_wait_bank,
                    dut.o_border_left, dut.o_border_from, dut.o_run_left)
                assert ctx.get(dut.o_swap) == ahead
                waits += wait
                if not advance:
                    continue
                if case.index:
                    ctx.set(dut.i_index_data, case.index[index % len(case.index)])
                addresses = [*addresses[-READ_LATENCY:], address]
                if token.valid:
                    left, right, run = masks
                    kinds = ["past" if lane >= run else
                             "border" if lane < left or lane >= right else "value"
                             for lane in range(CONFIG.read_lanes)]
                    seen.append((addresses[0], kinds, bool(token.clear), bool(token.last),
                                 token.position))
                    banks.append(token.bank)
                    swaps.append(was_swap)
                    if token.last:
                        drains.append(drain_cycles)
                else:
                    assert not was_swap
                was_swap = bool(swap)
            assert not ctx.get(dut.o_busy)

    simulate(dut, testbench)
    return seen, banks, swaps, waits


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_those_of_the_windows(name):
    case = CASES[name]()
    seen, banks, swaps, waits = run_feeder(case, freeze=0, drain_cycles=0)
    assert seen == case.vectors
    assert waits == 0
    # The bank changes after the last vector of a burst; weights switch at a step's first one.
    bursts = np.cumsum([0] + [last for *_, last, _ in case.vectors][:-1])
    assert banks == (bursts % 2).tolist()
    assert swaps == [position == 0 for *_, position in case.vectors]


@pytest.mark.parametrize("name", ["padded", "gathered"])
def test_freezing_changes_nothing(name):
    case = CASES[name]()
    free = run_feeder(case, freeze=0, drain_cycles=0)
    assert run_feeder(case, freeze=0.4, drain_cycles=3)[:3] == free[:3]


def test_a_burst_waits_for_a_free_bank():
    case = CASES["gathered"]()
    free = run_feeder(case, freeze=0, drain_cycles=0)
    seen, banks, swaps, waits = run_feeder(case, freeze=0, drain_cycles=60)
    assert (seen, banks, swaps) == free[:3]
    assert waits > 60


def test_the_next_layer_starts_from_its_own_beginning():
    case = CASES["one_image"]()
    seen, banks, _, _ = run_feeder(case, freeze=0, drain_cycles=0, layers=2)
    assert seen == case.vectors * 2
    bursts = sum(last for *_, last, _ in case.vectors)
    assert banks[len(case.vectors)] == bursts % 2  # banks alternate over layers too


@pytest.mark.parametrize("early", [0, 1])
def test_the_first_burst_of_an_early_layer_waits_for_the_tail_only(early):
    case = CASES["padded"]()
    dut = AddressGenerator(CONFIG, READ_LATENCY)

    async def testbench(ctx):
        ctx.set(dut.i_run, run_value(dut.i_run, case.fields | {"early": early}, case.total,
                                     start=1))
        ctx.set(dut.i_advance, 1)
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)

        async def issued(cycles=200):
            count = 0
            for _ in range(cycles):
                count += ctx.get(dut.o_vector)
                assert ctx.get(dut.o_vector) + ctx.get(dut.o_wait_layer) == 1
                await ctx.tick()
            return count

        assert await issued() == 0
        ctx.set(dut.i_tail, 1)
        steps = sum(position == 0 for *_, position in case.vectors)
        bursts = sum(last for *_, last, _ in case.vectors)
        assert await issued() == early * case.fields["burst"] * steps // bursts
        ctx.set(dut.i_tail, 0)
        ctx.set(dut.i_stored, 1)
        assert ctx.get(dut.o_vector)

    simulate(dut, testbench)


def test_layer_fields_are_set_by_the_compiler():
    assert set(conv_case().fields) == set(RECORD_OF)

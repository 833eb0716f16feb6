"""Weight fetch and loader: order of words, back-pressure, hand-over of steps."""

import random

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.control.stages import Stages
from pyhw.hdl.weights.fetch import WeightFetch
from tests.support.helpers import simulate, take, tells_ahead
from tests.support.records import run_value

CONFIG = Config.of(
    l1=EngineConfig(rows=3, lanes=5, code_width=8, acc_width=20),
    shift=EngineConfig(rows=2, lanes=6, code_width=4, acc_width=20), pool_lanes=7, load_bits=16)
LAYER = {
    "n_digits": 2, "n_chunks": 3, "n_kx": 1, "n_ky": 2, "n_blocks": 3, "burst": 4,
    "pad_words": 1, "code_words": 4, "w_base": 70,
}
STEPS = 12


def expected_addresses(layer, total):
    """Every burst of a block reads the block's words once more."""
    steps = layer["n_digits"] * layer["n_chunks"] * layer["n_kx"] * layer["n_ky"]
    block_words = steps * (layer["pad_words"] + layer["code_words"])
    bursts = -(-total // layer["burst"])
    return [layer["w_base"] + block * block_words + word for block in range(layer["n_blocks"])
            for _ in range(bursts) for word in range(block_words)]


def memory(dut):
    """Return a synchronous memory whose words are ``7 * address``, read through a port of `dut`."""
    async def testbench(ctx):
        while True:
            _, _, enable, address = await ctx.tick().sample(dut.o_enable, dut.o_address)
            if enable:
                ctx.set(dut.i_data, 7 * address & 0xFFFF)
    return testbench


def check_fetch(config, layer, total, expected, stall):
    """Fetch a layer's words twice, and compare them with those at the expected addresses."""
    dut, words = WeightFetch(config), []

    async def start(ctx):
        for repeat in range(2):
            ctx.set(dut.i_run, run_value(dut.i_run, layer, total, start=1))
            await ctx.tick()
            ctx.set(dut.i_run.start, 0)
            while len(words) < (repeat + 1) * len(expected):
                await ctx.tick()
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.o_stream.valid)

    async def sink(ctx):
        await take(ctx, dut.o_stream, words.append, stall=stall)

    simulate(dut, start, background=[sink, memory(dut), tells_ahead(dut)])
    assert words == [7 * address & 0xFFFF for address in expected * 2]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("total", [1, 4, 9])
@pytest.mark.parametrize("changes", [
    {}, {"n_blocks": 1, "code_words": 1, "pad_words": 0},
    {"n_digits": 1, "n_chunks": 1, "n_ky": 1}, {"n_kx": 3, "n_ky": 1, "pad_words": 0},
], ids=str)  # fmt: skip
def test_fetch_reads_the_words_of_every_burst_in_order(stall, total, changes):
    layer = LAYER | changes
    expected = expected_addresses(layer, total)
    check_fetch(CONFIG, layer, total, expected, stall)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("first", "block_bits", "last_bits"), [
    (0, 16, 16), (5, 25, 9), (15, 1, 2), (3, 13, 40), (7, 3, 3), (0, 100, 1),
])  # fmt: skip
def test_fetch_reads_the_words_that_hold_a_masked_blocks_bits(first, block_bits, last_bits, stall):
    config, total, expected = CONFIG.changed(prototypes=4), 9, []
    layer = LAYER | {"masked": 1, "mask_bit": first, "block_bits": block_bits,
                     "last_bits": last_bits, "pad_words": 0, "n_blocks": 4}
    bit = 70 * 16 + first
    for size in (block_bits, block_bits, block_bits, last_bits):
        expected += [*range(bit // 16, (bit + size - 1) // 16 + 1)] * 3  # 4 + 4 + 1 positions
        bit += size
    check_fetch(config, layer, total, expected, stall)


def test_fetch_has_nothing_to_do_for_a_layer_without_words():
    dut = WeightFetch(CONFIG)

    async def testbench(ctx):
        layer = LAYER | {"pad_words": 0, "code_words": 0}
        ctx.set(dut.i_run, run_value(dut.i_run, layer, 5, start=1))
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)
        for _ in range(10):
            assert not ctx.get(dut.o_stream.valid | dut.o_enable)
            await ctx.tick()

    simulate(dut, testbench)


async def feed_ahead(ctx, dut, words, gap, seed=1):
    """Send words with random gaps, and tell of each a cycle before it is there."""
    rng, words = random.Random(seed), list(words)
    while words:
        held = ctx.get(dut.i_stream.valid) and not ctx.get(dut.i_stream.ready)
        if ctx.get(dut.i_stream.valid) and not held:
            words.pop(0)
        comes = bool(words) and (held or rng.random() >= gap)
        ctx.set(dut.i_ahead, comes)
        await ctx.tick()
        ctx.set(dut.i_stream.valid, comes)
        if comes:
            ctx.set(dut.i_stream.payload, words[0])


def run_loader(engine, pad_words, code_words, *, gap, idle, steps=8, bits=16, overlap=True):
    """Load `steps` steps, take each when ready or later; return what the ports showed of them."""
    config = CONFIG.changed(load_bits=bits, overlap=overlap)
    dut = Stages(config).loader(config)
    rng = random.Random(2)
    words = [[rng.getrandbits(bits) for _ in range(pad_words + code_words)] for _ in range(steps)]
    port, other = dut.o_l1, dut.o_shift
    if engine == "shift":
        port, other = other, port
    loaded, current, swaps, cycles = [], [], [], 0

    async def source(ctx):
        await ctx.tick().repeat(2)
        await feed_ahead(ctx, dut, [word for step in words for word in step], gap)

    async def takes(ctx):
        nonlocal current, cycles
        ctx.set(dut.i_terms.engine, CONFIG.number(engine))
        ctx.set(dut.i_operand, {"pad_words": pad_words, "code_words": code_words})
        # The next step is asked for all the time: what is not ready holds it.
        ctx.set(dut.i_swap, 1)
        ctx.set(dut.i_swap_ahead, 1)
        await ctx.tick().repeat(2)
        taken = False
        while len(loaded) < steps:
            wanted = rng.random() >= idle
            # As the datapath does: the step is taken in a cycle in which it is ready.
            ready = ctx.get(dut.o_ready)
            ctx.set(dut.i_take, wanted and ready)
            _, _, load, quiet, swap = await ctx.tick().sample(port, other.valid, dut.o_swap)
            assert ctx.get(dut.o_hold) == (not ctx.get(dut.o_ready))
            cycles += 1
            assert not quiet
            assert swap == taken
            taken = bool(wanted and ready)
            if load.valid:
                current.append((load.index, load.word))
            if taken:
                loaded.append((current, ctx.get(dut.o_pad)))
                current = []
        ctx.set(dut.i_take, 0)
        await ctx.tick()
        swaps.append(ctx.get(dut.o_swap))

    simulate(dut, source, takes)  # the words of a cycle are there before it is looked at
    return words, loaded, cycles


@pytest.mark.parametrize(("gap", "idle"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.4)])
@pytest.mark.parametrize("engine", ["l1", "shift"])
@pytest.mark.parametrize(("pad_words", "code_words"), [(4, 3), (0, 3), (0, 1), (4, 1)])
@pytest.mark.parametrize(("bits", "overlap"), [(16, True), (18, True), (16, False)])
def test_loader_hands_over_whole_steps(engine, pad_words, code_words, gap, idle, bits, overlap):
    words, loaded, _ = run_loader(engine, pad_words, code_words, gap=gap, idle=idle, bits=bits,
                                  overlap=overlap)
    for step, (codes, pad) in zip(words, loaded, strict=True):
        assert codes == list(enumerate(step[pad_words:]))
        # 7 lanes of a byte in 4 words of two bytes: the last byte is not used.
        pads = sum((word & 0xFFFF) << 16 * k for k, word in enumerate(step[:pad_words]))
        assert pad == pads & (1 << 56) - 1


def test_loader_takes_a_word_a_cycle():
    _, _, cycles = run_loader("l1", 4, 3, gap=0, idle=0, steps=10)
    assert cycles <= 10 * 7 + 3


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_pad_words_without_codes_are_steps_of_their_own(gap, overlap):
    words, loaded, _ = run_loader("l1", 4, 0, gap=gap, idle=0.3, overlap=overlap)
    for step, (codes, pad) in zip(words, loaded, strict=True):
        assert codes == []
        assert pad == sum(word << 16 * k for k, word in enumerate(step)) & (1 << 56) - 1


def test_loader_is_always_ready_without_words_and_then_pads_with_0():
    dut = Stages(CONFIG).loader(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.i_terms.engine, CONFIG.number("pool"))
        ctx.set(dut.i_operand, {"pad_words": 4})
        await ctx.tick().repeat(2)
        for word in range(4):
            ctx.set(dut.i_stream.valid, 1)
            ctx.set(dut.i_stream.payload, 0x1111 * (word + 1))
            await ctx.tick()
        ctx.set(dut.i_stream.valid, 0)
        assert ctx.get(dut.o_ready)
        ctx.set(dut.i_take, 1)
        await ctx.tick()
        assert ctx.get(dut.o_pad) == 0x44_3333_2222_1111
        assert not ctx.get(dut.o_ready)
        ctx.set(dut.i_take, 0)
        ctx.set(dut.i_operand, {})
        await ctx.tick()
        assert ctx.get(dut.o_ready)
        ctx.set(dut.i_take, 1)
        await ctx.tick()
        assert ctx.get(dut.o_pad) == 0
        assert ctx.get(dut.o_ready)

    simulate(dut, testbench)

"""A whole accelerator in Amaranth's simulator: a hand-assembled program over tiles of a map."""

import random
from types import SimpleNamespace

import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.frames import State
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import Counter, Opcode, Space, param_layout
from pyhw.hdl.records import Instruction
from pyhw.hdl.top.accelerator import Accelerator
from pyhw.host import Protocol, drive_async
from pyhw.host.link import DeviceError
from tests.support.helpers import feed, simulate, take

CONFIG = Config.of(
    groups=2, l1=EngineConfig(rows=2, lanes=2, code_width=8, acc_width=12), pool_lanes=2,
    burst_depth=4, load_bits=16, residual_terms=0, second_step=False, tables=0, scratch_bytes=128,
    weight_words=8, param_records=4, program_words=256, max_payload=64)
TILES, TILE = 3, 6
"""Tiles of an image, bytes of a tile: 3 positions of 2 channels."""
IN, COPY, OUT, LAST = 0, 30, 60, 90
WEIGHTS = [[10, 200], [90, 5]]
RECORDS = [{"bias": 1, "shift": 1, "m0_exponent": 0},
           {"bias": 200, "shift": 0, "m0_exponent": 0, "m0_negative": 1},
           {"bias": 500, "shift": 1, "m0_exponent": 0},
           {"bias": 700, "shift": 2, "m0_exponent": 1}]


def layer(**fields):
    """Return an instruction over 3 positions of 2 channels, 1x1 windows."""
    return instruction(CONFIG).encode(Instruction.of(**{
        "opcode": Opcode.COMPUTE.value, "n_x": 3, "n_y": 1, "n_xy": 3, "n_slots": 1, "burst": 2,
        "in_x": 2, "row_bytes": 6, "in_rows": 1, "n_digits": 1, "n_chunks": 1, "chunk_bytes": 2,
        "run_bytes": 2, "n_kx": 1, "n_ky": 1, "n_blocks": 1, "block_rows": 2, "rows": 2,
        "out_x": 2, "out_vector": 1, "u_width": 8} | fields))


POOL = {"engine": CONFIG.number("pool"), "param_base": 0}
L1 = {"engine": CONFIG.number("l1"), "code_words": 2, "w_base": 3, "param_base": 2}
PROGRAM = b"".join([
    # Tiles are copied last one first; the convolution reads the image again, from front to back.
    *(layer(**kind, in_base=IN + TILE * tile, out_base=base + TILE * (TILES - 1 - tile))
      for tile in range(TILES) for kind, base in ((POOL, COPY), (L1, OUT))),
    layer(**POOL, in_base=OUT, out_base=LAST),
    Opcode.END.value.to_bytes(4, "little"),
])


def pooled(pixel):
    return [min(max((pixel[0] + 1) >> 1, 0), 255), min(max(200 - pixel[1], 0), 255)]


def convolved(pixel):
    values = [sum(2 * min(x, w) - x for x, w in zip(pixel, row)) for row in WEIGHTS]
    return [min(max((values[0] + 500) >> 1, 0), 255), min(max((2 * values[1] + 700) >> 2, 0), 255)]


def expected(image):
    """Return the memory's contents by base, as plain loops make them."""
    def tiles(function):
        pixels = [image[k:k + 2] for k in range(0, len(image), 2)]
        made = [function(pixel) for pixel in pixels]
        parts = [made[k:k + 3] for k in range(0, len(made), 3)][::-1]
        return bytes(value for part in parts for pixel in part for value in pixel)
    out = tiles(convolved)
    first = [out[k:k + 2] for k in range(0, TILE, 2)]
    return {COPY: tiles(pooled), OUT: out,
            LAST: bytes(value for pixel in first for value in pooled(pixel))}


def program(config):
    """Return the program as `Protocol.load_program` takes it."""
    layout = param_layout(config)
    no_terms = {name: field.high for name, field in layout.fields.items()
                if name.endswith("_exponent")}
    codes = bytes(weight for row in WEIGHTS for weight in row)
    records = b"".join(layout.encode(**no_terms | record) for record in RECORDS)
    return SimpleNamespace(config_hash=config.hash, sections=[
        (Space.PROGRAM, 0, PROGRAM), (Space.WEIGHTS, 3, codes), (Space.PARAMS, 0, records)])


class Host:
    """The transport of `drive_async` over the accelerator's byte streams."""

    def __init__(self, ctx, dut, received):
        self.ctx, self.dut, self.received = ctx, dut, received

    async def send(self, data):
        await feed(self.ctx, self.dut.rx, data)

    async def receive(self, timeout_s):
        for _ in range(int(timeout_s * 1e6)):
            if self.received:
                break
            await self.ctx.tick()
        data = bytes(self.received)
        self.received.clear()
        return data


def run_accelerator(test, config=CONFIG):
    """Load the program and two images, then run ``await test(do)``; return what memory holds."""
    dut, received, memory = Accelerator(config), bytearray(), []
    images = [random.Random(seed).randbytes(TILES * TILE) for seed in range(2)]

    async def testbench(ctx):
        protocol, host = Protocol(config, timeout_s=4e-3), Host(ctx, dut, received)

        async def do(name, *arguments, **options):
            return await drive_async(getattr(protocol, name)(*arguments, **options), host)

        do.ctx = ctx
        assert (await do("identify")).hash == config.hash
        await do("load_program", program(config))
        for group, image in enumerate(images):
            await do("write", group, IN, image)
        await test(do)
        for group in range(2):
            memory.append({base: await do("read", Space.SCRATCH, group << 24 | base, size)
                           for base, size in ((COPY, 18), (OUT, 18), (LAST, 6))})

    async def sink(ctx):
        await take(ctx, dut.tx, received.append)

    simulate(dut, testbench, background=[sink])
    assert memory == [expected(image) for image in images]


def test_counters_may_be_left_out():
    async def test(do):
        await do("run")
        assert await do("wait", 1.0) == 2 * TILES + 1
        assert await do("counters") == {}
        with pytest.raises(DeviceError, match="the address is outside the memory"):
            await do("read", Space.COUNTERS, 0, 8)

    run_accelerator(test, CONFIG.changed(counted_layers=0))


def test_layers_move_over_the_tiles_of_a_map():
    async def test(do):
        await do("run")
        assert await do("wait", 1.0) == 2 * TILES + 1
        assert await do("status") == (State.IDLE, 2 * TILES + 1)
        counters = await do("counters")
        assert counters[Counter.LAYERS] == 2 * TILES + 1
        assert counters[Counter.RESULTS] == (2 * TILES + 1) * 3 * 2 * 2
        assert counters[Counter.VECTORS] == (2 * TILES + 1) * 3
        assert counters[Counter.CYCLES] > counters[Counter.FETCH] > 0

    run_accelerator(test)


def test_a_run_that_stops_between_layers_goes_on_there():
    async def test(do):
        for number, layers in enumerate((1, 2, 3, 0)):
            await do("run", layers=layers, resume=number > 0)
            assert await do("wait", 1.0) == (1, 3, 6, 7)[number]

    run_accelerator(test, CONFIG.changed(distributed=False, single_port=True))


def test_a_reset_anywhere_in_a_run_leaves_nothing_on_its_way_into_the_next_one():
    async def test(do):
        for cycles in range(5, 120, 23):
            await do("run")
            await do.ctx.tick().repeat(cycles)
            await do("reset")
            assert (await do("status"))[0] is State.IDLE
        await do("run")
        assert await do("wait", 1.0) == 2 * TILES + 1

    run_accelerator(test)

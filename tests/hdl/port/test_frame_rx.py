import random

import pytest
from amaranth.sim import Simulator

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.frames import Status
from pyhw.hdl.port.frame_rx import FrameRx
from pyhw.host import encode
from tests.support.helpers import feed, take

CONFIG = Config.of(l1=EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16), max_payload=64,
                frame_timeout=50)


def simulate(bench, *, gap=0.0, stall=0.0, config=CONFIG):
    """Run a bench that feeds bytes; return frames as (status, sequence, opcode, payload)."""
    dut = FrameRx(config)
    frames = []

    async def source(ctx):
        async def send(raw):
            await feed(ctx, dut.i, raw, gap=gap)
        await bench(ctx, send)
        await ctx.tick().repeat(200)

    async def sink(ctx):
        generator = random.Random(3)
        while True:
            _, _, valid, header = await ctx.tick().sample(dut.o_frame.valid, dut.o_frame.payload)
            if not valid:
                continue
            payload = []
            await take(ctx, dut.o_payload, payload.append, count=header.length, stall=stall)
            while generator.random() < stall:
                await ctx.tick()
            ctx.set(dut.o_frame.ready, 1)
            await ctx.tick()
            ctx.set(dut.o_frame.ready, 0)
            frames.append((Status(header.status), header.sequence, header.opcode, bytes(payload)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink, background=True)
    simulator.run()
    return frames


def sending(*parts):
    async def bench(ctx, send):
        for part in parts:
            if isinstance(part, int):
                await ctx.tick().repeat(part)
            else:
                await send(part)
    return bench


SILENCE = CONFIG.port.frame_timeout + 5


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3)])
def test_frames_arrive_whole_and_in_order(gap, stall):
    generator = random.Random(7)
    frames = [(k, generator.randrange(256), generator.randbytes(size))
              for k, size in enumerate([0, 1, 2, 64, 63, 0, 0, 31, 64, 64, 5])]
    got = simulate(sending(b"".join(encode(*f) for f in frames)), gap=gap, stall=stall)
    assert got == [(Status.OK, *f) for f in frames]


def test_the_header_tells_whether_the_last_good_frame_was_the_same():
    dut = FrameRx(CONFIG)
    one, bad, other = encode(1, 2, b"abc"), encode(1, 2, b"abc")[:-1] + b"!", encode(2, 2, b"abc")
    raws = [(one, 0), (one, 1), (bad, None), (one, 1), (other, 0), (one, 0), (one, 1)]

    async def bench(ctx):
        for raw, again in raws:
            await feed(ctx, dut.i, raw)
            await ctx.tick().until(dut.o_frame.valid)
            if again is not None:
                assert ctx.get(dut.o_frame.payload.again) == again
            ctx.set(dut.o_frame.ready, 1)
            await ctx.tick()
            ctx.set(dut.o_frame.ready, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_second_frame_is_received_while_the_first_is_held_and_a_third_waits():
    dut = FrameRx(CONFIG)

    async def bench(ctx):
        await feed(ctx, dut.i, encode(1, 1, bytes(range(64))))
        await feed(ctx, dut.i, encode(2, 2, bytes(range(64, 128))))
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready)
        assert ctx.get(dut.o_pending)
        for sequence in (1, 2):
            assert ctx.get(dut.o_frame.valid)
            assert ctx.get(dut.o_frame.payload.sequence) == sequence
            ctx.set(dut.o_frame.ready, 1)
            await ctx.tick()
            ctx.set(dut.o_frame.ready, 0)
            assert not ctx.get(dut.o_frame.valid)
            assert ctx.get(dut.i.ready) or sequence == 1
            await ctx.tick()
        assert not ctx.get(dut.o_frame.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


GOOD = encode(9, 1, b"payload")
OK = (Status.OK, 9, 1, b"payload")


def flip(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]


def test_every_damaged_byte_is_noticed():
    places = [at for at in range(3, len(GOOD)) if at not in (5, 6)]  # the length: see truncation
    got = simulate(sending(*(part for at in places for part in (flip(GOOD, at), SILENCE, GOOD))))
    assert got == [frame for at in places for frame in (
        (Status.BAD_CRC, GOOD[3] ^ (at == 3), GOOD[4] ^ (at == 4), b""), OK)]


def test_bad_version_is_answered_at_once_without_a_sequence_number():
    [first, second] = simulate(sending(flip(GOOD, 2), GOOD))
    assert first[:2] == (Status.BAD_VERSION, 0)
    assert second == OK


def test_a_length_above_the_buffer_is_refused_at_once():
    raw = encode(9, 1, bytes(65))
    [first, second] = simulate(sending(raw, GOOD))
    assert first[:2] == (Status.BAD_LENGTH, 9)
    assert second == OK


def test_a_frame_truncated_anywhere_ends_after_the_timeout():
    cuts = range(2, len(GOOD))
    got = simulate(sending(*(part for cut in cuts for part in (GOOD[:cut], SILENCE, GOOD))))
    assert [frame[:2] for frame in got[::2]] == [
        (Status.TRUNCATED, 9 if cut > 3 else 0) for cut in cuts]
    assert got[1::2] == [OK] * len(cuts)


def test_pauses_below_the_timeout_are_harmless():
    parts = [part for byte in GOOD for part in (bytes([byte]), CONFIG.port.frame_timeout - 3)]
    assert simulate(sending(*parts)) == [OK]


@pytest.mark.parametrize("cut", [2, 4, 7, 9, len(GOOD) - 1])
def test_a_frame_is_dropped_after_exactly_the_cycles_of_its_timeout(cut):
    # The byte that comes in the last of them still belongs to the frame.
    timeout = CONFIG.port.frame_timeout
    assert simulate(sending(GOOD[:cut], timeout - 1, GOOD[cut:])) == [OK]
    got = simulate(sending(GOOD[:cut], timeout, GOOD[cut:], SILENCE, GOOD))
    assert (got[0][0], got[-1]) == (Status.TRUNCATED, OK)
    assert OK not in got[:-1]


def test_a_byte_that_lies_on_an_idle_bus_is_no_start_of_a_frame():
    # The last byte, a5, stays on the bus without being offered; then 5a and the rest come.
    frame = encode(0xA5, 3, b"after")
    assert frame[3] == 0xA5
    got = simulate(sending(frame[:4], SILENCE, GOOD[1:], SILENCE))
    assert [status for status, *_ in got] == [Status.TRUNCATED]
    # One that gives an error away is.
    assert simulate(sending(frame[:2] + b"\xa5", GOOD[1:]))[-1] == OK


def test_bytes_outside_frames_are_skipped():
    noise = bytes(b for b in range(256) if b != 0xA5) + b"\xa5" + b"\x00" + b"\xa5\xa5"
    assert simulate(sending(noise, GOOD, noise, 3 * SILENCE, GOOD)) == [OK, OK]


def test_a_sync_inside_a_bad_start_is_found():
    assert simulate(sending(b"\xa5\x5a", GOOD))[-1] == OK
    assert simulate(sending(b"\xa5\x5a\x00", GOOD))[-1] == OK


def test_after_any_garbage_and_silence_a_frame_is_received():
    generator = random.Random(11)
    parts, count = [], 40
    for _ in range(count):
        size = generator.randint(0, 80)
        if generator.random() < 0.5:
            garbage = bytes(generator.choice((0xA5, 0x5A, 1, 0, 200)) for _ in range(size))
        else:
            garbage = bytearray(GOOD * 3)
            for _ in range(generator.randint(1, 5)):
                garbage[generator.randrange(len(garbage))] = generator.randrange(256)
            garbage = bytes(garbage[:size])
        parts += [garbage, SILENCE, encode(77, 3, b"after")]
    got = simulate(sending(*parts), stall=0.1)
    assert got.count((Status.OK, 77, 3, b"after")) == count
    assert all(f[0] is Status.OK or f[3] == b"" for f in got)

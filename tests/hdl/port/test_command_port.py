import gc
import random
import warnings
import zlib

import pytest

from pyhw.hdl.config import ISA_VERSION, Config, EngineConfig
from pyhw.hdl.contents import Contents
from pyhw.hdl.frames import FRAME_ERROR, Command, State, Status
from pyhw.hdl.isa import Space, space_bytes, space_depth
from pyhw.hdl.port.command_port import CommandPort
from pyhw.host import DeviceError, Protocol, encode
from pyhw.host.frames import pack
from tests.support.helpers import feed
from tests.support.port_bench import CONFIG, simulate

HASH = int.from_bytes(CONFIG.hash, "little")
OK = (Status.OK, b"")
SILENCE = CONFIG.port.frame_timeout + 5


def refused(status):
    return (status, b"")


class Program:
    config_hash = CONFIG.hash
    sections = [
        (space, first, random.Random(first).randbytes(words * space_bytes(CONFIG, space)))
        for space, first, words in [
            (Space.PROGRAM, 0, 20), (Space.WEIGHTS, 3, 16), (Space.PARAMS, 0, 4),
            (Space.TABLES, 100, 70), (Space.INDEX, 1, 5), (Space.INPUT, 0, 1)]]


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.4, 0), (0, 0.4), (0.2, 0.2)])
def test_a_whole_session(gap, stall):
    image = random.Random(4).randbytes(70)
    scratch = random.Random(5).randbytes(70)

    async def test(host):
        protocol, device = host.protocol, host.device
        identity = await host.do(protocol.identify())
        assert (identity.isa, identity.hash, identity.groups, identity.max_payload) == (
            ISA_VERSION, CONFIG.hash, 2, 64)
        assert await host.do(protocol.status()) == (State.NO_PROGRAM, 0x1234)
        await host.do(protocol.load_program(Program))
        for space, first, raw in Program.sections:
            start = first * space_bytes(CONFIG, space)
            assert device.memory[space] == dict(enumerate(raw, start)), space
        assert await host.do(protocol.status()) == (State.IDLE, 0x1234)
        await host.do(protocol.write_images([(0, 5, image), (1, 250, image[:9])]))
        assert device.images == [(0, 5, image), (1, 250, image[:9])]
        await host.do(protocol.run(layers=3, count=7, resume=True))
        assert device.runs == [(1, 3, 7)]
        assert await host.do(protocol.status()) == (State.RUNNING, 0x1234)
        await host.do(protocol.write(1, 100, scratch))
        assert await host.do(protocol.read(Space.SCRATCH, 1 << 24 | 100, 70)) == scratch
        assert await host.do(protocol.wait()) == 0x1234
        device.memory[Space.COUNTERS] = {k: k for k in range(64)}
        assert await host.do(protocol.read(Space.COUNTERS, 0, 64)) == bytes(range(64))

    simulate(test, gap=gap, stall=stall, run_cycles=300)


def test_lanes_and_words_go_up_in_order():
    device = simulate(lambda host: host.do(host.protocol.load_program(Program)))
    for space, first, raw in Program.sections:
        size = space_bytes(CONFIG, space)
        assert [w[1:] for w in device.writes if w[0] is space] == [
            (first + k // size, k % size, byte) for k, byte in enumerate(raw)]


def test_a_byte_a_cycle():
    """16 frames back to back: reception hides execution and replies."""
    frames = b"".join(
        encode(k, Command.WRITE.value, pack(Command.WRITE, bytes(59), space=0, address=0))
        for k in range(16))

    async def test(host):
        await host.send(frames)
        for _ in range(16):
            assert (await host.reply()).payload == b"\0"
        assert host.device.cycles < len(frames) + 2 * 16 + 120

    simulate(test)


# What a single command is answered, in a device without a program.
WITHOUT_PROGRAM = [
    ("write outside a load", Status.OUT_OF_ORDER,
     pack(Command.WRITE, bytes(4), space=1, address=0), Command.WRITE),
    ("commit without begin", Status.OUT_OF_ORDER, pack(Command.COMMIT, crc=0), Command.COMMIT),
    ("image", Status.NO_PROGRAM, pack(Command.IMAGE, group=0, base=0, offset=0), Command.IMAGE),
    ("run", Status.NO_PROGRAM, pack(Command.RUN, flags=0, layers=0, count=1), Command.RUN),
    ("other configuration", Status.WRONG_CONFIG, pack(Command.BEGIN, hash=HASH ^ 1 << 63),
     Command.BEGIN),
    ("short begin", Status.BAD_LENGTH, bytes(7), Command.BEGIN),
    ("long reset", Status.BAD_LENGTH, bytes(1), Command.RESET),
    ("short write", Status.BAD_LENGTH, bytes(4), Command.WRITE),
    ("write to the counters", Status.OUT_OF_RANGE,
     pack(Command.WRITE, bytes(1), space=7, address=0), Command.WRITE),
    ("write to no space", Status.OUT_OF_RANGE,
     pack(Command.WRITE, bytes(1), space=200, address=0), Command.WRITE),
    ("read of a program memory", Status.OUT_OF_RANGE,
     pack(Command.READ, space=1, address=0, length=4), Command.READ),
    ("read of no space", Status.OUT_OF_RANGE,
     pack(Command.READ, space=16, address=0, length=4), Command.READ),
    ("read past the end", Status.OUT_OF_RANGE,
     pack(Command.READ, space=0, address=250, length=7), Command.READ),
    ("read of a missing group", Status.OUT_OF_RANGE,
     pack(Command.READ, space=0, address=2 << 24, length=1), Command.READ),
    ("read past the counters", Status.OUT_OF_RANGE,
     pack(Command.READ, space=7, address=124, length=5), Command.READ),
    ("read of counters in a group", Status.OUT_OF_RANGE,
     pack(Command.READ, space=7, address=1 << 24, length=5), Command.READ),
    ("read of more than a reply holds", Status.BAD_LENGTH,
     pack(Command.READ, space=0, address=0, length=64), Command.READ),
    ("read of far more", Status.BAD_LENGTH,
     pack(Command.READ, space=0, address=0, length=1 << 13), Command.READ),
]


def test_refusals_have_no_effect():
    async def test(host):
        for k, (name, status, payload, command) in enumerate(WITHOUT_PROGRAM):
            assert await host.ask(encode(k, command.value, payload)) == (status, b""), name
        assert await host.ask(encode(99, 9)) == (Status.UNKNOWN_COMMAND, b"")
        assert await host.ask(encode(100, 0xFF)) == (Status.UNKNOWN_COMMAND, b"")
        assert await host.do(host.protocol.status()) == (State.NO_PROGRAM, 0x1234)

    device = simulate(test)
    assert (device.writes, device.images, device.runs, device.resets) == ([], [], [], 0)


def test_replies_echo_sequence_and_opcode():
    async def test(host):
        for sequence, opcode in ((0, 0), (255, 6), (7, 8), (8, 77)):
            await host.send(encode(sequence, opcode, b"\0" if opcode == 6 else b""))
            frame = await host.reply()
            assert (frame.sequence, frame.opcode) == (sequence, opcode | 0x80)

    simulate(test)


@pytest.mark.parametrize("space", [s for s in Space if s is not Space.COUNTERS])
def test_a_write_must_end_inside_its_memory(space):
    size, depth = space_bytes(CONFIG, space), space_depth(CONFIG, space)

    async def test(host):
        await host.command(Command.BEGIN, hash=HASH)
        async def write(address, length):
            return await host.command(Command.WRITE, bytes(length), space=space.value,
                                      address=address)
        assert await write(depth - 1, size) == OK
        assert await write(depth, 0) == OK
        written = len(host.device.writes)
        for address, length in ((depth, size), (depth - 1, 2 * size), (depth + 1, 0),
                                (0xFFFFFFFF, size), (1 << 31, size), (3 << 24, size)):
            assert await write(address, length) == refused(Status.OUT_OF_RANGE), address
        if size > 1:
            assert await write(0, size + 1) == refused(Status.BAD_LENGTH)
            assert await write(0, size - 1) == refused(Status.BAD_LENGTH)
        assert len(host.device.writes) == written == size

    simulate(test)


def test_scratch_groups_have_their_own_range():
    async def test(host):
        async def write(group, address):
            return await host.command(Command.WRITE, b"xy", space=0, address=group << 24 | address)
        assert await write(1, 254) == OK
        assert await write(1, 255) == refused(Status.OUT_OF_RANGE)
        assert await write(2, 0) == refused(Status.OUT_OF_RANGE)

    device = simulate(test)
    assert device.writes == [(Space.SCRATCH, 1 << 24 | 254, 0, ord("x")),
                             (Space.SCRATCH, 1 << 24 | 255, 0, ord("y"))]


def test_a_program_is_valid_only_after_the_right_checksum():
    words = pack(Command.WRITE, b"1234", space=1, address=0)

    async def test(host):
        async def state():
            return (await host.do(host.protocol.status()))[0]
        await host.load()
        assert await state() is State.IDLE
        # Another configuration leaves everything as it was.
        assert await host.command(Command.BEGIN, hash=0) == refused(Status.WRONG_CONFIG)
        assert await state() is State.IDLE
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert await state() is State.NO_PROGRAM
        run = {"flags": 0, "layers": 0, "count": 1}
        assert await host.command(Command.RUN, **run) == refused(Status.NO_PROGRAM)
        assert await host.command(Command.WRITE, b"1234", space=1, address=0) == OK
        # Neither a refused write nor one to the scratchpad enters the checksum.
        assert (await host.command(Command.WRITE, b"123", space=1, address=0))[0] is not Status.OK
        assert await host.command(Command.WRITE, b"1", space=0, address=0) == OK
        crc = zlib.crc32(words)
        assert await host.command(Command.COMMIT, crc=crc ^ 1) == refused(Status.BAD_CHECKSUM)
        assert await state() is State.NO_PROGRAM
        assert await host.command(Command.COMMIT, crc=crc) == refused(Status.OUT_OF_ORDER)
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert await host.command(Command.COMMIT, crc=0) == OK  # nothing is a program, too
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert await host.command(Command.WRITE, b"56", space=0, address=7) == OK
        assert await host.command(Command.WRITE, b"1234", space=1, address=0) == OK
        assert await host.command(Command.WRITE, b"789", space=0, address=0) == OK
        assert await host.command(Command.COMMIT, crc=crc) == OK
        assert await state() is State.IDLE
        assert await host.command(Command.RUN, **run) == OK

    simulate(test)


def test_outside_a_load_commit_tells_whether_the_program_is_this_one():
    async def test(host):
        await host.do(host.protocol.load_program(Program))
        await host.do(host.protocol.check_program(Program))
        crc = host.protocol.checksum(Program)
        assert await host.command(Command.COMMIT, crc=crc ^ 1) == refused(Status.BAD_CHECKSUM)
        assert await host.command(Command.COMMIT, crc=crc) == OK  # nothing has changed
        assert (await host.do(host.protocol.status()))[0] is State.IDLE
        await host.load()
        with pytest.raises(DeviceError, match=r"holds another program .*without --loaded"):
            await host.do(host.protocol.check_program(Program))
        await host.reset()
        with pytest.raises(DeviceError, match=r"holds no program; load it \(without --loaded\)"):
            await host.do(host.protocol.check_program(Program))

    simulate(test)


INITIAL = Contents(tuple(Program.sections), Protocol(CONFIG).checksum(Program))


def test_a_first_program_outlasts_resets_until_the_first_command():
    async def test(host):
        await host.ctx.tick()
        for _ in range(2):
            await host.reset()
            assert host.ctx.get(host.dut.o_program_valid) == 1
        await host.do(host.protocol.check_program(Program))
        assert await host.command(Command.IMAGE, b"1", group=0, base=0, offset=0) == OK
        assert host.ctx.get(host.dut.o_program_valid) == 1
        await host.reset()
        assert host.ctx.get(host.dut.o_program_valid) == 0
        assert await host.command(Command.RUN, flags=0, layers=0, count=1) == refused(
            Status.NO_PROGRAM)

    assert simulate(test, contents=INITIAL).writes == []


def test_a_load_takes_the_place_of_a_first_program():
    async def test(host):
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert (await host.do(host.protocol.status()))[0] is State.NO_PROGRAM
        await host.load()
        with pytest.raises(DeviceError, match="holds another program"):
            await host.do(host.protocol.check_program(Program))
        assert (await host.do(host.protocol.status()))[0] is State.IDLE

    simulate(test, contents=INITIAL)


def test_a_begin_in_a_load_starts_it_again():
    async def test(host):
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert await host.command(Command.WRITE, b"1234", space=1, address=0) == OK
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        assert await host.command(Command.COMMIT, crc=0) == OK

    simulate(test)


@pytest.mark.parametrize("written", [1, 2, 3, 6])
def test_a_reset_within_a_word_leaves_nothing_of_it_behind(written):
    async def test(host):
        writes = host.device.writes
        assert await host.command(Command.BEGIN, hash=HASH) == OK
        raw = encode(77, Command.WRITE.value, pack(Command.WRITE, b"abcdefgh", space=1, address=2))
        await feed(host.ctx, host.dut.i, raw)
        while len(writes) < written:
            await host.ctx.tick()
        await host.reset()
        writes.clear()
        await host.load(b"1234")
        assert writes == [(Space.PROGRAM, 0, lane, 0x31 + lane) for lane in range(4)]
        assert (await host.do(host.protocol.status()))[0] is State.IDLE

    simulate(test, stall=0.5)


def test_what_is_refused_and_allowed_while_running():
    async def test(host):
        await host.load()
        run = {"flags": 0, "layers": 0, "count": 1}
        assert await host.command(Command.RUN, **run) == OK
        for command, arguments in ((Command.RUN, run), (Command.BEGIN, {"hash": HASH}),
                                   (Command.BEGIN, {"hash": 0}), (Command.COMMIT, {"crc": 0}),
                                   (Command.WRITE, {"space": 1, "address": 0})):
            assert await host.command(command, **arguments) == refused(Status.BUSY), command
        assert await host.command(Command.WRITE, b"1", space=0, address=0) == OK
        assert await host.command(Command.IMAGE, b"1", group=0, base=0, offset=0) == OK
        assert await host.command(Command.READ, space=0, address=0, length=1) == (Status.OK, b"1")
        assert await host.command(Command.READ, space=7, address=0, length=1) == (Status.OK, b"\0")
        assert await host.command(Command.STATUS, flags=0) == (Status.OK, b"\x02\x34\x12")
        assert await host.command(Command.RESET) == OK
        assert await host.command(Command.STATUS, flags=1) == (Status.OK, b"\x01\x34\x12")
        assert await host.command(Command.RUN, **run) == OK

    device = simulate(test, run_cycles=100000)
    assert len(device.runs) == 2
    assert device.resets >= 1


def test_a_scratchpad_without_a_port_for_it_is_not_read_while_running():
    config = CONFIG.changed(overlap=False, distributed=False, residual_terms=0)
    assert not config.reads_in_run
    wanted = {"space": 0, "address": 0, "length": 1}

    async def test(host):
        assert await host.command(Command.BEGIN, hash=int.from_bytes(config.hash, "little")) == OK
        assert await host.command(Command.COMMIT, crc=0) == OK
        assert await host.command(Command.READ, **wanted) == (Status.OK, b"\0")
        assert await host.command(Command.RUN, flags=0, layers=0, count=1) == OK
        assert await host.command(Command.READ, **wanted) == refused(Status.BUSY)
        assert await host.command(Command.READ, **wanted | {"space": 7}) == (Status.OK, b"\0")
        assert await host.command(Command.WRITE, b"1", space=0, address=0) == OK
        assert await host.command(Command.RESET) == OK
        assert await host.command(Command.READ, **wanted) == (Status.OK, b"1")

    simulate(test, run_cycles=100000, config=config)


def test_a_waiting_status_answers_at_the_end_or_when_another_frame_comes():
    async def test(host):
        await host.load()
        await host.do(host.protocol.run())
        await host.send(encode(50, Command.STATUS.value, b"\1"))
        assert await host.reply(500) is None
        await host.send(encode(51, Command.STATUS.value, b"\1"))
        first, second = await host.reply(), await host.reply()
        assert (first.sequence, first.payload[1]) == (50, State.RUNNING.value)
        assert (second.sequence, second.payload[1]) == (51, State.IDLE.value)
        await host.do(host.protocol.run())
        await host.send(encode(52, Command.STATUS.value, b"\1") + encode(53, Command.RESET.value))
        first, second = await host.reply(), await host.reply()
        assert (first.sequence, first.payload[1]) == (52, State.RUNNING.value)
        assert (second.sequence, second.payload) == (53, b"\0")

    simulate(test, run_cycles=1500)


def test_image_frames_must_follow_each_other():
    async def test(host):
        await host.load()
        async def image(offset, data=b"abc", group=1, base=9):
            return await host.command(Command.IMAGE, data, group=group, base=base, offset=offset)
        late = refused(Status.OUT_OF_ORDER)
        assert await image(3) == late
        assert await image(0) == OK
        assert await image(4) == late
        assert await image(2) == late
        assert await image(3, group=0) == late
        assert await image(3 | 1 << 24) == late
        assert await image(3, b"defg") == OK
        assert await image(7, b"") == OK
        assert await image(0, b"x", base=255) == OK
        assert await image(0, group=2) == refused(Status.OUT_OF_RANGE)
        assert await image(0, base=256) == refused(Status.OUT_OF_RANGE)
        await host.load()
        assert await image(1) == late

    assert simulate(test).images == [(1, 9, b"abcdefg"), (1, 255, b"x")]


def test_a_repeated_frame_is_answered_again_but_not_executed_again():
    async def test(host):
        async def twice(command, data=b"", **arguments):
            first = await host.command(command, data, **arguments)
            sequence = host.protocol._sequence
            assert await host.command(command, data, sequence=sequence, **arguments) == first
            host.protocol._sequence = sequence
            return first
        assert await twice(Command.COMMIT, crc=0) == refused(Status.OUT_OF_ORDER)
        assert await twice(Command.BEGIN, hash=HASH) == OK
        assert await twice(Command.WRITE, b"1234", space=1, address=0) == OK
        crc = zlib.crc32(pack(Command.WRITE, b"1234", space=1, address=0))
        assert await twice(Command.COMMIT, crc=crc) == OK
        assert await twice(Command.IMAGE, b"ab", group=0, base=0, offset=0) == OK
        assert await twice(Command.IMAGE, b"cd", group=0, base=0, offset=2) == OK
        assert await twice(Command.RUN, flags=0, layers=0, count=1) == OK
        assert await twice(Command.STATUS, flags=1) == (Status.OK, b"\x01\x34\x12")
        assert await twice(Command.READ, space=0, address=0, length=2) == (Status.OK, b"\0\0")
        identity = await twice(Command.IDENTIFY)
        assert len(identity[1]) == 13
        # The same command with the next sequence number is a new one.
        assert await host.command(Command.RUN, flags=0, layers=0, count=1) == OK

    device = simulate(test, run_cycles=100)
    assert len(device.writes) == 4
    assert device.images == [(0, 0, b"abcd")]
    assert len(device.runs) == 2


def test_a_repeated_frame_is_recognised_across_errors_and_only_if_it_is_the_last():
    async def test(host):
        await host.load()
        image = encode(200, 4, pack(Command.IMAGE, b"ab", group=0, base=0, offset=0))
        assert await host.ask(image) == OK
        assert (await host.ask(image[:-1] + b"!"))[0] is Status.BAD_CRC
        assert await host.ask(image) == OK
        assert len(host.device.images) == 1
        await host.do(host.protocol.status())
        assert await host.ask(image) == OK
        assert len(host.device.images) == 2

    simulate(test)


def test_frame_errors_are_answered_and_then_service_is_normal():
    good = encode(5, Command.STATUS.value, b"\0")

    async def test(host):
        async def error(raw, pause=0):
            await host.send(raw)
            await host.ctx.tick().repeat(pause + 1)
            frame = await host.reply()
            assert frame.opcode == FRAME_ERROR
            assert (await host.ask(good))[0] is Status.OK
            return Status(frame.payload[0]), frame.sequence
        for cut in range(2, len(good)):
            assert await error(good[:cut], SILENCE) == (Status.TRUNCATED, 5 if cut > 3 else 0)
        assert await error(good[:-1] + b"\0") == (Status.BAD_CRC, 5)
        assert await error(b"\xa5\x5a\x02") == (Status.BAD_VERSION, 0)
        assert await error(encode(6, 0, bytes(65))) == (Status.BAD_LENGTH, 6)

    simulate(test)


def test_after_garbage_and_silence_identify_is_answered():
    generator = random.Random(12)
    valid = [encode(k, command.value, generator.randbytes(generator.randint(0, 30)))
             for k, command in enumerate(Command)]

    async def test(host):
        await host.load()
        for turn in range(20):
            garbage = bytearray(b"".join(generator.sample(valid, 3)))
            for _ in range(generator.randint(0, 6)):
                garbage[generator.randrange(len(garbage))] = generator.randrange(256)
            await host.send(garbage[:generator.randint(1, len(garbage))])
            await host.ctx.tick().repeat(SILENCE)
            await host.send(encode(turn, 0))
            while True:
                frame = await host.reply()
                assert frame is not None, f"no answer after {garbage.hex()}"
                if (frame.sequence, frame.opcode, len(frame.payload)) == (turn, 0x80, 14):
                    break

    simulate(test, gap=0.05)


def test_the_host_makes_up_for_lost_and_damaged_bytes_both_ways():
    generator = random.Random(13)

    def lose(data):
        at = generator.randrange(len(data))
        return data[:at] + data[at + generator.randint(1, 3):]

    def damage(data):
        at = generator.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]

    async def test(host):
        host.cut = [generator.choice((lose, damage, bytes, bytes)) for _ in range(60)]
        host.deaf = 0.2
        host.protocol.attempts = 20
        await host.do(host.protocol.load_program(Program))
        await host.do(host.protocol.write_image(0, 0, bytes(range(80))))
        await host.do(host.protocol.run())
        await host.do(host.protocol.wait())

    device = simulate(test, run_cycles=50)
    # An image that was damaged on the way has been started again.
    assert device.images[-1] == (0, 0, bytes(range(80)))
    assert all(bytes(range(80)).startswith(image[2]) for image in device.images)
    assert len(device.runs) == 1
    for space, first, raw in Program.sections:
        assert device.memory[space] == dict(enumerate(raw, first * space_bytes(CONFIG, space)))


def test_the_host_names_the_reason():
    async def test(host):
        with pytest.raises(DeviceError, match="load one first") as error:
            await host.do(host.protocol.run())
        assert error.value.status is Status.NO_PROGRAM

    simulate(test)


def test_a_payload_must_hold_a_word():
    config = Config.of(l1=EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16), load_bits=512,
                    max_payload=64)
    with pytest.raises(ValueError, match="max_payload"):
        CommandPort(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what could not be made is not "unused"
        gc.collect()

import re

import pytest
from amaranth.sim import Simulator

from pyhw.errors import UserError
from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.frames import ARGUMENTS, FRAME_ERROR, REPLIES, Command, State, Status
from pyhw.hdl.isa import Counter, Space
from pyhw.hdl.port.command_port import CommandPort
from pyhw.hdl.port.responder import identity
from pyhw.hdl.presets import PRESETS
from pyhw.host import Decoder, Device, DeviceError, Frame, Protocol, Request, drive, encode
from pyhw.host.frames import pack, unpack
from pyhw.host.link import Damaged
from tests.support import ROOT
from tests.support.helpers import feed, take

CONFIG = PRESETS["tiny"]
DOCS = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def example():
    """Return the worked example of the documentation as (host, device) pairs of bytes."""
    lines = re.findall(r"^(?:host  |device) ((?:[0-9a-f]{2} ?)+)$", DOCS, re.MULTILINE)
    raw = [bytes.fromhex(line) for line in lines]
    return list(zip(raw[::2], raw[1::2], strict=True))


def test_the_documented_example_is_what_the_gateware_says():
    dut, received = CommandPort(CONFIG), bytearray()

    async def host(ctx):
        for sent, expected in example():
            await feed(ctx, dut.i, sent)
            while len(received) < len(expected):
                await ctx.tick()
            assert received == expected
            received.clear()

    async def sink(ctx):
        await take(ctx, dut.o, received.append)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(sink, background=True)
    simulator.run_until(2e-3)
    assert len(example()) == 2


def test_the_documented_example_is_what_the_host_sends():
    (first, _), (second, _) = example()
    assert first == encode(1, Command.IDENTIFY.value)
    assert second == encode(2, Command.WRITE.value, pack(
        Command.WRITE, b"\x11\x22\x33\x44", space=Space.PROGRAM.value, address=5))


def test_the_documentation_lists_every_command_and_status():
    for command, fields in ARGUMENTS.items():
        row = re.search(rf"^\| {command.value} \| `{command.name}` \| (.*?) ?\| (.*?) ?\|",
                        DOCS, re.MULTILINE)
        assert re.findall(r"(\w+) (\d+)", row[1]) == [(n, str(s)) for n, s in fields]
        if command in REPLIES:
            assert re.findall(r"(\w+) (\d+)", row[2]) == [
                (n, str(s)) for n, s in REPLIES[command]]
    for status in Status:
        assert f"| {status.value} | `{status.name}` |" in DOCS


def test_frames_survive_any_cut_of_the_stream_and_damage_around_them():
    frames = [Frame(k, 0x80 | k, bytes(range(k))) for k in range(20)]
    raw = b"\xa5".join(encode(f.sequence, f.opcode, f.payload) for f in frames)
    for size in (1, 2, 7, 1000):
        decoder = Decoder()
        got = [f for k in range(0, len(raw), size) for f in decoder.feed(raw[k:k + size])]
        assert got == frames


def test_a_damaged_frame_does_not_hide_the_next():
    good, damaged = encode(1, 2, b"abc"), bytearray(encode(7, 7, b"abcdef"))
    for at in range(len(damaged)):
        raw = bytes(damaged[:at]) + bytes([damaged[at] ^ 0x40]) + bytes(damaged[at + 1:])
        decoder = Decoder(max_payload=32)
        assert Frame(1, 2, b"abc") in decoder.feed(raw + good + bytes(40))


def test_a_silence_ends_a_frame():
    decoder = Decoder()
    assert decoder.feed(encode(1, 2, b"abc")[:-1]) == []
    decoder.reset()
    assert decoder.feed(encode(3, 4)) == [Frame(3, 4, b"")]


def test_wrong_payloads_are_refused():
    with pytest.raises(ValueError, match="65535"):
        encode(0, 0, bytes(65536))
    with pytest.raises(ValueError, match="takes"):
        pack(Command.RUN, flags=0)
    with pytest.raises(ValueError, match="no data"):
        pack(Command.RESET, b"x")
    with pytest.raises(ValueError, match="2 bytes"):
        pack(Command.RUN, flags=0, layers=1 << 16, count=0)
    with pytest.raises(ValueError, match="3 bytes of data"):
        unpack(Command.STATUS, b"")
    with pytest.raises(ValueError, match="attempts"):
        Protocol(CONFIG, attempts=1)


class Scripted:
    """A device that answers each frame by a function of (command, payload)."""

    def __init__(self, answer):
        self.frames = []
        self._answer = answer
        self._out = []
        self._decoder = Decoder()

    def send(self, data):
        for frame in self._decoder.feed(data):
            self.frames.append(frame)
            reply = self._answer(Command(frame.opcode), frame)
            if isinstance(reply, bytes):
                reply = [encode(frame.sequence, frame.opcode | 0x80, reply)]
            self._out += reply

    def receive(self, timeout_s):
        return self._out.pop(0) if self._out else b""


def ok(command, frame):
    if command is Command.IDENTIFY:
        return b"\0" + identity(CONFIG)
    if command is Command.STATUS:
        return b"\0\x01\x03\0"
    if command is Command.READ:
        return b"\0" + bytes(int.from_bytes(frame.payload[5:7], "little"))
    return b"\0"


def test_every_operation_against_a_willing_device():
    port = Scripted(ok)
    device = Device(port, CONFIG)
    assert device.check().isa == ISA_VERSION
    device.write_images([(0, 0, bytes(300))])
    device.write(0, 4000, b"ab")
    device.run(layers=2, count=3)
    assert device.status() == (State.IDLE, 3)
    assert device.wait() == 3
    assert device.read(Space.SCRATCH, 0, 300) == bytes(300)
    assert device.counters() == dict.fromkeys(Counter, 0)
    device.reset()
    images = [f.payload for f in port.frames if f.opcode == Command.IMAGE.value]
    assert [len(p) - 8 for p in images] == [248, 52]
    assert images[1][4:8] == (248).to_bytes(4, "little")
    sequences = [f.sequence for f in port.frames]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_program_is_sent_in_whole_words():
    class Program:
        config_hash = CONFIG.hash
        sections = [(Space.PARAMS, 0, bytes(24 * 30)), (Space.PROGRAM, 7, bytes(400))]

    port = Scripted(ok)
    Device(port, CONFIG).load_program(Program)
    writes = [f.payload for f in port.frames if f.opcode == Command.WRITE.value]
    assert [int.from_bytes(p[1:5], "little") for p in writes if p[0] == Space.PROGRAM.value] == [
        7, 7 + 62]
    assert len(writes[0]) <= CONFIG.port.max_payload
    assert sum(len(p) - 5 for p in writes) == 24 * 30 + 400


def test_a_program_for_another_configuration_is_not_sent():
    class Program:
        config_hash = bytes(8)
        sections = []

    port = Scripted(ok)
    with pytest.raises(DeviceError, match="another configuration"):
        Device(port, CONFIG).load_program(Program)
    assert port.frames == []


def test_a_device_with_another_configuration_is_named():
    with pytest.raises(DeviceError, match=r"load its gateware first"):
        Device(Scripted(ok), PRESETS["default"]).check()


@pytest.mark.parametrize("answer", [
    [], [b"noise" * 100], [encode(200, 0x80, b"\0")], [encode(0, FRAME_ERROR, b"\3")],
    [encode(1, 0)], [b"\xa5\x5a" * 3000],
], ids=["silence", "noise", "old replies", "frame errors", "an echo", "endless noise"])
def test_a_device_that_does_not_answer_is_given_up(answer):
    port = Scripted(lambda command, frame: list(answer))
    with pytest.raises(DeviceError, match="did not answer IDENTIFY in 4 attempts"):
        Device(port, CONFIG).identify()
    assert port.frames == [Frame(1, 0, b"")] * 4


def test_a_reply_after_noise_is_found():
    port = Scripted(lambda command, frame: [
        b"noise", encode(0, 0x80, b"\0"), encode(1, 0x80, b"\0" + identity(CONFIG))])
    assert Device(port, CONFIG).identify().hash == CONFIG.hash


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_refusal_is_one_clear_line(status):
    port = Scripted(lambda command, frame: bytes([status.value]))
    with pytest.raises(UserError, match="RUN was refused: ") as error:
        Device(port, CONFIG).run()
    assert error.value.status is status
    assert "\n" not in str(error.value)


def test_answers_that_make_no_sense_are_errors():
    with pytest.raises(DeviceError, match="unknown status 77"):
        Device(Scripted(lambda command, frame: b"\x4d"), CONFIG).run()
    with pytest.raises(DeviceError, match="sent 1 bytes instead of 4"):
        Device(Scripted(lambda command, frame: b"\0\0"), CONFIG).read(Space.SCRATCH, 0, 4)
    with pytest.raises(DeviceError, match="IDENTIFY"):
        Device(Scripted(lambda command, frame: b"\0\0"), CONFIG).identify()


def test_a_run_without_end_is_reported():
    port = Scripted(lambda command, frame: b"\0\x02\x05\0")
    with pytest.raises(DeviceError, match=r"not ended within 3 s .5 layers done"):
        Device(port, CONFIG).wait(3)
    assert len(port.frames) == 3


class Trickle:
    """A port on which a byte comes now and then, whatever is sent; its clock is a number."""

    def __init__(self, period, data, monkeypatch):
        self.time, self._period, self._data, self._sent = 0.0, period, data, 0
        monkeypatch.setattr("pyhw.host.link.time.monotonic", lambda: self.time)

    def send(self, data):
        pass

    def receive(self, timeout_s):
        self.time += min(timeout_s, self._period)
        if self._period > timeout_s:
            return b""
        self._sent += 1
        return self._data[self._sent % len(self._data):][:1]


@pytest.mark.parametrize(("period", "data"), [
    (0.25, b"\0"), (0.1, b"login: root@board:~# "), (0.05, b"\xa5"), (0.5, b"x"),
    (0.001, b"\xa5\x5a\x01"),
])
def test_a_port_that_trickles_bytes_is_given_up_in_time(period, data, monkeypatch):
    line = Trickle(period, data, monkeypatch)
    protocol = Protocol(CONFIG, timeout_s=0.4, attempts=4)
    with pytest.raises(DeviceError, match="did not answer IDENTIFY in 4 attempts"):
        drive(protocol.identify(), line)
    assert line.time <= 4 * 2 * 0.4 + 4 * period  # attempts, each twice the timeout
    begun, request = line.time, Request.of(Command.RESET)
    with pytest.raises(Damaged):
        drive(protocol.all([request] * 5), line)
    assert line.time - begun <= 2 * 0.4 + period

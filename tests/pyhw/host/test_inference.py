"""Images through a device that answers by the golden executor, on good and on bad lines."""

import random
import time

import numpy as np
import pytest

from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run as execute
from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.hdl.config import ISA_VERSION, Config, EngineConfig
from pyhw.hdl.formats import Format
from pyhw.hdl.signed_digits import nearest_terms
from pyhw.host import DeviceError, Inference, Protocol, check_images, drive
from tests.support.device_model import OUT_OF_ORDER, DeviceModel

CONFIG = Config.of(
    name="soak", groups=2, l1=EngineConfig(rows=2, lanes=4, code_width=8, acc_width=20),
    pool_lanes=4, tables=0, load_bits=32, scratch_bytes=2048, weight_words=512, param_records=16,
    program_words=128, max_payload=64)


def small_graph():
    """Return a graph of one L1 layer: images of 120 bytes, three frames each."""
    terms = np.array(nearest_terms(25)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], 3, 1),
                m_exponent=np.repeat(terms[1][:, None], 3, 1), bias=np.full(3, 230_000),
                shift=np.full(3, 7), fmt=Format(8))
    weight = np.random.default_rng(5).integers(0, 256, (3, 5, 5, 4))
    return Graph("small", (
        Input(name="image", shape=(5, 6, 4), fmt=Format(8)),
        Conv(name="l1", input="image", term="l1", weight=weight, post=Post(first=step))), "l1")


GRAPH = small_graph()
PROGRAM = compile_graph(GRAPH, CONFIG, 6)
TWICE = compile_graph(GRAPH, CONFIG, 4, double_buffer=True)
"""The same with input and output twice."""
IMAGES = np.random.default_rng(7).integers(0, 256, (40, 5, 6, 4))
GOLDEN = execute(GRAPH, IMAGES)


def inference(program=PROGRAM, *, ahead=2, attempts=4):
    return Inference(Protocol(CONFIG, ahead=ahead, attempts=attempts), program)


def infer(engine, line, images=IMAGES, *, loaded=False):
    """Start and run all images in batches."""
    drive(engine.start(loaded=loaded), line)
    raw, batch = check_images(PROGRAM, images), engine.program.batch
    parts = [drive(engine.advance(raw[k:k + batch]), line) for k in range(0, len(raw), batch)]
    assert parts[0] is None
    return np.concatenate([*parts[1:], drive(engine.advance(), line)])


@pytest.mark.parametrize("program", [PROGRAM, TWICE], ids=["once", "twice"])
@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_a_good_line_gives_the_golden_outputs_without_a_retry(ahead, program):
    device, engine = DeviceModel(CONFIG, GRAPH, program), inference(program, ahead=ahead)
    assert len(np.unique(GOLDEN)) > 30
    assert np.array_equal(infer(engine, device), GOLDEN)
    assert engine.protocol.retries == 0
    assert engine.loads == 1
    assert device.most_behind_read == min(ahead, 2)
    assert device.most_waiting == max(ahead, 2)  # a STATUS waits and is asked again


@pytest.mark.parametrize("program", [PROGRAM, TWICE], ids=["once", "twice"])
def test_a_program_that_is_there_is_checked_instead_of_loaded(program):
    device, engine = DeviceModel(CONFIG, GRAPH, program), inference(program)
    infer(inference(program), device, IMAGES[:5])
    assert np.array_equal(infer(engine, device, loaded=True), GOLDEN)
    assert engine.protocol.retries == 0
    assert engine.loads == 0


def test_no_program_or_another_one_is_refused_and_stays():
    device = DeviceModel(CONFIG, GRAPH, PROGRAM)
    with pytest.raises(DeviceError, match="holds no program; load it"):
        infer(inference(), device, loaded=True)
    drive(inference().start(), device)
    with pytest.raises(DeviceError, match="holds another program than this one; load it"):
        infer(inference(TWICE), device, loaded=True)
    assert np.array_equal(infer(inference(), device, IMAGES[:5], loaded=True), GOLDEN[:5])


def test_gateware_that_cannot_tell_its_program_is_refused(monkeypatch):
    device = DeviceModel(CONFIG, GRAPH, PROGRAM)
    drive(inference().start(), device)
    monkeypatch.setattr(device, "_commit", lambda payload: OUT_OF_ORDER)
    with pytest.raises(DeviceError, match="too old to tell which program it holds; load it"):
        infer(inference(), device, loaded=True)


def test_data_are_nine_tenths_of_what_is_sent_in_a_large_transfer():
    device = DeviceModel(CONFIG, GRAPH, PROGRAM)
    for payload, least in ((256, 0.90), (1024, 0.97), (4096, 0.99)):
        protocol = Protocol(Config.of(l1=CONFIG.engines.get("l1"), max_payload=payload))
        frames = protocol.image_requests(0, 0, bytes(100_000))
        wire = sum(len(protocol._encode(frame)) for frame in frames)
        assert 100_000 / wire >= least
    assert device.sent == 0


class Faulty:
    """A line that damages, loses, repeats and invents, before a device that is reset at times."""

    def __init__(self, device, *, seed, rate, reset_rate=0.0):
        self.device, self.rate, self.reset_rate = device, rate, reset_rate
        self.random = random.Random(f"faults {seed}")
        self.faults = dict.fromkeys(("flip", "cut", "lose", "repeat", "noise", "reset"), 0)

    def send(self, data):
        if self.random.random() < self.reset_rate:
            self.faults["reset"] += 1
            self.device.power_cycle()
        self.device.send(self._spoil(data))

    def receive(self, timeout_s):
        data = self.device.receive(timeout_s)
        return self._spoil(data) if data else data

    def _spoil(self, data):
        draw = self.random
        if draw.random() >= self.rate:
            return data
        fault = draw.choice(("flip", "cut", "lose", "repeat", "noise"))
        self.faults[fault] += 1
        at = draw.randrange(len(data))
        if fault == "flip":
            return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1:]
        if fault == "cut":
            return data[:at] + data[at + draw.randint(1, 5):]
        if fault == "lose":
            return b""
        if fault == "repeat":
            return data + data
        noise = draw.choice((draw.randbytes(20), b"\xa5\x5a\x01", b"\xa5" * 3, data[:7]))
        return data[:at] + noise + data[at:] if draw.random() < 0.5 else noise + data


@pytest.mark.parametrize(("program", "ahead", "rate", "resets", "frames"), [
    (PROGRAM, 2, 0.01, 0.0005, 10_000), (PROGRAM, 1, 0.03, 0.001, 5_000),
    (PROGRAM, 2, 0.05, 0.002, 10_000), (PROGRAM, 5, 0.02, 0.001, 5_000),
    (TWICE, 2, 0.01, 0.002, 10_000), (TWICE, 2, 0.05, 0.002, 10_000), (TWICE, 1, 0.03, 0.01, 5_000),
])
def test_soak_no_wrong_result_no_hang_every_image_answered_or_reported(
        program, ahead, rate, resets, frames):
    device = DeviceModel(CONFIG, GRAPH, program, seed=frames)
    line = Faulty(device, seed=frames, rate=rate, reset_rate=resets)
    answered = reported = rescued = 0
    raw = check_images(PROGRAM, IMAGES)
    draw = random.Random(frames)
    started = time.monotonic()
    while device.frames < frames:
        engine = inference(program, ahead=ahead)
        try:
            drive(engine.start(), line)
            waiting = []
            while device.frames < frames or waiting:
                chosen = draw.sample(range(len(IMAGES)), draw.randint(1, program.batch))
                if device.frames >= frames or draw.random() < 0.1:
                    chosen = []
                reported += len(chosen)
                got = drive(engine.advance(raw[chosen] if chosen else None), line)
                assert (got is None) == (not waiting)
                assert got is None or np.array_equal(got, GOLDEN[waiting]), waiting
                reported -= len(waiting)
                answered += len(waiting)
                waiting = chosen
        except DeviceError:  # counted in `reported`, but for what was answered; a start goes on
            if (got := engine.rescue()) is not None:
                assert np.array_equal(got, GOLDEN[waiting]), waiting
                reported -= len(waiting)
                rescued += len(waiting)
        assert time.monotonic() - started < 60
    assert answered > 10 * reported
    assert all(line.faults.values()), line.faults


@pytest.mark.parametrize("program", [PROGRAM, TWICE], ids=["once", "twice"])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_reset_after_a_run_is_noticed_though_reads_are_answered(program, loaded):
    device, engine = DeviceModel(CONFIG, GRAPH, program), inference(program)
    drive(inference(program).start(), device)

    class Line:
        armed = True

        def send(self, data):
            if data[4] == 7 and self.armed:  # the first READ
                self.armed = False
                device.power_cycle()
            device.send(data)

        receive = staticmethod(device.receive)

    line = Line()
    assert np.array_equal(infer(engine, line, IMAGES[:12], loaded=loaded), GOLDEN[:12])
    assert not line.armed
    assert engine.loads == 2 - loaded


@pytest.mark.parametrize("program", [PROGRAM, TWICE], ids=["once", "twice"])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_program_is_started_again_in_the_middle(program, batches):
    device, engine = DeviceModel(CONFIG, GRAPH, program, seed=2), inference(program)
    drive(engine.start(), device)
    raw = check_images(PROGRAM, IMAGES)
    for k in range(batches):
        drive(engine.advance(raw[k:k + 3]), device)
    assert np.array_equal(infer(engine, device, IMAGES[:8]), GOLDEN[:8])
    assert engine.protocol.retries == 0


def test_a_dead_line_ends_in_one_line_of_error():
    device, engine = DeviceModel(CONFIG, GRAPH, PROGRAM), inference()
    drive(engine.start(), device)
    device.receive = lambda timeout_s: b""
    with pytest.raises(DeviceError, match="did not answer RESET in 4 attempts"):
        drive(engine.batch(check_images(PROGRAM, IMAGES[:2])), device)


def test_a_batch_that_never_comes_through_is_reported():
    device, engine = DeviceModel(CONFIG, GRAPH, PROGRAM), inference()
    drive(engine.start(), device)

    class Line:
        receive = staticmethod(device.receive)

        def send(self, data):
            if data[4] == 6:  # STATUS
                device.power_cycle()
            device.send(data)

    with pytest.raises(DeviceError, match="not answered in 8 attempts"):
        drive(engine.batch(check_images(PROGRAM, IMAGES[:2])), Line())


def test_a_load_that_never_comes_through_is_reported():
    device, engine = DeviceModel(CONFIG, GRAPH, PROGRAM), inference()

    class Line:
        receive = staticmethod(device.receive)

        def send(self, data):
            device.send(data)
            if data[4] == 2:
                device.receive(0)
                device.power_cycle()

    with pytest.raises(DeviceError, match=r"did not (arrive whole|answer)"):
        drive(engine.start(), Line())


@pytest.mark.parametrize(("isa", "message"), [
    (1, f"of version 1, older than this pyhw's {ISA_VERSION}; generate it again"),
    (ISA_VERSION + 1, f"of version {ISA_VERSION + 1}, newer than this pyhw's {ISA_VERSION}"),
])
def test_gateware_of_another_version_is_refused(isa, message):
    device = DeviceModel(CONFIG, GRAPH, PROGRAM, isa=isa)
    with pytest.raises(DeviceError, match=message):
        drive(inference().start(), device)


def test_frames_of_another_version_are_named():
    device = DeviceModel(CONFIG, GRAPH, PROGRAM)

    class Line:
        send = staticmethod(device.send)

        def receive(self, timeout_s):
            data = device.receive(timeout_s)
            return data.replace(b"\xa5\x5a\x01", b"\xa5\x5a\x02")

    with pytest.raises(DeviceError, match="looks like frames of version 2, and this pyhw speaks 1"):
        drive(inference().start(), Line())


@pytest.mark.parametrize(("images", "message"), [
    (IMAGES.astype(float), "must be an integer array, not float64"),
    (IMAGES[0], r"must have shape \(N, 5, 6, 4\)"),
    (IMAGES[:, :4], r"not \(40, 4, 6, 4\)"),
    (IMAGES + 1, r"must hold values from 0 to 255 \(u8\), not 1 to 256"),
    ([1, 2], "must be an integer array, not list"),
])
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(UserError, match=message):
        check_images(PROGRAM, images)


def test_a_batch_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="must be 1 to 6, not 7"):
        drive(inference().batch(np.zeros((7, 120), np.uint8)), None)
    with pytest.raises(ValueError, match="ahead must be from 1 to 64, not 0"):
        inference(ahead=0)

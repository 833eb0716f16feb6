"""``pyhw infer`` and ``pyhw bench`` on a board behind a pseudo-terminal; bad ports and boards."""

import dataclasses
import errno
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import pyhw
from pyhw.cli import main as cli
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run as execute
from pyhw.graph.file import save
from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.presets import PRESETS
from pyhw.host import SerialPort, connect
from pyhw.host.ports import candidates
from tests.pyhw.cli.test_input import TINY, small_graph, small_images
from tests.support.device_model import DeviceModel
from tests.support.pty_board import PtyBoard

pytest.importorskip("serial", reason="pyserial was not found; to get it: pip install '.[board]'")

GRAPH = small_graph()
PROGRAM = compile_graph(GRAPH, TINY, 4)
IMAGES = small_images(60)
GOLDEN = execute(GRAPH, IMAGES.astype(np.int64))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(GRAPH, "net.pyhw")
    PROGRAM.save("net.pyhwprog")
    np.save("images.npy", IMAGES)
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    """Return a function that runs a command and returns status, output and errors."""

    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def refused(call):
    """Return a function that runs a command which must fail with one line."""

    def run(*arguments):
        status, _, error = call(*arguments)
        assert status == 1, error
        assert error.startswith("error: ")
        assert error.count("\n") == 1, error
        return error

    return run


def model(**options):
    return DeviceModel(TINY, GRAPH, PROGRAM, **options)


def infer(port, *more):
    return ("infer", "net.pyhwprog", "--port", port, "--data", "images.npy", "--images", 60,
            "--timeout", 5, *more)


def outputs(name):
    with np.load(name) as found:
        return found["outputs"]


def test_infer_gives_the_golden_outputs(call):
    with PtyBoard(model()) as board:
        status, printed, error = call(*infer(board.port, "--graph", "net.pyhw", "--out", "out.npz"))
    assert (status, error) == (0, "")
    assert re.search(r"^60 images in [\d.]+ s, [\d.,]+ a second, 0 retries$", printed, re.M)
    assert f"{GOLDEN.size:,} values equal the golden executor's" in printed
    assert np.array_equal(outputs("out.npz"), GOLDEN)


def test_the_python_interface_takes_arrays_and_gives_arrays():
    with PtyBoard(model()) as board, connect(PROGRAM, board.port, timeout_s=5) as device:
        assert np.array_equal(device.infer(IMAGES), GOLDEN)
        assert device.infer(IMAGES[:0]).shape == (0, *GOLDEN.shape[1:])
        with pytest.raises(UserError, match="images must have shape"):
            device.infer(IMAGES[0])


def test_a_device_that_was_not_started_says_so():
    with PtyBoard(None) as board, SerialPort(board.port, 115200) as port:
        with pytest.raises(ValueError, match="must load a program first"):
            pyhw.host.Device(port, TINY).infer(IMAGES)


def test_bench_prints_rates_bytes_and_retries(call):
    with PtyBoard(model()) as board:
        status, printed, error = call("bench", "net.pyhwprog", "--port", board.port, "--images",
                                      40, "--timeout", 5)
    assert (status, error) == (0, "")
    lines = printed.splitlines()
    assert re.match(r"program: [\d,]+ bytes in [\d.]+ s, [\d.]+% of what was sent", lines[0])
    assert re.match(r"40 images in [\d.]+ s: [\d,.]+ images/s", lines[1])
    # 40 bytes and 19 more an image; RUN, STATUS and READ of each batch of 4, and a last STATUS.
    sent = 40 * (40 + 19) + 10 * (16 + 12 + 18) + 12
    assert re.match(rf"sent {sent:,} bytes \({1600 / sent:.1%} of them images\), received [\d,]+, "
                    "0 retries, 0 reloads", lines[3])
    assert f"{100_000 * 40 / sent:,.1f} images/s at 1,000,000 baud" in lines[2]


def test_a_program_that_the_board_holds_is_not_loaded_again(call, refused):
    device = model()
    with PtyBoard(device) as board:
        error = refused(*infer(board.port, "--loaded"))
        assert "The device holds no program; load it (without --loaded)" in error
        assert call(*infer(board.port))[0] == 0
        before = device.executed
        status, printed, error = call(*infer(board.port, "--loaded", "--graph", "net.pyhw"))
        assert (status, error) == (0, "")
        assert f"{GOLDEN.size:,} values equal the golden executor's" in printed
        # IDENTIFY, RESET, STATUS and COMMIT; of 15 batches the images, RUN, STATUS and READ.
        assert device.executed - before <= 4 + 60 + 4 * 15 + 1
        printed = call("bench", "net.pyhwprog", "--port", board.port, "--images", 4, "--timeout",
                       5, "--loaded")[1]
        assert re.match(r"program: [\d,]+ bytes that the board held already\n", printed)
        dataclasses.replace(PROGRAM, sections=PROGRAM.sections[:-1]).save("other.pyhwprog")
        assert "The device holds another program than this one" in refused(
            "infer", "other.pyhwprog", "--port", board.port, "--data", "images.npy", "--loaded")


def test_the_board_is_unplugged_and_a_rerun_goes_on(refused, call):
    device = model()
    loading = len(pyhw.host.Protocol(TINY).load_requests(PROGRAM)) + 2
    with PtyBoard(device, unplug_after=loading + 50) as board:
        error = refused(*infer(board.port, "--out", "out.npz"))
    assert f"{board.port} is gone: the board was unplugged" in error
    kept = len(outputs("out.npz"))
    assert 0 < kept < 60
    assert f"{kept} of 60 images are in out.npz; the same command with --resume goes on" in error
    with PtyBoard(model()) as board:
        status, printed, _ = call(*infer(board.port, "--out", "out.npz", "--resume"))
    assert status == 0
    assert f"{60 - kept} images in" in printed
    assert np.array_equal(outputs("out.npz"), GOLDEN)
    status, printed, _ = call(*infer("/dev/absent", "--out", "out.npz", "--resume"))
    assert status == 0
    assert "out.npz holds the outputs of all 60 images already" in printed
    assert "greatest output of each image" in printed


def test_without_a_file_an_unplugged_board_says_how_to_keep_results(refused):
    with PtyBoard(model(), unplug_after=60) as board:
        assert "no outputs are kept; --out FILE keeps those" in refused(*infer(board.port))


# ---- ports ----


def test_a_port_that_is_not_there_is_named(refused):
    assert "/dev/ttyUSB99 does not exist, or its board is gone" in refused(*infer("/dev/ttyUSB99"))


@pytest.mark.parametrize("name", ["images.npy", "/dev/null", "."])
def test_what_is_no_serial_port_is_refused(refused, name):
    assert f"{name} is no serial port" in refused(*infer(name))


def test_a_port_that_another_program_holds_is_refused(refused):
    with PtyBoard(model()) as board, SerialPort(board.port, 115200):
        error = refused(*infer(board.port))
    assert f"{board.port} is held by another program; close it (`fuser {board.port}`" in error


@pytest.mark.parametrize(("number", "message"), [
    (errno.EACCES, "no permission to open /dev/ttyUSB0: add yourself to its group with `sudo "
                   "usermod -aG dialout $USER` and log in again, or add a udev rule"),
    (errno.EBUSY, "/dev/ttyUSB0 is held by another program"),
    (errno.ENXIO, "its board is gone"),
])
def test_errors_of_opening_say_what_to_do(refused, monkeypatch, number, message):
    import serial

    def fail(*_, **__):
        raise serial.SerialException(number, "could not open port")

    monkeypatch.setattr(serial, "Serial", fail)
    assert message in refused(*infer("/dev/ttyUSB0"))


def test_a_speed_that_the_port_cannot_have_is_named(refused, monkeypatch):
    import serial

    def fail(*_, **__):
        raise ValueError("Failed to set custom baud rate (2500001): nothing")

    monkeypatch.setattr(serial, "Serial", fail)
    error = refused(*infer("/dev/ttyUSB0", "--baud", 2_500_001))
    assert "cannot be set to 2500001 bits a second" in error


def test_a_port_that_takes_no_bytes_is_given_up(monkeypatch):
    import serial

    with PtyBoard(None) as board, SerialPort(board.port, 115200) as port:
        def full(data):
            raise serial.SerialTimeoutException("Write timeout")

        monkeypatch.setattr(port._port, "write", full)
        with pytest.raises(UserError, match="took no bytes for 10 s; plug the board out"):
            port.send(b"x")


def ports(*found):
    return [SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=number,
                            location=location)
            for device, vid, pid, number, location in found]


ICEBREAKER = [("/dev/ttyUSB0", 0x0403, 0x6010, "A1", "1-2:1.0"),
              ("/dev/ttyUSB1", 0x0403, 0x6010, "A1", "1-2:1.1")]
ULX3S = ("/dev/ttyUSB2", 0x0403, 0x6015, "D9", "1-3:1.0")
BUILT_IN = ("/dev/ttyS0", None, None, None, None)
MODEM = ("/dev/ttyACM0", 0x1234, 0x5678, None, "1-4:1.0")


@pytest.fixture
def plugged(monkeypatch):
    """Return a function that says which ports there are."""
    from serial.tools import list_ports

    def plug(*found):
        monkeypatch.setattr(list_ports, "comports", lambda: ports(*found))

    return plug


def test_boards_are_known_by_their_usb_numbers():
    found = candidates(ports(*ICEBREAKER, ULX3S, BUILT_IN, MODEM))
    assert [port.device for port in found] == ["/dev/ttyUSB1", "/dev/ttyUSB2"]


def test_no_board_several_boards_and_other_ports_are_listed(refused, plugged):
    command = ("infer", "net.pyhwprog", "--data", "images.npy")
    plugged()
    assert "no board was found; plug it in, or name its port with --port; there is no serial port" \
        in refused(*command)
    plugged(BUILT_IN, MODEM)
    assert "serial ports here: /dev/ttyACM0: USB 1234:5678; /dev/ttyS0" in refused(*command)
    plugged(*ICEBREAKER, ULX3S)
    error = refused(*command)
    assert "several boards may be meant; choose one with --port: /dev/ttyUSB1: FT2232" in error
    assert "/dev/ttyUSB2: FT231X (ULX3S), serial number D9" in error


def test_the_only_board_is_taken(call, plugged):
    with PtyBoard(model()) as board:
        plugged(BUILT_IN, (board.port, 0x0403, 0x6015, None, None))
        assert call("infer", "net.pyhwprog", "--data", "images.npy", "--timeout", 5)[0] == 0


def test_a_missing_pyserial_is_one_line(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    for command in ("infer", "bench"):
        assert "pyserial was not found; to get it: pip install '.[board]'" in refused(
            command, "net.pyhwprog")
    monkeypatch.setitem(sys.modules, "serial", SimpleNamespace())
    assert "another package is called serial as well" in refused("infer", "net.pyhwprog")


# ---- boards and files ----


def test_a_board_with_another_configuration_is_named_with_what_to_do(refused):
    device = DeviceModel(PRESETS["default"], GRAPH, PROGRAM)
    with PtyBoard(device) as board:
        error = refused(*infer(board.port))
    assert f"The device has configuration {PRESETS['default'].hash.hex()} (default), not " in error
    assert "load its gateware first, or compile the program for the device's conf" in error


def test_the_configuration_beside_a_program_is_found(call, refused, folder):
    config = TINY.changed(param_records=2 * TINY.memory.param_records)
    program = dataclasses.replace(PROGRAM, config_hash=config.hash)
    program.save("net.pyhwprog")
    with PtyBoard(DeviceModel(config, GRAPH, program)) as board:
        for beside in (config_to_json(TINY), "{}"):
            (folder / "config.json").write_text(beside)
            assert "none of the package; name its file" in refused(*infer(board.port))
        (folder / "config.json").write_text(config_to_json(config))
        assert call(*infer(board.port))[0] == 0


@pytest.mark.parametrize(("isa", "message"), [
    (1, f"older than this pyhw's {ISA_VERSION}"),
    (ISA_VERSION + 1, f"newer than this pyhw's {ISA_VERSION}; update pyhw"),
])
def test_gateware_of_another_version_is_named(refused, isa, message):
    with PtyBoard(model(isa=isa)) as board:
        assert message in refused(*infer(board.port))


def test_a_silent_port_is_given_up(refused):
    with PtyBoard(None) as board:
        error = refused(*infer(board.port, "--timeout", 0.05))
    assert "did not answer IDENTIFY in 4 attempts; check the port, the speed" in error


def test_files_and_images_that_do_not_fit_are_refused(refused, folder):
    with PtyBoard(model()) as board:
        port = ("--port", board.port)
        assert "is a graph" in refused("infer", "net.pyhw", *port)
        assert "absent.pyhwprog does not exist" in refused("infer", "absent.pyhwprog", *port)
        (folder / "bad.pyhwprog").write_bytes(b"pyhwprog" + bytes(100))
        assert "bad.pyhwprog" in refused("bench", "bad.pyhwprog", *port)
        np.save("wide.npy", np.zeros((3, 9, 9, 1), np.uint8))
        error = refused("infer", "net.pyhwprog", *port, "--data", "wide.npy")
        assert "wide.npy: Images must have shape (N, 4, 5, 2)" in error
        assert "--resume needs --out" in refused(*infer(board.port, "--resume"))
        error = refused(*infer(board.port, "--preset", "default"))
        assert "the program was compiled for configuration" in error
        other = dataclasses.replace(PROGRAM, config_hash=bytes(8))
        other.save("other.pyhwprog")
        assert "none of the package; name its file with --config" in refused(
            "infer", "other.pyhwprog", *port, "--data", "images.npy")
        save(small_graph(seed=6), "other.pyhw")
        assert "from another graph" in refused(*infer(board.port, "--graph", "other.pyhw"))


def test_a_wrong_value_from_the_board_is_found(refused):
    device = model()
    device.graph = small_graph(seed=6)
    with PtyBoard(device) as board:
        error = refused(*infer(board.port, "--graph", "net.pyhw"))
    assert "the board differs from the golden executor: layer 'l1', image 0" in error


@pytest.mark.parametrize(("command", "sign"), [("infer", signal.SIGINT), ("bench", signal.SIGTERM)])
def test_an_interruption_is_one_line(folder, command, sign):
    device = model()
    device.patience = 10_000_000  # a run without end
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [os.path.dirname(os.path.dirname(pyhw.__file__)), os.environ.get("PYTHONPATH", "")])}
    with PtyBoard(device) as board:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyhw", command, "net.pyhwprog", "--port", board.port]
            + (["--data", "images.npy"] if command == "infer" else []),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        started = time.monotonic()
        while not device._running:
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - started < 60
        process.send_signal(sign)
        printed, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.startswith("interrupted: ")
    assert error.count("\n") == 1
    assert printed == ""

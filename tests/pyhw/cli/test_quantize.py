"""``pyhw quantize`` and ``pyhw info`` as typed, with every way to misuse them."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import hashlib
import json
import sys

import numpy as np
import pytest
import torch

import pyhw
from pyhw.cli import main as cli
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.file import load
from pyhw.hdl.presets import PRESETS
from pyhw.nn import LeNet5
from pyhw.quantizer import run as quantize_run
from pyhw.quantizer.run import calibration_images, quantize_checkpoint
from pyhw.quantizer.settings import Settings
from pyhw.training.checkpoint import save_checkpoint
from pyhw.training.data import Dataset, load_dataset
from pyhw.training.layers import layer_sizes
from pyhw.training.recipe import Recipe


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """Give every test a few noisy images in place of the data sets."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (48, 28, 28)).astype(np.uint8)
    labels = generator.integers(0, 10, 48)

    def few(name, folder=None):
        return Dataset(name=name, train_images=images, train_labels=labels,
                       test_images=images[:16], test_labels=labels[:16])  # fmt: skip

    monkeypatch.setattr(quantize_run, "load_dataset", few)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, its graph and its program; nothing writes to them."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    model = LeNet5()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, 1, 28, 28))
    save_checkpoint(folder / "net.pt", model, Recipe(epochs=1), [])
    return folder


@pytest.fixture
def graph(files):
    path = files / "net.pyhw"
    if not path.exists():
        assert cli.main(["quantize", str(files / "net.pt"), "--calibration", "8"]) == 0
    return path


@pytest.fixture
def program(graph):
    path = graph.with_suffix(".pyhwprog")
    if not path.exists():
        compile_graph(load(graph), PRESETS["default"], 2).save(path)
    return path


def _refused(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    assert cli.main([str(a) for a in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_quantize_writes_a_graph_and_says_what_it_lost(files, tmp_path, capsys):
    out = tmp_path / "out.pyhw"
    command = ["quantize", str(files / "net.pt"), "-o", str(out), "--bits", "6", "--digits", "3",
               "--calibration", "16", "--data", "digits"]  # fmt: skip
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "8 bits, 3 digits" in printed
    assert "accuracy over 16 test images of digits: float" in printed
    made = load(out)
    assert made.name == "lenet5_adder_digits"
    assert made.meta["bits"] == 6
    assert made.meta["classes"] == list("0123456789")
    assert made.meta["command"] == (
        "pyhw quantize net.pt --data digits --calibration 16 --bits 6 --digits 3"
    )
    assert len(made.meta["origin"]["checkpoint"]) == 64
    assert made.meta["accuracy"]["images"] == 16


def test_quantize_twice_writes_the_same_bytes(files, tmp_path):
    for name in ("a", "b"):
        out = str(tmp_path / name)
        assert cli.main(["quantize", str(files / "net.pt"), "-o", out, "--calibration", "8"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_quantize_help_has_examples(capsys):
    assert cli.main(["quantize", "--help"]) == 0
    assert "pyhw quantize lenet5.pt --out lenet5.pyhw" in capsys.readouterr().out


def test_quantize_refuses_files_that_are_no_checkpoints(files, graph, tmp_path, capsys):
    assert "does not exist" in _refused(capsys, "quantize", tmp_path / "none.pt")
    content = (files / "net.pt").read_bytes()
    cut, foreign, newer = (tmp_path / name for name in ("cut.pt", "foreign.pt", "newer.pt"))
    cut.write_bytes(content[:5000])
    assert "truncated" in _refused(capsys, "quantize", cut)
    foreign.write_text("hello")
    assert "no pyhw checkpoint" in _refused(capsys, "quantize", foreign)
    saved = torch.load(files / "net.pt", weights_only=True)
    torch.save(saved | {"version": 99}, newer)
    assert "update pyhw" in _refused(capsys, "quantize", newer)
    assert "is a graph, not a checkpoint" in _refused(
        capsys, "quantize", graph, "--out", tmp_path / "x.pyhw"
    )


def test_quantize_refuses_weights_that_are_no_numbers(files, tmp_path, capsys):
    saved = torch.load(files / "net.pt", weights_only=True)
    saved["model"]["conv3.weight"][0, 0, 0, 0] = float("nan")
    path = tmp_path / "nan.pt"
    torch.save(saved, path)
    assert "layer 'conv3': its weight holds NaN" in _refused(
        capsys, "quantize", path, "--calibration", 8
    )
    assert not path.with_suffix(".pyhw").exists()


@pytest.mark.parametrize(("option", "text"), [
    (("--bits", "3"), "bits must be a whole number from 4 to 8, not 3"),
    (("--weight-bits", "9"), "weight_bits must be"),
    (("--digits", "6"), "digits must be"),
    (("--calibration", "0"), "calibration must be a whole number of images from 1 to 48, not 0"),
    (("--calibration", "49"), "from 1 to 48"),
])  # fmt: skip
def test_quantize_refuses_options_out_of_range(files, tmp_path, capsys, option, text):
    out = tmp_path / "x.pyhw"
    assert text in _refused(capsys, "quantize", files / "net.pt", "-o", out, *option)
    assert not out.exists()


def test_quantize_does_not_write_over_the_checkpoint_or_into_nothing(files, tmp_path, capsys):
    path = files / "net.pt"
    assert "is a checkpoint: move it" in _refused(capsys, "quantize", path, "--out", path)
    (tmp_path / "no").touch()
    out = tmp_path / "no" / "folder.pyhw"
    line = _refused(capsys, "quantize", path, "--calibration", "8", "--out", out)
    assert "cannot write" in line


def test_quantize_without_torch_says_how_to_get_it(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install '.[train]'" in _refused(capsys, "quantize", files / "net.pt")


def test_calibration_images_are_spread_over_all():
    images = np.arange(100)
    assert calibration_images(images, 4).tolist() == [0, 33, 66, 99]
    assert calibration_images(images, 100).tolist() == images.tolist()


def test_progress_goes_through_every_part(files):
    told = []
    quantize_checkpoint(files / "net.pt", calibration=4, progress=lambda *a: told.append(a[2]))
    assert told[0] == "quantising conv1"
    assert told[-2:] == ["testing the model", "testing the graph"]


def test_info_of_a_checkpoint(files, capsys):
    assert cli.main(["info", str(files / "net.pt")]) == 0
    printed = capsys.readouterr().out
    assert "net.pt: checkpoint, " in printed
    assert "2 AdderConv2d" in printed
    assert cli.main(["info", str(files / "net.pt"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    layers = {layer["name"]: layer for layer in record["layers"]}
    assert layers["conv1"]["products"] == 117_600
    assert layers["conv2"]["differences"] == 240_000
    assert (layers["fc1"]["shape"], layers["fc1"]["parameters"]) == ([84], 10_080)
    assert record["recipe"]["ops"] == "adder"


def test_info_of_a_graph(graph, capsys):
    assert cli.main(["info", str(graph)]) == 0
    printed = capsys.readouterr().out
    assert "multiplications               0" in printed
    assert "1 input, 5 conv, 2 pool" in printed
    assert "command:" in printed
    assert cli.main(["info", str(graph), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "graph"
    assert record["totals"]["l1_terms"] == 298_080
    assert record["operations"] == {"input": 1, "conv": 5, "pool": 2}
    assert record["layers"][1]["fmt"] == "u8"


def test_info_of_a_program(program, capsys):
    assert cli.main(["info", str(program)]) == 0
    assert "(default)" in capsys.readouterr().out
    assert cli.main(["info", str(program), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "program"
    assert record["operations"] == {"shift": 2, "pool": 2, "l1": 3}
    assert record["sections"]["weights"] > 60_000
    assert record["presets"] == ["default"]


@pytest.mark.parametrize(("content", "text"), [
    (b"", "is empty"),
    (b"module top;", "no pyhw checkpoint, graph or program: it looks like something else"),
    (b"\x93NUMPY\x01\x00", "a NumPy array"),
    (b'{"isa": 1}', "JSON"),
    (b"PK\x03\x04" + bytes(100), "another kind of zip archive"),
    (b"PK\x03\x04", "another kind of zip archive"),
    (b"\x80\x02}q\x00.", "a pickle"),
])  # fmt: skip
def test_info_says_what_a_foreign_file_is_not(tmp_path, capsys, content, text):
    path = tmp_path / "file"
    path.write_bytes(content)
    line = _refused(capsys, "info", path)
    assert text in line
    assert str(path) in line


def test_info_of_what_cannot_be_read(tmp_path, capsys):
    assert "does not exist" in _refused(capsys, "info", tmp_path / "none")
    assert "cannot read" in _refused(capsys, "info", tmp_path)


@pytest.mark.parametrize("size", [200, 3000, -30])
def test_info_of_truncated_files(files, graph, program, tmp_path, capsys, size):
    for path in (files / "net.pt", graph, program):
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:size])
        assert str(cut) in _refused(capsys, "info", cut)


def test_info_of_newer_files(files, graph, program, tmp_path, capsys):
    path = tmp_path / "new"
    content = graph.read_bytes()
    assert content.count(b'"version":3') == 1
    path.write_bytes(content.replace(b'"version":3', b'"version":4', 1))
    _refused(capsys, "info", path)
    raw = bytearray(program.read_bytes())
    raw[8] = 9
    path.write_bytes(raw)
    assert "version" in _refused(capsys, "info", path)
    torch.save(torch.load(files / "net.pt", weights_only=True) | {"version": 99}, path)
    assert "update pyhw" in _refused(capsys, "info", path)


def test_info_of_a_checkpoint_without_torch_says_how_to_get_it(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyhw.training.layers", None)
    assert "pip install '.[train]' in pyhw's folder" in _refused(capsys, "info", files / "net.pt")


def test_layer_sizes_count_every_layer_once():
    sizes = layer_sizes(LeNet5(ops="conv").eval())
    assert len(sizes) == 17
    assert sum(size.products for size in sizes) == 416_520
    assert sum(size.differences for size in sizes) == 0
    assert sum(size.parameters for size in sizes) == 61_942


def test_calibration_count_is_checked_for_large_sets():
    with pytest.raises(UserError, match="from 1 to 4096"):
        calibration_images(np.zeros((60000, 1)), 5000)


MODELS = pyhw.MODELS


def checkpoint_of(graph):
    """Return the checkpoint's name in the command that made a graph."""
    return graph.meta["command"].split()[2]


@pytest.mark.parametrize("name", ["lenet1_adder_mnist", "lenet5_adder_digits", "lenet5_adder_mnist",
                                  "lenet5_adder_mnist_6bit", "lenet5_conv_mnist"])
def test_a_graph_in_the_repository_belongs_to_its_checkpoint_and_compiles(name):
    graph = load(MODELS / f"{name}.pyhw")
    content = (MODELS / checkpoint_of(graph)).read_bytes()
    assert graph.meta["origin"]["checkpoint"] == hashlib.sha256(content).hexdigest()
    accuracy = graph.meta["accuracy"]
    assert accuracy["integer"] >= accuracy["float"] - 0.1
    assert accuracy["images"] == (599 if name.endswith("digits") else 10_000)
    assert compile_graph(graph, PRESETS["default"], 8).batch == 8


def test_the_digits_graph_in_the_repository_is_made_again_to_the_bit(monkeypatch):
    monkeypatch.setattr(quantize_run, "load_dataset", load_dataset)
    made = quantize_checkpoint(MODELS / "lenet5_adder_digits.pt", Settings(digits=3))
    assert made.graph == load(MODELS / "lenet5_adder_digits.pyhw")


def test_the_page_of_results_says_what_the_graphs_say():
    text = (MODELS.parents[1] / "docs" / "results.md").read_text()
    for path in sorted(MODELS.glob("*.pyhw")):
        graph = load(path)
        if "weights" in graph.meta:  # drawn, not trained: there is no accuracy to tell
            continue
        chosen, usual = graph.meta["quantizer"], {
            "weight_bits": None, "digits": None, "terms": 3, "exponent": 16}
        options = {name.replace("_", "-"): chosen[name] for name in usual
                   if chosen[name] != usual[name]}
        integer = graph.meta["accuracy"]["integer"]
        words = " ".join(f"--{name} {value}" for name, value in options.items())
        row = f"| `{path.name}` | `{checkpoint_of(graph)} {words}` | {integer:.2f} % |"
        assert row in text


def test_the_error_of_every_layer_is_drawn_on_request(files, tmp_path, capsys):
    arguments = ["quantize", str(files / "net.pt"), "-o", str(tmp_path / "e.pyhw"),
                 "--calibration", "8", "--test-images", "0"]  # fmt: skip
    assert cli.main(arguments) == 0
    assert "signal over error" not in capsys.readouterr().out
    assert cli.main([*arguments, "--errors"]) == 0
    chart = capsys.readouterr().out.partition("signal over error, dB")[2]
    assert all(op.name in chart for op in load(tmp_path / "e.pyhw").ops[1:])
    assert "####" in chart

"""Extensions: the example from training to bit-exact simulation, and those that will not do."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pyhw
import pyhw.quantizer.forms
from pyhw import extensions
from pyhw.bitstream.board_file import load_board
from pyhw.cli.main import main
from pyhw.graph.execute import run_layers
from pyhw.graph.file import from_bytes, to_bytes
from pyhw.graph.random import random_graph
from pyhw.graph.random_limits import Limits
from pyhw.hdl.engines.registry import known_engines
from pyhw.hdl.registry import Registry
from pyhw.nn.kinds import asked_kinds
from pyhw.simulation.launch import find_simulator
from pyhw.verilog import gateware_sources
from tests.conftest import require

EXAMPLE = Path(__file__).parents[2] / "examples" / "extend"
TERNARY = EXAMPLE / "ternary"


@pytest.fixture
def clean(monkeypatch):
    """Take out all that extensions add, before another test runs."""
    monkeypatch.delenv(extensions.VARIABLE, raising=False)
    saved, loaded = Registry.saved(), dict(extensions._loaded)
    yield
    Registry.restore(saved)
    extensions._loaded.clear()
    extensions._loaded.update(loaded)
    os.environ.pop(extensions.VARIABLE, None)
    for name in [name for name in sys.modules if name.startswith("pyhw_extension_")]:
        del sys.modules[name]


def trained():
    """Return a small network of ternary layers, trained on stripes across or along, and images."""
    layers = sys.modules["pyhw_extension_ternary.layers"]
    rng = np.random.default_rng(1)
    along = rng.integers(0, 2, 256)
    stripes = np.where(along[:, None, None], np.arange(6)[:, None], np.arange(6)) % 2
    images = (stripes * 150 + rng.integers(0, 100, (256, 6, 6))).astype(np.uint8)[..., None]
    torch.manual_seed(2)
    model = nn.Sequential(
        layers.TernaryConv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), layers.TernaryLinear(24, 2))
    x, y = torch.tensor(images).permute(0, 3, 1, 2) / 255, torch.tensor(along)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    before = model[0].weight.detach().clone()
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert not torch.equal(before, model[0].weight)  # gradients pass the rounding
    model.eval()
    with torch.no_grad():
        assert (model(x).argmax(1) == y).float().mean() > 0.95
    return model, images, along


def test_a_ternary_network_goes_from_training_to_bit_exact_simulation(clean):
    require(lambda: find_simulator("icarus"))
    before = len(gateware_sources())
    pyhw.extend(TERNARY)
    assert "ternary" in asked_kinds()
    assert len(gateware_sources()) == before + len(list(TERNARY.glob("*.py")))
    model, images, classes = trained()
    graph = pyhw.quantize(model, images[:64])
    assert [op.term for op in graph.ops if hasattr(op, "term")] == ["ternary", "ternary"]
    outputs = run_layers(graph, images.astype(np.int64))[graph.output]
    assert (outputs.reshape(len(images), -1).argmax(1) == classes).mean() > 0.95
    assert from_bytes(to_bytes(graph)) == graph

    found = pyhw.fit(graph, device="ecp5-12f", batch=2, objective="area")
    assert list(found.config.engines) == ["ternary"]
    config = pyhw.preset("tiny").changed(
        l1=None, shift=None,
        ternary=pyhw.EngineConfig(rows=2, lanes=4, code_width=2, acc_width=14))
    program = pyhw.compile(graph, config, batch=2)
    run = pyhw.simulate(graph, program, images[:2], simulator="icarus")
    np.testing.assert_array_equal(run.outputs.reshape(2, -1), outputs[:2].reshape(2, -1))
    assert run.cycles == program.cycles


def test_random_ternary_networks_survive_files_and_exports(clean):
    from pyhw.compiler import compile_graph
    from pyhw.graph.torch_export import IntegerModule

    pyhw.extend(TERNARY)
    config = pyhw.Config.of(
        ternary=pyhw.EngineConfig(rows=4, lanes=8, code_width=2, acc_width=20), taps=3,
        scratch_bytes=1 << 16, weight_words=1 << 14, param_records=1 << 12, index_entries=1 << 10)
    compiled = 0
    for seed in range(8):
        graph, images = random_graph(seed, Limits(engines=("ternary",), max_images=16))
        golden = run_layers(graph, images)[graph.output]
        exported = IntegerModule(graph)(torch.tensor(images.astype(np.int64)))
        np.testing.assert_array_equal(exported.numpy(), golden)
        compiled += bool(compile_graph(graph, config).layers)
    assert compiled == 8


def test_an_engine_of_ones_own_is_without_multipliers(clean):
    from pyhw.hdl.engines.lone_engine import LoneEngine
    from pyhw.synthesis.yosys import multiplier_free_check

    pyhw.extend(TERNARY)
    config = pyhw.Config.of(
        ternary=pyhw.EngineConfig(rows=2, lanes=4, code_width=2, acc_width=14), taps=2)
    multiplier_free_check(LoneEngine(config, "ternary"))


def test_the_board_of_the_example_is_one():
    assert load_board(EXAMPLE / "my_board.py").device.name == "ecp5-25f"


def test_the_environment_names_extensions_for_commands(clean, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(extensions.VARIABLE, f"{TERNARY}{os.pathsep}")
    assert main(["generate", "--preset", "tiny", "--set", "ternary.rows=0", "-o",
                 str(tmp_path / "a.v")]) != 0
    assert "ternary" in known_engines()
    assert "no engine 'ternary'" in capsys.readouterr().err
    assert os.environ[extensions.VARIABLE] == str(TERNARY)


def test_an_extension_is_loaded_once_and_its_name_is_its_own(clean, tmp_path):
    assert pyhw.extend(TERNARY) is pyhw.extend(str(TERNARY))
    (tmp_path / "ternary.py").write_text("")
    with pytest.raises(pyhw.UserError, match="there is an extension 'ternary' already"):
        pyhw.extend(tmp_path / "ternary.py")


@pytest.fixture
def changed(tmp_path):
    """Return a function that copies the example with a change in one of its files."""

    def write(file, old, new):
        folder = tmp_path / "changed"
        shutil.copytree(TERNARY, folder, ignore=shutil.ignore_patterns("__pycache__"))
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return write


@pytest.mark.parametrize(("file", "old", "new", "said"), [
    ("__init__.py", "import gateware, host, term", "import gateware, term",
     r"the engine 'ternary' has no host half \(pyhw\.engines\.register\)$"),
    ("__init__.py", "import gateware, host, term", "import gateware, host",
     r"the engine 'ternary' has no term"),
    ("__init__.py", "import gateware, host, term", "import host, term",
     r"the engine 'ternary' has no gateware"),
    ("gateware.py", 'name = "ternary"', 'name = "shift"',
     r"gateware\.py, line \d+: ValueError: Engine name 'shift' is taken$"),
    ("term.py", 'name = "ternary"', 'name = "l1"',
     r"term\.py, line \d+: ValueError: Term name 'l1' is taken$"),
    ("host.py", "def encode", "def encoded",
     r"host\.py, line \d+: TypeError: Can't instantiate abstract class TernaryHost .*'?encode'?"),
    ("host.py", "LUTS = ", "LUTS = 1 / 0, ", r"host\.py, line \d+: ZeroDivisionError: division"),
    ("term.py", "class Ternary", "class class Ternary", r"term\.py, line \d+: SyntaxError: in"),
    ("__init__.py", "from . import", "raise SystemExit(0)\nfrom . import",
     r"__init__\.py, line \d+: SystemExit: 0$"),
    ("layers.py", 'name="ternary", conv', 'name="adder", conv',
     r"layers\.py, line \d+: ValueError: Kind name 'adder' is taken$"),
    ("layers.py", 'form="ternary"', 'form="binary"',
     r"the layers Ternary\w+ are of the form 'binary', which is none"),
    ("layers.py", "epochs=200", 'edge="no"', r"the kind 'ternary' has the edge 'no', which is no"),
])  # fmt: skip
def test_an_extension_that_will_not_do_is_named_with_the_reason_in_one_line(
    clean, changed, monkeypatch, capsys, file, old, new, said
):
    folder, before = changed(file, old, new), (known_engines(), asked_kinds())
    with pytest.raises(pyhw.UserError) as caught:
        pyhw.extend(folder)
    line = str(caught.value)
    assert line.startswith(f"extension {folder}: ")
    assert re.search(said, line), line
    assert len(line.splitlines()) == 1
    assert (known_engines(), asked_kinds()) == before  # nothing of it stays
    monkeypatch.setenv(extensions.VARIABLE, str(folder))
    assert main(["fit"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"error: {line}"]


def test_what_is_no_extension_is_refused(clean, tmp_path):
    with pytest.raises(pyhw.UserError, match=r"absent\.py: it does not exist"):
        pyhw.extend(tmp_path / "absent.py")
    with pytest.raises(pyhw.UserError, match=r"it does not exist"):
        pyhw.extend(tmp_path)  # without __init__.py
    (tmp_path / "two words.py").write_text("")
    with pytest.raises(pyhw.UserError, match="its name must be one that Python can import"):
        pyhw.extend(tmp_path / "two words.py")

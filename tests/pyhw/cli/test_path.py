"""The walk in the README, typed as it stands there; the README is read, so both stay the same."""

import itertools
import re
import shlex

import pytest

import pyhw
from pyhw.cli import main as cli
from pyhw.compiler import Program
from pyhw.graph.file import load
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.presets import PRESETS
from tests.support import ROOT
from tests.support.device_model import DeviceModel
from tests.support.pty_board import PtyBoard

README = ROOT / "README.md"
MODELS = pyhw.MODELS
ORDER = ["train", "quantize", "info", "compile", "generate", "simulate", "build", "flash",
         "infer", "synth"]


def walk() -> dict[str, list[str]]:
    """Return the arguments of every command in the README's walk, by the command's name."""
    section = README.read_text(encoding="utf-8").partition("## The walk")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.S)
    assert block is not None
    lines = [line for line in block[1].splitlines() if line and not line.startswith("#")]
    commands = [shlex.split(line) for line in lines]
    assert all(words[0] == "pyhw" for words in commands)
    return {words[1]: words[1:] for words in commands}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in an empty folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = cli.main(list(arguments))
        printed = capsys.readouterr()
        assert status == 0, printed.err
        assert printed.err == ""
        return printed.out

    return call


def test_the_walk_has_every_step_in_order():
    assert list(walk()) == ORDER


def test_the_walk_from_training_to_verilog(run, tmp_path):
    pytest.importorskip("torch")
    step = walk()
    assert "test accuracy" in run(*step["train"], "--epochs", "1").lower()
    assert "integers" in run(*step["quantize"])
    assert "conv3" in run(*step["info"])
    printed = run(*step["compile"])
    assert "cycles an image" in printed
    assert "lenet5.pyhwprog: " in printed
    printed = run(*step["generate"])
    assert printed.startswith("default.v: ")
    assert "256 l1 lanes" in printed
    assert {path.name for path in tmp_path.iterdir()} == {
        "lenet5.pt", "lenet5.pyhw", "lenet5.pyhwprog", "default.v", "default.json"}


@pytest.mark.slow
def test_the_walk_ends_with_equal_bits(run, tmp_path, verilator):
    pytest.importorskip("torch")
    (tmp_path / "lenet5.pt").write_bytes((MODELS / "lenet5_adder_digits.pt").read_bytes())
    step = walk()
    for name in ("quantize", "compile", "generate"):
        run(*step[name])
    printed = run(*step["simulate"])
    assert "8 images, 80 values compared with the golden executor: 0 differences" in printed
    assert re.search(r"^[78] of 8 images classified correctly", printed, re.M)


def test_the_walk_runs_on_a_board(run, tmp_path):
    pytest.importorskip("serial")
    pytest.importorskip("sklearn")
    (tmp_path / "lenet5.pyhw").write_bytes((MODELS / "lenet5_adder_digits.pyhw").read_bytes())
    step = walk()
    run(*step["compile"])
    # What `pyhw build` keeps in its folder, here of the accelerator that is compiled for.
    built = tmp_path / step["build"][step["build"].index("--out") + 1]
    built.mkdir()
    program = (tmp_path / "lenet5.pyhwprog").rename(built / "model.pyhwprog")
    (built / "config.json").write_text(config_to_json(PRESETS["default"]))
    device = DeviceModel(PRESETS["default"], load("lenet5.pyhw"), Program.load(program))
    with PtyBoard(device) as board:
        printed = run(*step["infer"], "--port", board.port, "--timeout", "20")
    assert re.search(r"^100 images in [\d.]+ s, [\d,.]+ a second, 0 retries$", printed, re.M)
    assert re.search(r"^(9\d|100) of 100 images classified correctly$", printed, re.M)
    assert "1,000 values equal the golden executor's" in printed


@pytest.mark.slow
def test_the_path_in_python_up_to_the_board(tmp_path, monkeypatch, verilator):
    from pyhw.training.data import load_dataset

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet5.pyhw").write_bytes((MODELS / "lenet5_adder_digits.pyhw").read_bytes())
    text = README.read_text(encoding="utf-8")
    block = re.search(r"```python\n(import pyhw\n.*?)```", text, re.S)
    assert block is not None
    lines, _, rest = block[1].partition("build = ")
    assert "pyhw.connect(board=" in rest
    here = {"images": load_dataset("digits", None).test_images[:4, :, :, None]}
    exec(lines, here)
    assert here["run"].outputs.shape[0] == 4
    assert here["run"].cycles > 0


@pytest.mark.parametrize("name", ["compile", "generate", "simulate", "demo", "infer", "bench",
                                  "emulate", "build", "flash"])
def test_no_line_of_help_is_torn(name, capsys):
    assert cli.main([name, "--help"]) == 0
    text = capsys.readouterr().out.partition("╭")[0]
    lines = [line.strip() for line in text.splitlines()[1:]]
    after = lines[lines.index("Examples:") + 1:]
    examples = [line for line in after if line]
    assert all(line.startswith(f"pyhw {name}") for line in examples)
    # An empty line stands between examples, and a paragraph's lines are filled.
    assert after == [line for example in examples for line in ("", example)] + [""]
    prose = lines[1:lines.index("Examples:")]
    for line, following in itertools.pairwise(prose):
        room = 78 - len(line) - 1
        assert not line or not following or len(following.split()[0]) > room, line

"""Checkpoints, those that come with the package included."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from pyhw.errors import UserError
from pyhw.training import checkpoint as checkpoint_module
from pyhw.training import data as data_module
from pyhw.training import run as run_module
from pyhw.training.checkpoint import load_checkpoint, save_checkpoint
from pyhw.training.data import load_digits, load_mnist
from pyhw.training.loop import Trainer, evaluate
from tests.support.few_digits import RECIPE, same, weights

MODELS = Path(run_module.__file__).parents[1] / "models"


# --- checkpoints


@pytest.fixture(scope="module")
def trained(few):
    trainer = Trainer(RECIPE, few)
    trainer.run_epoch()
    return trainer


@pytest.fixture
def saved(trained, tmp_path):
    """Return a function that saves a checkpoint with changed entries and gives its path."""

    def save(**changes):
        path = tmp_path / "a.pt"
        save_checkpoint(path, trained.model, RECIPE, trained.history, trained.optimizer)
        content = torch.load(path, weights_only=True)
        for name, value in changes.items():
            content[name] = value(content[name]) if callable(value) else value
        torch.save(content, path)
        return path

    return save


def test_checkpoint_comes_back_as_saved(trained, saved):
    model, meta = load_checkpoint(saved())
    assert same(model.state_dict().values(), weights(trained))
    assert not model.training
    assert meta.recipe == RECIPE
    assert meta.history == tuple(trained.history)
    assert (meta.epoch, meta.finished) == (1, False)
    assert meta.accuracy == trained.history[0].accuracy
    assert meta.optimizer["param_groups"][0]["momentum"] == 0.9


def test_saving_replaces_the_file_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, trained.model, RECIPE, trained.history)
    before = path.read_bytes()

    def half(content, file):
        file.write(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", half)
    with pytest.raises(UserError, match=r"cannot write .*a\.pt: No space left on device"):
        save_checkpoint(path, trained.model, RECIPE, trained.history)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_where_no_folder_can_be_is_refused(trained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file is no folder"):
        save_checkpoint(tmp_path / "file" / "a.pt", trained.model, RECIPE, trained.history)


def test_a_flipped_bit_is_found(saved):
    path = saved()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not match its checksum"):
        load_checkpoint(path)


def test_truncated_checkpoint_is_refused_wherever_it_ends(saved):
    path = saved()
    content = path.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"a\.pt is no checkpoint, or a truncated one"):
            load_checkpoint(path)


def test_damaged_checkpoint_is_refused(saved):
    path = saved()
    content = bytearray(path.read_bytes())
    start = content.find(b"data.pkl") + 64
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pt is (damaged|no)"):
        load_checkpoint(path)


class _Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


def _zip_of(pickled):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"some text", "is no checkpoint"),
        (pickle.dumps(_Harmful()), "is no checkpoint"),
        (_zip_of(pickle.dumps(_Harmful(), 2)), "holds Python objects"),
        (_zip_of(pickle.dumps({"format": "theirs"}, 2)), "is no pyhw checkpoint"),
        (_zip_of(pickle.dumps([1], 2)), "is no pyhw checkpoint"),
        (_zip_of(b""), "is (damaged|no checkpoint)"),
    ],
    ids=["text", "pickle", "pickle-in-zip", "other-format", "list", "empty-pickle"],
)
def test_foreign_file_is_refused_without_running_it(tmp_path, capsys, content, message):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_checkpoint(path)
    assert "must not run" not in capsys.readouterr().out


def test_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(tmp_path)


def test_oversized_checkpoint_is_refused_unread(saved, monkeypatch):
    path = saved()
    monkeypatch.setattr(checkpoint_module, "LARGEST", 1 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1 << 21))
    with pytest.raises(UserError, match="unpacks to more than 1 MiB"):
        load_checkpoint(path)
    with path.open("ab") as file:
        file.truncate(1 << 21)
    with pytest.raises(UserError, match="is larger than the 1 MiB"):
        load_checkpoint(path)


def _with(name, value):
    """Change one entry of a table, or remove it by None."""
    return lambda table: {k: v for k, v in {**table, name: value}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "version 3, not 1 or 2: update pyhw"),
        ({"version": 0}, "version 0, not 1 or 2: train again"),
        ({"version": "x"}, "version x, not 1 or 2: train again"),
        ({"format": "other"}, "is no pyhw checkpoint"),
        ({"model": _with("fc1.weight", None)}, "has no tensor 'fc1.weight'"),
        ({"model": _with("fc1.weight", 3)}, "has no tensor 'fc1.weight'"),
        (
            {"model": _with("fc1.weight", torch.zeros(84, 121))},
            r"tensor 'fc1.weight' must have shape \(84, 120\), not \(84, 121\)",
        ),
        (
            {"model": _with("bn1.weight", torch.zeros(6, dtype=torch.float64))},
            "tensor 'bn1.weight' must be torch.float32, not torch.float64",
        ),
        ({"model": _with("fc9.weight", torch.zeros(1))}, "has a tensor 'fc9.weight'"),
        ({"model": None}, "its model is not a table of tensors"),
        ({"recipe": None}, "entry missing or misshapen"),
        ({"recipe": _with("seed", None)}, "foreign or missing fields: seed"),
        ({"recipe": _with("epochs", -1)}, "epochs must be"),
        ({"recipe": _with("lr", "fast")}, "entry missing or misshapen"),
        ({"recipe": _with("model", "lenet6")}, "names the network 'lenet6'"),
        ({"recipe": _with("ops", "mul")}, "with 'mul' layers, which this pyhw does not know"),
        ({"history": [{"epoch": 1}]}, "entry missing or misshapen"),
        ({"history": 5}, "entry missing or misshapen"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_in_one_line(saved, changes, message):
    path = saved(**changes)
    with pytest.raises(UserError, match=message) as refusal:
        load_checkpoint(path)
    assert "\n" not in str(refusal.value)


def test_checkpoint_without_an_entry_is_refused(saved):
    path = saved()
    content = torch.load(path, weights_only=True)
    del content["history"]
    torch.save(content, path)
    with pytest.raises(UserError, match="entry missing or misshapen"):
        load_checkpoint(path)


# --- trained networks that come with the package


def test_digits_checkpoint_reaches_its_accuracy():
    model, meta = load_checkpoint(MODELS / "lenet5_adder_digits.pt")
    digits = load_digits()
    accuracy = evaluate(model, digits.test_images, digits.test_labels)
    assert accuracy >= 98.5
    assert accuracy == pytest.approx(meta.accuracy, abs=0.2)


@pytest.mark.parametrize("ops", ["adder", "conv"])
def test_mnist_checkpoint_reaches_its_accuracy(ops):
    if not os.environ.get("PYHW_DATA"):
        pytest.skip("MNIST: PYHW_DATA is not set")
    model, meta = load_checkpoint(MODELS / f"lenet5_{ops}_mnist.pt")
    mnist = load_mnist()
    assert (len(mnist.train_images), len(mnist.test_images)) == (60000, 10000)
    accuracy = evaluate(model, mnist.test_images, mnist.test_labels)
    assert accuracy >= 99.4
    assert accuracy == pytest.approx(meta.accuracy, abs=0.02)


def test_trained_checkpoints_are_small_and_hold_no_optimiser():
    paths = sorted(MODELS.glob("*.pt"))
    assert len(paths) >= 3
    for path in paths:
        assert path.stat().st_size < 300_000
        assert load_checkpoint(path)[1].optimizer is None


def test_data_can_be_read_without_pytorch():
    code = "import sys; sys.modules['torch'] = None; import pyhw.training.data"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert data_module.DATASETS == ("digits", "mnist", "cifar10")

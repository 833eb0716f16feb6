import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import gzip
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.training import checkpoint as checkpoint_module
from pyhw.training import data as data_module
from pyhw.training import run as run_module
from pyhw.training.checkpoint import load_checkpoint, save_checkpoint
from pyhw.training.data import Dataset, enlarge, load_dataset, load_digits, load_mnist
from pyhw.training.idx import read_idx
from pyhw.training.loop import Trainer, distort, evaluate, to_input
from pyhw.training.recipe import Recipe, make_recipe
from pyhw.training.report import train_with_progress
from pyhw.training.run import prepare, run

MODELS = Path(run_module.__file__).parents[1] / "models"
RECIPE = Recipe(epochs=3, batch=16)


@pytest.fixture(scope="module")
def few():
    digits = load_digits()
    return Dataset(
        name="digits",
        train_images=digits.train_images[:100],
        train_labels=digits.train_labels[:100],
        test_images=digits.test_images[:50],
        test_labels=digits.test_labels[:50],
    )


@pytest.fixture
def few_everywhere(few, monkeypatch):
    monkeypatch.setattr(run_module, "load_dataset", lambda name, folder: few)


def _weights(trainer):
    return [tensor.clone() for tensor in trainer.model.state_dict().values()]


def _same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- data


def test_enlarging_spreads_a_pixel_bilinearly():
    image = np.zeros((1, 8, 8))
    image[0, 3, 4] = 16
    large = enlarge(image)
    assert large.shape == (1, 28, 28)
    assert large.dtype == np.uint8
    line = [round(255 * n / 3) for n in (1, 2, 3, 2, 1)]
    centre = (2 + 3 * 3 + 1, 2 + 3 * 4 + 1)
    assert large[0, centre[0], centre[1] - 2 : centre[1] + 3].tolist() == line
    assert large[0, centre[0] - 2 : centre[0] + 3, centre[1]].tolist() == line
    corner = large[0, centre[0] - 2, centre[1] - 2]
    assert corner == round(255 / 9)
    assert (large > 0).sum() == 25


def test_enlarging_keeps_white_white_and_the_border_black():
    large = enlarge(np.full((2, 8, 8), 16))
    assert (large[:, 2:-2, 2:-2] == 255).all()
    assert large.sum() == 2 * 24 * 24 * 255


def test_digits_hold_out_every_third_image():
    digits = load_digits()
    assert digits.train_images.shape == (1198, 28, 28)
    assert digits.test_images.shape == (599, 28, 28)
    assert digits.train_labels[:4].tolist() == [0, 1, 3, 4]
    assert digits.test_labels[:3].tolist() == [2, 5, 8]
    assert set(digits.test_labels) == set(range(10))


def test_digits_without_scikit_learn_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"scikit-learn was not found.*pyhw\[train\]"):
        load_digits()


def test_unknown_data_set_is_named():
    with pytest.raises(UserError, match="data must be one of digits, mnist, not 'cifar'"):
        load_dataset("cifar")


def _idx(array):
    return (
        bytes((0, 0, 8, array.ndim))
        + struct.pack(f">{array.ndim}I", *array.shape)
        + bytes(array.reshape(-1).tolist())
    )


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
PACKED = gzip.compress(_idx(IMAGES), mtime=0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_is_read_packed_or_not(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(_idx(IMAGES)))
    assert np.array_equal(read_idx(path, 3), IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\x89PNG and so on", "is not an IDX file"),
        (_idx(IMAGES[0]), "is not an IDX file of unsigned bytes with 3"),
        (_idx(IMAGES)[:10], "is truncated"),
        (_idx(IMAGES)[:-1], "announces 24 bytes, it holds only 23"),
        (_idx(IMAGES) + b"\0", "announces 24 bytes, it holds more"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "its header is damaged"),
        (PACKED[:-9], "is truncated or damaged"),
        (PACKED[:-8] + bytes(8), "is truncated or damaged"),
        (PACKED[:10] + b"\xff" * 20, "is truncated or damaged"),
        (b"\x1f\x8b", "is truncated or damaged"),
        (b"\x1f\x8bnonsense", "is truncated or damaged"),
    ],
    ids=[
        "empty",
        "foreign",
        "dimensions",
        "short-header",
        "short",
        "long",
        "oversized",
        "short-gzip",
        "checksum",
        "deflate",
        "gzip-magic",
        "gzip-header",
    ],
)
def test_damaged_idx_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refusal:
        read_idx(path, 3)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_idx_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_idx(tmp_path / "none", 3)
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path, 3)


def _write_mnist(folder, train=3, labels=3, size=28, largest=9):
    folder.mkdir(exist_ok=True)
    for name, count, marks in (("train", train, labels), ("t10k", 2, 2)):
        images = np.full((count, size, size), 7, np.uint8)
        label = np.full(marks, largest, np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(_idx(label))
    return folder


@pytest.mark.parametrize("inner", ["", "mnist"])
def test_mnist_is_found_in_the_folder_or_below(tmp_path, monkeypatch, inner):
    _write_mnist(tmp_path / inner)
    monkeypatch.setenv("PYHW_DATA", str(tmp_path))
    mnist = load_mnist()
    assert mnist.train_images.shape == (3, 28, 28)
    assert mnist.test_labels.tolist() == [9, 9]
    assert mnist.test_labels.dtype == np.int64


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"labels": 4}, "holds 4 labels for 3 images"),
        ({"size": 27}, "must hold images of 28x28 pixels"),
        ({"largest": 10}, "must hold labels of 0 to 9"),
        ({"train": 0, "labels": 0}, "must hold labels of 0 to 9"),
    ],
)
def test_files_that_are_not_mnist_are_refused(tmp_path, damage, message):
    with pytest.raises(UserError, match=message):
        load_mnist(_write_mnist(tmp_path, **damage))


def test_missing_mnist_says_how_to_name_its_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PYHW_DATA", raising=False)
    with pytest.raises(UserError, match="--data-dir or the environment variable PYHW_DATA"):
        load_mnist()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz was not found in"):
        load_mnist(tmp_path)


# --- recipe


def test_defaults_depend_on_the_data():
    assert make_recipe(data="mnist", ops=None) == Recipe(data="mnist", epochs=30, batch=256)
    assert make_recipe() == Recipe(data="digits", epochs=60, batch=64)
    assert make_recipe(data="mnist", batch=32, seed=None).batch == 32


def test_learning_rate_falls_along_half_a_cosine():
    recipe = Recipe(epochs=20, lr=0.1)
    assert recipe.lr_at(0) == pytest.approx(0.1)
    assert recipe.lr_at(10) == pytest.approx(0.05)
    assert recipe.lr_at(20) == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 10001),
        ("epochs", 1.5),
        ("batch", 1),
        ("seed", -1),
        ("seed", 2**31),
        ("shift", 9),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("turn", 45),
        ("zoom", -0.1),
    ],
)
def test_recipe_refuses_impossible_numbers(name, value):
    with pytest.raises(UserError, match=f"{name} must be"):
        make_recipe(**{name: value})


def test_resuming_keeps_the_saved_recipe():
    saved = Recipe(epochs=7, seed=3)
    assert make_recipe(saved=saved.to_dict(), epochs=None, seed=3) == saved
    with pytest.raises(UserError, match="epochs is 7 in the training to be resumed, not 8"):
        make_recipe(saved=saved.to_dict(), epochs=8)
    with pytest.raises(UserError, match="foreign or missing fields: colour"):
        make_recipe(saved={**saved.to_dict(), "colour": 1})


# --- loop


def test_input_is_the_byte_over_255():
    x = to_input(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))
    assert x.shape == (1, 1, 1, 3)
    assert x.tolist() == [[[[0, pytest.approx(0.2), 1]]]]


def test_shifted_images_are_windows_of_the_padded_ones():
    x = torch.rand(90, 1, 28, 28)
    moved = distort(x, 2, 0, 0, torch.Generator().manual_seed(0))
    padded, seen = torch.nn.functional.pad(x, (2,) * 4), set()
    for image, source in zip(moved, padded):
        fits = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.allclose(image, source[:, row : row + 28, column : column + 28], atol=1e-4)
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 20  # all 25 moves happen, up to luck


def test_half_of_the_images_keep_their_pixels():
    x = torch.rand(200, 1, 28, 28)
    turned = distort(x, 0, 10, 0.1, torch.Generator().manual_seed(0))
    kept = sum(torch.allclose(a, b, atol=1e-4) for a, b in zip(x, turned))
    assert 70 < kept < 130


def test_a_turned_image_keeps_its_centre_of_mass_and_shape():
    x = torch.zeros(100, 1, 28, 28)
    x[:, :, 4:24, 13:15] = 1  # an upright bar
    turned = distort(x, 0, 40, 0, torch.Generator().manual_seed(1))[:, 0]
    line = torch.arange(28) - 13.5
    mass = turned.sum((1, 2))
    down, right = (turned.sum(2) @ line) / mass, (turned.sum(1) @ line) / mass
    assert torch.stack((down, right)).abs().max() < 0.1
    assert (mass / 40 - 1).abs().max() < 0.1
    slant = (turned * line[:, None] * line).sum((1, 2))
    assert slant.min() < -100
    assert slant.max() > 100


def test_zoom_changes_the_area():
    x = torch.zeros(100, 1, 28, 28)
    x[:, :, 9:19, 9:19] = 1
    area = distort(x, 0, 0, 0.2, torch.Generator().manual_seed(1)).sum((1, 2, 3)) / 100
    assert 0.65 < area.min() < 0.8
    assert 1.3 < area.max() < 1.6


def test_evaluation_counts_right_answers(few):
    class Always3(torch.nn.Module):
        def forward(self, x):
            return torch.eye(10)[3].expand(len(x), 10)

    expected = 100 * (few.test_labels == 3).mean()
    assert evaluate(Always3(), few.test_images, few.test_labels) == pytest.approx(expected)


def test_same_seed_trains_to_the_same_bits(few):
    runs = [Trainer(RECIPE, few) for _ in range(2)]
    for trainer in runs:
        trainer.run_epoch()
    assert _same(*map(_weights, runs))
    assert runs[0].history[0].loss == runs[1].history[0].loss


def test_another_seed_trains_to_other_weights(few):
    one, other = Trainer(RECIPE, few), Trainer(replace(RECIPE, seed=1), few)
    assert not _same(_weights(one), _weights(other))
    assert not torch.equal(next(one._batches(0))[1], next(other._batches(0))[1])


def test_every_epoch_has_its_own_order_and_each_image_once(few):
    trainer = Trainer(replace(RECIPE, batch=50), few)
    orders = [torch.cat([labels for _, labels in trainer._batches(n)]) for n in (0, 1)]
    assert not torch.equal(*orders)
    for order in orders:
        assert order.bincount().tolist() == np.bincount(few.train_labels).tolist()


def test_batch_larger_than_the_data_takes_all_of_it(few):
    trainer = Trainer(replace(RECIPE, batch=1000), few)
    assert [len(labels) for _, labels in trainer._batches(0)] == [100]
    assert np.isfinite(trainer.run_epoch().loss)


@pytest.mark.parametrize("ops", ["adder", "conv"])
def test_training_learns(few, ops):
    trainer = Trainer(replace(RECIPE, ops=ops, epochs=12), few)
    for _ in range(12):
        record = trainer.run_epoch()
    assert record.epoch == 12
    assert record.accuracy > 60  # chance is 10 %
    assert record.loss < trainer.history[0].loss / 2


# --- interruption and resuming


def _interrupted(few, out, epoch):
    """Train and press Ctrl-C in the middle of an epoch, counted from 0."""
    trainer = Trainer(RECIPE, few)

    def on_step(fraction):
        if len(trainer.history) == epoch and fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        run(trainer, out, on_step)
    return str(stop.value)


@pytest.mark.usefixtures("few_everywhere")
def test_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(few, tmp_path):
    whole = Trainer(RECIPE, few)
    run(whole, tmp_path / "whole.pt")
    out = tmp_path / "parts.pt"
    text = _interrupted(few, out, 1)
    assert text == f"{out} keeps 1 of 3 epochs; go on with: pyhw train lenet5 --resume --out {out}"
    resumed, path = prepare(out, resume=True)
    assert len(resumed.history) == 1
    run(resumed, path)
    assert _same(_weights(whole), _weights(resumed))
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert replace(one, seconds=0) == replace(other, seconds=0)
    loaded = [load_checkpoint(tmp_path / name)[0].state_dict() for name in ("whole.pt", "parts.pt")]
    assert _same(loaded[0].values(), loaded[1].values())


def test_interruption_in_the_first_epoch_keeps_nothing(few, tmp_path):
    assert "nothing is kept" in _interrupted(few, tmp_path / "a.pt", 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("few_everywhere")
def test_resuming_refuses_what_cannot_go_on(few, tmp_path):
    out = tmp_path / "a.pt"
    with pytest.raises(UserError, match="does not exist"):
        prepare(out, resume=True)
    trainer = Trainer(replace(RECIPE, epochs=1), few)
    run(trainer, out)
    with pytest.raises(UserError, match=r"is finished \(1 epochs\)"):
        prepare(out, resume=True)
    save_checkpoint(out, trainer.model, RECIPE, trainer.history)
    with pytest.raises(UserError, match="has no optimiser state"):
        prepare(out, resume=True)
    foreign = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1)
    save_checkpoint(out, trainer.model, RECIPE, trainer.history, foreign)
    with pytest.raises(UserError, match="optimiser state does not fit"):
        prepare(out, resume=True)


@pytest.mark.usefixtures("few_everywhere")
def test_existing_checkpoint_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out = prepare(None, data="digits")
    assert out == Path("lenet5-adder-digits.pt")
    out.touch()
    with pytest.raises(UserError, match=f"{out} exists: go on with it by --resume"):
        prepare(None)


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
    assert _same(model.state_dict().values(), _weights(trained))
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
    with pytest.raises(UserError, match=r"a\.pt cannot be written: No space left on device"):
        save_checkpoint(path, trained.model, RECIPE, trained.history)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_where_no_folder_can_be_is_refused(trained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "a.pt", trained.model, RECIPE, trained.history)


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
        ({"version": 2}, "version 2, not 1: update pyhw"),
        ({"version": 0}, "version 0, not 1: train again"),
        ({"version": "x"}, "version x, not 1: train again"),
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


# --- command line


def test_training_shows_epochs_and_a_summary(few_everywhere, tmp_path):
    text = io.StringIO()
    out = tmp_path / "a.pt"
    console = Console(file=text, width=100)
    trainer = train_with_progress(out, console=console, epochs=2, batch=16, seed=5)
    lines = text.getvalue()
    assert "adder kernel: " in lines
    assert "epoch 1/2  loss " in lines
    assert f"{trainer.history[-1].accuracy:.2f} % of 50 images" in lines
    for name in ("epochs", "time", "seed", "checkpoint", str(out)):
        assert name in lines
    assert load_checkpoint(out)[1].finished


@pytest.mark.usefixtures("few_everywhere")
def test_command_trains_and_resumes_after_ctrl_c(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["train", "lenet5", "--ops", "conv", "--out", "a.pt"]
    real = Trainer.run_epoch

    def stop_in_epoch_2(trainer, on_step=None):
        if trainer.history:
            raise KeyboardInterrupt
        return real(trainer, on_step)

    monkeypatch.setattr(Trainer, "run_epoch", stop_in_epoch_2)
    assert main([*options, "--epochs", "2", "--batch", "16"]) == 130
    assert "a.pt keeps 1 of 2 epochs; go on with: pyhw train lenet5 --resume --out a.pt" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(Trainer, "run_epoch", real)
    assert main(["train", "lenet5", "--resume", "--out", "a.pt"]) == 0
    shown = capsys.readouterr().out
    assert "resuming after epoch 1 of 2" in shown
    assert "lenet5, conv layers" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "--out", "none.pt"], "error: none.pt does not exist"),
        (["--epochs", "0"], "error: epochs must be a whole number from 1 to 10000, not 0"),
        (["--data", "mnist", "--data-dir", "."], "error: train-images-idx3-ubyte.gz was not found"),
    ],
)
def test_command_turns_mistakes_into_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "lenet5", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_command_without_pytorch_names_the_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["train", "lenet5"]) == 1
    assert capsys.readouterr().err == (
        "error: PyTorch was not found; to get it: pip install 'pyhw[train]'\n"
    )


def test_help_of_the_command_needs_no_pytorch():
    code = (
        "import sys; sys.modules['torch'] = None; from pyhw.cli.main import main; "
        "sys.exit(main(['train', '--help']))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0
    for option in ("--ops", "--data", "--epochs", "--seed", "--resume", "--data-dir"):
        assert option in shown.stdout


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
    assert data_module.DATASETS == ("digits", "mnist")

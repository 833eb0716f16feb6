"""Recipe, loop, interruption and the command."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.training import run as run_module
from pyhw.training.checkpoint import load_checkpoint, save_checkpoint
from pyhw.training.loop import Trainer, distort, evaluate, to_input
from pyhw.training.recipe import Recipe, make_recipe
from pyhw.training.report import train_with_progress
from pyhw.training.run import prepare, run
from tests.support.few_digits import RECIPE, same, weights

MODELS = Path(run_module.__file__).parents[1] / "models"


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


@pytest.mark.parametrize(("images", "channels", "side", "most"), [
    (200, 3, 8, 1), (90, 1, 28, 2)])
def test_shifted_images_are_windows_of_the_padded_ones_to_the_bit(images, channels, side, most):
    x = torch.rand(images, channels, side, side)
    moved = distort(x, most, 0, 0, torch.Generator().manual_seed(0))
    padded, seen = torch.nn.functional.pad(x, (most,) * 4), set()
    places = range(2 * most + 1)
    for image, source in zip(moved, padded):
        fits = [(row, column) for row in places for column in places
                if torch.equal(image, source[:, row:row + side, column:column + side])]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > len(places) ** 2 - 5  # all moves happen, up to luck


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
    assert same(*map(weights, runs))
    assert runs[0].history[0].loss == runs[1].history[0].loss


def test_another_seed_trains_to_other_weights(few):
    one, other = Trainer(RECIPE, few), Trainer(replace(RECIPE, seed=1), few)
    assert not same(weights(one), weights(other))
    assert not torch.equal(next(one._batches(0))[1].labels,
                           next(other._batches(0))[1].labels)  # fmt: skip


def test_every_epoch_has_its_own_order_and_each_image_once(few):
    trainer = Trainer(replace(RECIPE, batch=50), few)
    orders = [torch.cat([wanted.labels for _, wanted in trainer._batches(n)]) for n in (0, 1)]
    assert not torch.equal(*orders)
    for order in orders:
        assert order.bincount().tolist() == np.bincount(few.train_labels).tolist()


def test_batch_larger_than_the_data_takes_all_of_it(few):
    trainer = Trainer(replace(RECIPE, batch=1000), few)
    assert [len(wanted.labels) for _, wanted in trainer._batches(0)] == [100]
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
    assert same(weights(whole), weights(resumed))
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert replace(one, seconds=0) == replace(other, seconds=0)
    loaded = [load_checkpoint(tmp_path / name)[0].state_dict() for name in ("whole.pt", "parts.pt")]
    assert same(loaded[0].values(), loaded[1].values())


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
        "error: PyTorch was not found; to get it: pip install '.[train]' in pyhw's folder\n"
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

"""Tables of results: rows that are missing are run, once, and the docs follow."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pyhw.cli import names
from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.quantizer import run as quantize_run
from pyhw.training import sweep, sweeps
from pyhw.training.checkpoint import save_checkpoint
from pyhw.training.guard import Diverged
from pyhw.training.loop import EpochRecord, Trainer
from pyhw.training.recipe import make_recipe
from pyhw.training.records import Row, add_row, read_rows, table, update_docs
from pyhw.training.run import run
from pyhw.training.sweeps import SWEEPS, options_of, slug
from tests.support.few_digits import RECIPE

TABLE = {
    "CNN": {"ops": "conv", "epochs": 1},
    "AdderNet": {"ops": "adder", "epochs": 1},
}


@pytest.fixture
def small(monkeypatch, few_everywhere, few):
    """Replace the table of digits by two rows on a hundred digits."""
    monkeypatch.setitem(sweeps.SWEEPS, "digits", TABLE)
    monkeypatch.setattr(quantize_run, "load_dataset", lambda name, folder: few)
    monkeypatch.setattr(quantize_run, "CALIBRATION", 64)
    monkeypatch.setattr(
        quantize_run.quantize_checkpoint, "__kwdefaults__",
        quantize_run.quantize_checkpoint.__kwdefaults__ | {"calibration": 64},
    )  # fmt: skip


def _row(name, **changes):
    row = Row(name=name, network="lenet5", method="conv", options="", data="digits", seed=0,
              epochs=1, minutes=0.5, float_accuracy=98.765,
              command=f"pyhw train {name}",)  # fmt: skip
    return replace(row, **changes)


def test_the_command_line_offers_every_table():
    assert {str(name) for name in names.Sweep} == set(SWEEPS)


def test_every_row_of_every_table_is_a_recipe_with_a_file_of_its_own():
    assert {name: len(rows) for name, rows in SWEEPS.items()} == {
        "mnist": 25, "digits": 25, "cifar10": 4, "cifar10-trial": 4, "vit-mnist": 13,
        "vit-cifar10": 13,
    }  # fmt: skip
    for name in SWEEPS:
        rows = options_of(name, Path("s"))
        recipes = [make_recipe(**options) for options in rows.values()]
        assert len({recipe.command() for recipe in recipes}) == len(rows)
        assert len({slug(name) for name in rows}) == len(rows)
    assert slug("PEMN, RP 0.1") == "pemn-rp-0.1"


def test_a_row_starts_from_the_checkpoint_of_another_that_is_run_before(tmp_path):
    for name in ("vit-mnist", "vit-cifar10"):
        seen = set()
        for row, options in options_of(name, tmp_path).items():
            for option in ("start", "learn_from"):
                assert options.get(option) in {*seen, None}
            seen.add(str(tmp_path / f"{name}-{slug(row)}.pt"))
    last = sweep.missing_rows("vit-mnist", Path("s"))["ShiftAddViT 4, mixture"]
    assert last.start == "s/vit-mnist-shiftaddvit-3-shift-in-attention.pt"


def test_rows_come_back_as_written_and_later_ones_replace(tmp_path):
    path = tmp_path / "r.jsonl"
    add_row(path, _row("a"))
    add_row(path, _row("b", int8_accuracy=97.0, note=""))
    rows = add_row(path, _row("a", seed=3))
    assert read_rows(path) == rows
    assert [(row.name, row.seed) for row in rows.values()] == [("a", 3), ("b", 0)]
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(UserError, match=r"r\.jsonl, line 3, is no row of results: remove it"):
        read_rows(path)


def test_the_table_names_what_is_missing():
    text = table({
        "a": _row("a"),
        "b": _row("b", float_accuracy=None, note=""),
        "c": _row("c", int8_accuracy=97.0, stored_bytes=12345, note=""),
    })  # fmt: skip
    assert "| a | lenet5 | conv |  | digits | 0 | 1 | 0.5 | 98.77 | not run |  |" in text
    assert "| diverged |" in text
    assert "| 1 |  | not run | not run |" in table({"d": _row("d", minutes=0, float_accuracy=None)})
    assert "| 97.00 | 12,345 |" in text
    assert "pyhw train c\n```" in text


def test_the_docs_keep_everything_outside_the_markers(tmp_path):
    path = tmp_path / "results.md"
    path.write_text("# Mine\n\n<!-- results: x -->\nold\n<!-- end of results: x -->\nafter\n")
    update_docs(path, "x", {"a": _row("a")})
    update_docs(path, "y", {"b": _row("b")})
    update_docs(path, "x", {"c": _row("c")})
    text = path.read_text()
    assert text.startswith("# Mine\n")
    assert "after\n\n## Trained: y\n" in text
    assert "old" not in text
    assert "| a |" not in text
    assert text.index("| c |") < text.index("| b |")
    path.write_text("<!-- results: x -->\n")
    with pytest.raises(UserError, match="must have one line <!-- results: x -->"):
        update_docs(path, "x", {})


@pytest.mark.usefixtures("small")
def test_a_sweep_runs_what_is_missing_and_records_it(tmp_path, capsys):
    docs, out = tmp_path / "results.md", tmp_path / "s"
    command = ["sweep", "digits", "--out", str(out), "--docs", str(docs)]
    assert main([*command, "--only", "cnn"]) == 0
    assert list(read_rows(out / "results.jsonl")) == ["CNN"]
    assert main([*command, "--list"]) == 0
    assert capsys.readouterr().out.endswith("AdderNet: pyhw train lenet5 --ops adder "
                                            "--data digits --epochs 1\n")  # fmt: skip
    assert main(command) == 0
    assert "row 1 of 1: AdderNet" in capsys.readouterr().out
    rows = read_rows(out / "results.jsonl")
    assert {row.note for row in rows.values()} == {""}
    assert all(0 <= row.int8_accuracy <= 100 for row in rows.values())
    assert docs.read_text().count("| lenet5 |") == 2
    assert main(command) == 0
    assert "2 rows, 0 missing" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_a_row_in_progress_goes_on_from_its_checkpoint(few, tmp_path):
    def train(recipe, out, resume):
        called.append(resume)
        if stops:
            trainer = Trainer(recipe, few)
            trainer.run_epoch()
            save_checkpoint(out, trainer.model, trainer.recipe, [], trainer.optimizer)
            stops.pop()
            raise KeyboardInterrupt
        out.unlink()
        run(Trainer(recipe, few), out)

    called, stops, said = [], [1], []
    arguments = ("digits", tmp_path, None, train, said.append)
    with pytest.raises(KeyboardInterrupt):
        sweep.run_sweep(*arguments, only="cnn")
    assert not read_rows(tmp_path / "results.jsonl")
    sweep.run_sweep(*arguments, only="cnn")
    assert called == [False, True]


@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_another_recipe_is_kept_aside_and_its_row_trained_anew(few, tmp_path):
    def train(recipe, out, resume):
        called.append((recipe.epochs, resume))
        run(Trainer(recipe, few), out)

    called, said = [], []
    for epochs in (1, 2):
        sweep.run_sweep("digits", tmp_path, None, train, said.append, only="cnn", epochs=epochs)
    assert called == [(1, False), (2, False)]
    assert (tmp_path / "digits-cnn.before.pt").exists()
    assert any("the earlier checkpoint is now" in line for line in said)
    assert read_rows(tmp_path / "results.jsonl")["CNN"].epochs == 2


@pytest.mark.usefixtures("small")
def test_divergence_and_refusals_are_results(few, tmp_path, monkeypatch):
    def train(recipe, out, resume):
        if recipe.ops == "adder":
            raise Diverged("the loss is not a finite number")
        run(Trainer(recipe, few), out)

    def refuse(*arguments, **options):
        raise UserError("no such layers")

    monkeypatch.setattr(quantize_run, "quantize_checkpoint", refuse)
    said = []
    sweep.run_sweep("digits", tmp_path, None, train, said.append)
    rows = read_rows(tmp_path / "results.jsonl")
    assert rows["AdderNet"].float_accuracy is None
    assert (rows["CNN"].int8_accuracy, rows["CNN"].note) == (None, "not supported")
    assert "CNN: the quantiser does not support it: no such layers" in said
    assert not sweep.missing_rows("digits", tmp_path)
    assert list(sweep.missing_rows("digits", tmp_path, retry=True)) == ["CNN"]


@pytest.mark.usefixtures("small")
def test_stored_bytes_of_masked_networks_are_recorded(few, tmp_path):
    trainer = Trainer(replace(RECIPE, ops="pemn", epochs=1), few)
    run(trainer, tmp_path / "a.pt")
    row = sweep.measure("a", tmp_path / "a.pt", None, lambda line: None)
    weights = 150 + 2400 + 48000 + 10080 + 840
    assert weights / 8 < row.stored_bytes < 1.2 * weights + weights / 8


@pytest.mark.usefixtures("small")
def test_results_are_added_from_a_checkpoint(few, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(Trainer(replace(RECIPE, ops="conv", epochs=1), few), Path("net.pt"))
    assert main(["results", "net.pt", "--name", "mine"]) == 0
    assert capsys.readouterr().out.startswith("net: float ")
    assert json.loads(Path("mine.jsonl").read_text())["name"] == "net"
    assert "| net | lenet5 |" in Path("results.md").read_text()
    trainer = Trainer(RECIPE, few)
    record = EpochRecord(epoch=1, loss=1.0, accuracy=10.0, seconds=1.0)
    save_checkpoint("part.pt", trainer.model, RECIPE, [record], trainer.optimizer)
    assert main(["results", "part.pt"]) == 1
    assert "part.pt has 1 of 3 epochs: finish it by" in capsys.readouterr().err

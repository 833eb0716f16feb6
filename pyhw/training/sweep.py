"""Run the missing rows of a table: train or go on, quantise, record."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.nn.compact import compact
from pyhw.nn.prototypes import masked_layers
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.guard import Diverged
from pyhw.training.recipe import Recipe, make_recipe
from pyhw.training.records import FILE, Row, add_row, read_rows, update_docs
from pyhw.training.sweeps import SWEEPS, checkpoint, options_of

__all__ = ["every_row", "measure", "missing_rows", "row_of", "run_sweep"]

Say = Callable[[str], None]


def row_of(name: str, recipe: Recipe, minutes: float, **figures: Any) -> Row:
    """Return a row with what its recipe says filled in."""
    options = {key: value for key, value in recipe.changes().items()
               if key not in ("seed", "epochs")}  # fmt: skip
    return Row(
        name=name,
        network=recipe.model,
        method=recipe.ops,
        options=", ".join(f"{key} {value}" for key, value in options.items()),
        data="CIFAR-10 (JPEG copy)" if recipe.data == "cifar10" else recipe.data,
        seed=recipe.seed,
        epochs=recipe.epochs,
        minutes=round(minutes, 2),
        command=recipe.command(),
        **figures,
    )


def measure(name: str, checkpoint: Path, data_dir: Path | None, say: Say) -> Row:
    """Return the row of a finished checkpoint, quantised to 8 bits if that is supported.

    Parameters
    ----------
    name : str
        Of the row.
    checkpoint : pathlib.Path
        A finished one.
    data_dir : path-like, optional
        Folder of the data files.
    say : callable
        Told why the quantiser refuses.

    Raises
    ------
    UserError
        If the checkpoint is not finished.
    """
    from pyhw.quantizer.run import quantize_checkpoint  # not before there is something to quantise

    model, meta = load_checkpoint(checkpoint)
    if not meta.finished:
        raise UserError(
            f"{checkpoint} has {meta.epoch} of {meta.recipe.epochs} epochs: finish it by "
            f"pyhw train {meta.recipe.model} --resume --out {checkpoint}"
        )
    figures: dict[str, Any] = {"float_accuracy": meta.accuracy}
    if masked_layers(model):
        figures["stored_bytes"] = compact(model).stored_bytes
    try:
        outcome = quantize_checkpoint(checkpoint, data_dir=data_dir)
        figures |= {"int8_accuracy": outcome.integer_accuracy, "note": ""}
    except (UserError, NotImplementedError) as error:
        say(f"{name}: the quantiser does not support it: {error}")
        figures["note"] = "not supported"
    minutes = sum(record.seconds for record in meta.history) / 60
    return row_of(name, meta.recipe, minutes, **figures)


def missing_rows(
    table: str, folder: Path, only: str = "", epochs: int | None = None, retry: bool = False
) -> dict[str, Recipe]:
    """Return the recipes of a table's rows that are not recorded yet.

    Parameters
    ----------
    table : str
        A key of `SWEEPS`.
    folder : pathlib.Path
        Of the checkpoints and the records.
    only : str
        Take rows whose names hold this text.
    epochs : int, optional
        In place of the table's.
    retry : bool
        Take those too that the quantiser refused; they are not trained again.
    """
    done = read_rows(folder / FILE)
    found = {}
    for name, options in options_of(table, folder).items():
        recipe = make_recipe(**(options if epochs is None else options | {"epochs": epochs}))
        row = done.get(name)
        missing = row is None or row.command != recipe.command()
        refused = retry and row is not None and row.note == "not supported"
        if only.lower() in name.lower() and (missing or refused):
            found[name] = recipe
    return found


def every_row(table: str, recorded: dict[str, Row], folder: Path) -> dict[str, Row]:
    """Return a table's rows, those that are not recorded in the folder as not run."""
    return {
        name: recorded.get(name) or row_of(name, make_recipe(**options), 0, float_accuracy=None)
        for name, options in options_of(table, folder).items()
    }


def run_sweep(
    table: str,
    folder: Path,
    docs: Path | None,
    train: Callable[[Recipe, Path, bool], object],
    say: Say,
    data_dir: Path | None = None,
    only: str = "",
    epochs: int | None = None,
    retry: bool = False,
) -> None:
    """Run the missing rows, each recorded as soon as it is done.

    Parameters
    ----------
    table, folder, only, epochs, retry
        As in `missing_rows`.
    docs : pathlib.Path or None
        File whose table is written anew after each row.
    train : callable
        Takes a recipe, its checkpoint, and whether to go on from it; trains to the end.
    say : callable
        Told what happens, a line at a time.
    data_dir : path-like, optional
        Folder of the data files.

    Raises
    ------
    UserError, KeyboardInterrupt
        As training raises them, but for a training that diverges: that is a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = missing_rows(table, folder, only, epochs, retry)
    for number, (name, recipe) in enumerate(rows.items(), 1):
        say(f"row {number} of {len(rows)}: {name}")
        out = checkpoint(table, name, folder)
        begun = load_checkpoint(out)[1] if out.exists() else None
        if begun is not None and begun.recipe != recipe:
            kept = out.with_suffix(".before.pt")
            out.replace(kept)
            say(f"{name}: its recipe has changed; the earlier checkpoint is now {kept}")
            begun = None
        try:
            if begun is None or not begun.finished:
                train(recipe, out, begun is not None)
            row = measure(name, out, data_dir, say)
        except Diverged as error:
            say(f"{name}: {error}")
            row = row_of(name, recipe, 0, float_accuracy=None, note="")
        recorded = add_row(folder / FILE, row)
        if docs is not None:
            update_docs(docs, table, every_row(table, recorded, folder))
    left = len(missing_rows(table, folder, epochs=epochs))
    say(f"{table}: {len(SWEEPS[table])} rows, {left} missing; records in {folder / FILE}")

"""What a training shows at the terminal: a bar, a line per epoch, a table at the end."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pyhw.nn import compiled
from pyhw.training.loop import EpochRecord, Trainer
from pyhw.training.run import prepare, run


def summary_table(trainer: Trainer, out: Path) -> Table:
    """Return the table shown when a training ends.

    Parameters
    ----------
    trainer : Trainer
        After its last epoch.
    out : pathlib.Path
        Checkpoint.

    Returns
    -------
    rich.table.Table
    """
    recipe, history = trainer.recipe, trainer.history
    tested = len(trainer.dataset.test_images)
    minutes = sum(record.seconds for record in history) / 60
    table = Table(show_header=False, box=None)
    for name, value in (
        ("network", f"{recipe.model}, {recipe.ops} layers"),
        ("data", f"{recipe.data}, {len(trainer.dataset.train_images)} training images"),
        ("test accuracy", f"{history[-1].accuracy:.2f} % of {tested} images"),
        ("epochs", f"{len(history)}, batch {recipe.batch}, learning rate {recipe.lr:g}"),
        ("time", f"{minutes:.1f} minutes" if minutes >= 1 else f"{60 * minutes:.0f} seconds"),
        ("seed", str(recipe.seed)),
        ("checkpoint", str(out)),
    ):
        table.add_row(name, value)
    return table


def train_with_progress(
    out: str | os.PathLike | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike | None = None,
    console: Console | None = None,
    **options: Any,
) -> Trainer:
    """Train, show how it goes, and leave the finished checkpoint.

    Parameters
    ----------
    out, resume, data_dir, **options
        As in `pyhw.training.run.prepare`.
    console : rich.console.Console, optional
        Where to write; standard output by default.

    Returns
    -------
    Trainer
        After its last epoch.

    Raises
    ------
    UserError, KeyboardInterrupt
        As in `prepare` and `run`.
    """
    console = console or Console(highlight=False)
    trainer, path = prepare(out, resume=resume, data_dir=data_dir, **options)
    recipe, done = trainer.recipe, len(trainer.history)
    if recipe.ops == "adder":
        console.print(f"adder kernel: {compiled.status()}", markup=False)
    if done:
        console.print(f"resuming after epoch {done} of {recipe.epochs}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training", total=recipe.epochs, completed=done)

        def on_step(fraction: float) -> None:
            progress.update(task, completed=len(trainer.history) + fraction)

        def on_epoch(record: EpochRecord) -> None:
            progress.console.print(
                f"epoch {record.epoch:>{len(str(recipe.epochs))}}/{recipe.epochs}  "
                f"loss {record.loss:.4f}  test {record.accuracy:6.2f} %  "
                f"{record.seconds:.1f} s"
            )

        run(trainer, path, on_step, on_epoch)
    console.print(summary_table(trainer, path))
    return trainer

"""What a training shows at the terminal: a bar, a line per epoch, a table at the end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pyhw.errors import MissingTool, from_extra, writing
from pyhw.nn import compiled
from pyhw.training.loop import EpochRecord, Trainer
from pyhw.training.parallel import join, leave
from pyhw.training.recipe import Recipe
from pyhw.training.run import choose_device, prepare, run


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
        ("network", f"{recipe.model}, {recipe.ops} layers{', with a teacher' * recipe.teacher}"),
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
    device: str = "cpu",
    log_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Trainer:
    """Train, show how it goes, and leave the finished checkpoint.

    Parameters
    ----------
    out, resume, data_dir, **options
        As in `pyhw.training.run.prepare`.
    console : rich.console.Console, optional
        Where to write; standard output by default.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    log_dir : path-like, optional
        Folder of TensorBoard logs.

    Returns
    -------
    Trainer
        After its last epoch.

    Raises
    ------
    UserError, KeyboardInterrupt
        As in `prepare` and `run`.
    """
    place = choose_device(device)
    processes = join(place)
    console = console or Console(highlight=False)
    console.quiet |= not processes.first
    try:
        trainer, path = prepare(
            out, resume, data_dir, device=place, processes=processes, **options
        )  # fmt: skip
        log = logger(log_dir if processes.first else None, trainer)
        _announce(console, trainer)
        _show(console, trainer, path, log)
    finally:
        leave()
    console.print(summary_table(trainer, path))
    return trainer


def logger(log_dir: str | os.PathLike | None, trainer: Trainer) -> Callable[[EpochRecord], None]:
    """Return what writes an epoch to TensorBoard, or nothing without a folder.

    Raises
    ------
    UserError
        If TensorBoard is not installed or the folder cannot be written.
    """
    if log_dir is None:
        return lambda record: None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingTool("TensorBoard", from_extra("train"), "it reads the logs") from None
    with writing(log_dir):
        writer = SummaryWriter(os.fspath(log_dir), purge_step=len(trainer.history) + 1)

    def write(record: EpochRecord) -> None:
        with writing(log_dir):
            writer.add_scalar("loss", record.loss, record.epoch)
            writer.add_scalar("accuracy", record.accuracy, record.epoch)
            writer.add_scalar("lr", trainer.recipe.lr_at(record.epoch - 1), record.epoch)
            writer.add_scalar("seconds", record.seconds, record.epoch)
            writer.flush()
            if record.epoch == trainer.recipe.epochs:
                writer.close()

    return write


def _announce(console: Console, trainer: Trainer) -> None:
    recipe, done = trainer.recipe, len(trainer.history)
    if recipe.ops in ("adder", "shiftadd") and trainer.device.type == "cpu":
        console.print(f"adder kernel: {compiled.status()}", markup=False)
    if trainer.processes.size > 1:
        console.print(f"{trainer.processes.size} processes share each batch of {recipe.batch}")
    if done:
        console.print(f"resuming after epoch {done} of {recipe.epochs}")


def _show(
    console: Console, trainer: Trainer, path: Path, log: Callable[[EpochRecord], None]
) -> None:
    """Train to the end with a bar and a line per epoch."""
    recipe: Recipe = trainer.recipe
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training", total=recipe.epochs, completed=len(trainer.history))

        def on_step(fraction: float) -> None:
            progress.update(task, completed=len(trainer.history) + fraction)

        def on_epoch(record: EpochRecord) -> None:
            log(record)
            progress.console.print(
                f"epoch {record.epoch:>{len(str(recipe.epochs))}}/{recipe.epochs}  "
                f"loss {record.loss:.4f}  test {record.accuracy:6.2f} %  "
                f"{record.seconds:.1f} s"
            )

        run(trainer, path, on_step, on_epoch)

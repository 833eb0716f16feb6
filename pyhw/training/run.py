"""A whole training from recipe to finished checkpoint, with what it takes to resume it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pyhw.errors import UserError
from pyhw.training.beginning import load_teacher, start_from
from pyhw.training.checkpoint import load_checkpoint, save_checkpoint
from pyhw.training.data import Dataset, load_dataset
from pyhw.training.guard import Diverged
from pyhw.training.loop import EpochRecord, Trainer
from pyhw.training.parallel import ALONE, Processes
from pyhw.training.recipe import Recipe, make_recipe

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str = "cpu") -> torch.device:
    """Return the device to train on.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        The GPU if there is one, the CPU, or a GPU; each process of several has its own.

    Raises
    ------
    UserError
        If the name is not known or there is no such device.
    """
    if name not in DEVICES:
        raise UserError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("PyTorch finds no GPU here: leave --device out to train on the CPU")
    if name == "cpu" or not there:
        return torch.device("cpu")
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if place >= torch.cuda.device_count():
        raise UserError(
            f"process {place} has no GPU, there are {torch.cuda.device_count()}: start fewer"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def prepare(
    out: str | os.PathLike | None,
    resume: bool = False,
    data_dir: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
    **options: Any,
) -> tuple[Trainer, Path]:
    """Set up a training, new or resumed.

    Parameters
    ----------
    out : path-like or None
        Checkpoint to write, or to go on from; named after the recipe when None.
    resume : bool
        Go on from the checkpoint `out`.
    data_dir : path-like, optional
        Folder of the data files.
    device, processes
        As in `pyhw.training.loop.Trainer`.
    **options
        Fields of `Recipe` and `LayerOptions` that the user gave; None for those left open.

    Returns
    -------
    trainer : Trainer
    out : pathlib.Path

    Raises
    ------
    UserError
        If the options, the data or the checkpoint do not allow it.
    """
    if out is None:
        recipe = make_recipe(**options)
        out = f"{recipe.model}-{recipe.ops}-{recipe.data}.pt"
    out = Path(out)
    if not resume:
        recipe = make_recipe(**options)
        if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
            raise UserError(f"{out} cannot be written: {out.parent} is not a writable folder")
        if out.is_dir():
            raise UserError(f"{out} is a folder: choose a file for --out")
        if out.exists():
            raise UserError(
                f"{out} exists: go on with it by --resume, remove it, or choose another --out"
            )
        trainer = Trainer(
            recipe, _images(recipe, data_dir), device, processes, load_teacher(recipe)
        )
        start_from(recipe, trainer.model)
        return trainer, out
    model, meta = load_checkpoint(out)
    if meta.origin is not None:
        raise UserError(f"{out} was imported from {meta.origin.source}: it cannot be resumed")
    recipe = make_recipe(saved=meta.recipe.to_dict(), **options)
    if meta.finished:
        raise UserError(f"{out} is finished ({meta.epoch} epochs): there is nothing to resume")
    if meta.optimizer is None:
        raise UserError(f"{out} has no optimiser state: it cannot be resumed")
    trainer = Trainer(recipe, _images(recipe, data_dir), device, processes, load_teacher(recipe))
    try:
        trainer.restore(model.state_dict(), meta.optimizer, meta.history, meta.distillation)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(f"{out} is damaged: its optimiser state does not fit the network") from None
    return trainer, out


def _images(recipe: Recipe, folder: str | os.PathLike | None) -> Dataset:
    dataset = load_dataset(recipe.data, folder).part(recipe.images, recipe.seed)
    if recipe.batch > len(dataset.train_labels):
        raise UserError(
            f"batch must be at most the {len(dataset.train_labels)} training images, "
            f"not {recipe.batch}"
        )
    return dataset


def run(
    trainer: Trainer,
    out: Path,
    on_step: Callable[[float], None] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> EpochRecord:
    """Train to the end, saving after each epoch.

    Parameters
    ----------
    trainer : Trainer
        New or restored.
    out : pathlib.Path
        Checkpoint; process 0 writes it. While the training runs it holds the optimiser's state too.
    on_step : callable, optional
        See `Trainer.run_epoch`.
    on_epoch : callable, optional
        Called with each `EpochRecord`, after its checkpoint is on disk.

    Returns
    -------
    EpochRecord
        Of the last epoch.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped it; the text says what is kept and how to go on.
    UserError
        If the checkpoint cannot be written, or the training diverges; the last good one is kept.
    """
    recipe = trainer.recipe
    go_on = f"pyhw train {recipe.model} --resume --out {out}"
    try:
        while len(trainer.history) < recipe.epochs:
            record = trainer.run_epoch(on_step)
            finished = record.epoch == recipe.epochs
            optimizer = None if finished else trainer.optimizer
            teacher = None if finished else trainer.distillation
            if trainer.processes.first:
                save_checkpoint(out, trainer.model, recipe, trainer.history, optimizer, teacher)
            if on_epoch:
                on_epoch(record)
    except KeyboardInterrupt:
        done = len(trainer.history)
        if not done:
            raise KeyboardInterrupt("nothing is kept before the first epoch ends") from None
        raise KeyboardInterrupt(
            f"{out} keeps {done} of {recipe.epochs} epochs; go on with: {go_on}"
        ) from None
    except Diverged as error:
        done = len(trainer.history)
        kept = f"{out} keeps the {done} epoch(s) before" if done else "nothing is kept"
        raise Diverged(f"{error}; {kept}: try a lower --lr or another --seed") from None
    return trainer.history[-1]

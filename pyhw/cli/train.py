"""The command ``pyhw train``."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pyhw.errors import MissingTool


class Model(StrEnum):
    """Networks to train."""

    LENET5 = "lenet5"


class Ops(StrEnum):
    """Kinds of inner layers."""

    ADDER = "adder"
    CONV = "conv"


class Data(StrEnum):
    """Data sets."""

    DIGITS = "digits"
    MNIST = "mnist"


def train(
    model: Annotated[Model, typer.Argument(help="Network to train.")],
    ops: Annotated[
        Ops | None,
        typer.Option(
            help="Inner layers: L1 distance or ordinary convolution.", show_default="adder"
        ),
    ] = None,
    data: Annotated[
        Data | None,
        typer.Option(
            help="scikit-learn's 1,797 digits, or MNIST from its four IDX files.",
            show_default="digits",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the data.", show_default="mnist 30, digits 60"),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images per step.", show_default="mnist 256, digits 64")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate at the start of the cosine.", show_default="0.1"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides everything random.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to write.", show_default="MODEL-OPS-DATA.pt"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint --out.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the MNIST files.", show_default="environment PYHW_DATA"),
    ] = None,
) -> None:
    """Train a multiplier-free network and save its checkpoint.

    The checkpoint is saved after each epoch. Ctrl-C keeps the last one; `--resume` goes on from
    it and ends with the same weights as a training that was never interrupted.

    Examples:
    pyhw train lenet5

    pyhw train lenet5 --data mnist --data-dir ~/mnist --out mnist.pt

    pyhw train lenet5 --resume --out mnist.pt
    """
    # Waiting threads that spin make a shared computer several times slower; PyTorch reads this
    # when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingTool("PyTorch", "pip install 'pyhw[train]'") from None
    from pyhw.training.report import train_with_progress

    train_with_progress(
        out,
        resume=resume,
        data_dir=data_dir,
        model=str(model),
        ops=ops and str(ops),
        data=data and str(data),
        epochs=epochs,
        batch=batch,
        lr=lr,
        seed=seed,
    )

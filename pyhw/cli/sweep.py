"""``pyhw sweep``: every row of a table of results, by one command that can be stopped."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.names import Device, Sweep
from pyhw.cli.options import DataDir

if TYPE_CHECKING:
    from pyhw.training.recipe import Recipe


def sweep(
    name: Annotated[Sweep, typer.Argument(
        help="Table: every method on LeNet-5 with mnist or digits; the residual networks and "
        "ConvMixer on cifar10 (for a GPU), or on a thousand of its images; SReT and the steps of "
        "ShiftAddViT on vit-mnist and vit-cifar10."
    )],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints and records.", show_default="sweep-NAME"),
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="File to write the table to, between its markers.")
    ] = None,
    only: Annotated[str, typer.Option(help="Run rows whose names hold this text.")] = "",
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of every row.", show_default="of the table")
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="List the missing rows.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Quantise rows again that were not supported.")
    ] = False,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.CPU,
    data_dir: DataDir = None,
) -> None:
    """Train, quantise and record every row of a table that is not there yet.

    Ctrl-C keeps the rows that are done and the last epoch of the one in progress; the same
    command goes on from there. Records are JSON lines beside the checkpoints.

    Examples:

      pyhw sweep mnist --data-dir ~/mnist --docs docs/results.md

      pyhw sweep digits --only PEMN --list

      pyhw sweep cifar10 --device auto --data-dir ~/cifar10
    """
    from pyhw.tools import require_torch

    require_torch()
    from pyhw.training.report import train_with_progress
    from pyhw.training.sweep import missing_rows, run_sweep

    folder = out or Path(f"sweep-{name}")
    if as_list:
        for row, recipe in missing_rows(str(name), folder, only, epochs, retry).items():
            typer.echo(f"{row}: {recipe.command()}")
        return

    def train(recipe: "Recipe", path: Path, resume: bool) -> None:
        options = recipe.to_dict()
        layers = options.pop("layers")
        if layers["eta"] is None:
            layers["eta"] = 0
        changed = {key: layers[key] for key in recipe.changes() if key in layers}
        train_with_progress(
            path, resume=resume, data_dir=data_dir, device=str(device), **options, **changed
        )

    try:
        run_sweep(str(name), folder, docs, train, typer.echo, data_dir, only, epochs, retry)
    except KeyboardInterrupt:
        words = ["pyhw", "sweep", str(name), "--out", str(folder)]
        for option, value in (("docs", docs), ("only", only), ("epochs", epochs),
                              ("data-dir", data_dir)):  # fmt: skip
            words += [f"--{option}", str(value)] if value else []
        words += ["--retry"] if retry else []
        words += ["--device", str(device)] if device is not Device.CPU else []
        again = shlex.join(words)
        raise KeyboardInterrupt(f"finished rows are kept; go on with: {again}") from None

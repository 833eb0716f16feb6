"""``pyhw import``: a checkpoint of a reference implementation becomes one of pyhw."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.names import SOURCES, Model
from pyhw.errors import UserError


def import_(
    file: Annotated[Path, typer.Argument(help="Checkpoint: a state_dict, wrapped or not.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar=f"[{'|'.join(SOURCES)}|...]",
            help="Implementation that wrote it, or one of an extension.",
        ),
    ],
    model: Annotated[Model, typer.Option(help="Network that it holds.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Checkpoint to write.", show_default="MODEL-SOURCE.pt"),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Bits of shift layers' weights.", show_default="5")
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(help="Outputs: 100 of CIFAR-100.", show_default="10, ImageNet 1000"),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="What the training took off pixels / 255: one number, or one for each "
                     "channel, with commas between; 0 for nothing.", show_default="by --from"),
    ] = None,
    deviation: Annotated[
        str | None,
        typer.Option(help="What it divided them by then.", show_default="by --from"),
    ] = None,
    sliced: Annotated[
        bool | None,
        typer.Option("--sliced/--no-sliced", help="SReT: tokens attend within slices.",
                     show_default="yes"),
    ] = None,
    lossy: Annotated[
        bool,
        typer.Option("--lossy", help="Take what fits of a network with parts that pyhw computes in "
                     "another way, to train it on."),
    ] = False,
) -> None:
    """Turn a checkpoint of a reference implementation into one of pyhw.

    Nothing in the file is run. Every tensor is listed with its new name; a file that holds another
    network is refused, and what differs is named. The checkpoint remembers how the training
    scaled its images, and quantize puts that into the graph.

    Examples:

      pyhw import ResNet20-AdderNet.pth --from addernet --model resnet20

      pyhw import resnet20-cifar10-FP32.pth.tar --from shiftaddnet --model resnet20 -o shiftadd.pt

      pyhw import weights.pth --from deepshift --model resnet20 --mean 0.5 --deviation 0.25

      pyhw import resnet20-cifar100-FIX8.pth.tar --from shiftaddnet --model resnet20 --classes 100
    """
    from pyhw.tools import require_torch

    require_torch()
    from pyhw.training.importer import import_checkpoint

    path = out or Path(f"{model}-{source}.pt")
    if path.exists():
        raise UserError(f"{path} exists: remove it, or choose another --out")
    if (mean is None) != (deviation is None):
        raise UserError("--mean and --deviation go together: give both, or neither")
    normalise = None
    if mean is not None and deviation is not None:
        normalise = (_numbers("--mean", mean), _numbers("--deviation", deviation))
    given = {"bits": bits, "sliced": sliced}
    options = {name: value for name, value in given.items() if value is not None}
    found = import_checkpoint(
        file, source, str(model), path, classes=classes, normalise=normalise,
        lossy=lossy, **options,
    )
    for theirs, ours in found.matched:
        typer.echo(f"{theirs}" if theirs == ours else f"{theirs} -> {ours}")
    for name in found.ignored:
        typer.echo(f"{name}: not needed")
    typer.echo(f"images: {found.origin.scaling}" + (
        "" if found.origin.mean or mean is not None else
        " (nothing else is known of this training; --mean and --deviation say otherwise)"
    ))
    typer.echo(
        f"{path}: {found.recipe.model}, {found.recipe.ops} layers, "
        f"{len(found.matched)} tensors taken over, {len(found.ignored)} left out"
    )


def _numbers(option: str, text: str) -> list[float]:
    """Return the numbers of a list with commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} must be numbers with commas between, not {text!r}") from None

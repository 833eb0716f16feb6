"""``pyhw import``: a checkpoint of a reference implementation becomes one of pyhw."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.names import Model, Source


def import_(
    file: Annotated[Path, typer.Argument(help="Checkpoint: a state_dict, wrapped or not.")],
    source: Annotated[Source, typer.Option("--from", help="Implementation that wrote it.")],
    model: Annotated[Model, typer.Option(help="Network that it holds.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Checkpoint to write.", show_default="MODEL-SOURCE.pt"),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Bits of shift layers' weights.", show_default="5")
    ] = None,
) -> None:
    """Turn a checkpoint of a reference implementation into one of pyhw.

    Nothing in the file is run. Every tensor is listed with its new name; a file that holds another
    network is refused, and what differs is named.

    Examples:

      pyhw import ResNet20-AdderNet.pth --from addernet --model resnet20

      pyhw import resnet20-cifar10-FP32.pth.tar --from shiftaddnet --model resnet20 -o shiftadd.pt
    """
    from pyhw.cli.train import need_pytorch
    from pyhw.errors import UserError

    need_pytorch()
    from pyhw.training.importer import import_checkpoint

    path = out or Path(f"{model}-{source}.pt")
    if path.exists():
        raise UserError(f"{path} exists: remove it, or choose another --out")
    options = {} if bits is None else {"bits": bits}
    found = import_checkpoint(file, str(source), str(model), path, **options)
    for theirs, ours in found.matched:
        typer.echo(f"{theirs}" if theirs == ours else f"{theirs} -> {ours}")
    for name in found.ignored:
        typer.echo(f"{name}: not needed")
    typer.echo(
        f"{path}: {found.recipe.model}, {found.recipe.ops} layers, "
        f"{len(found.matched)} tensors taken over, {len(found.ignored)} left out"
    )

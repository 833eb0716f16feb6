"""``pyhw info``: what is in a checkpoint, graph or program file."""

from pathlib import Path
from typing import Annotated

import typer


def info(
    file: Annotated[Path, typer.Argument(help="Checkpoint, graph or program.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what is in a checkpoint, graph or program file.

    Layers, operations by kind, sizes, and where it comes from. The file is recognised by its
    content, whatever its name.

    Examples:

      pyhw info lenet5.pt

      pyhw info lenet5.pyhw --json
    """
    from pyhw.describe import describe

    found = describe(file)
    if as_json:
        import json

        typer.echo(json.dumps(found.record, indent=2))
    else:
        typer.echo(found.text, nl=False)

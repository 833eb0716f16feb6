"""``pyhw example``: networks to try the accelerator with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.errors import UserError

if TYPE_CHECKING:
    from pyhw.examples import Example


def example(
    name: Annotated[
        str | None, typer.Argument(help="Which one.", show_default="list them")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Graph to write.", show_default="NAME.pyhw"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights that are drawn.")] = 0,
    weight_bits: Annotated[
        int | None,
        typer.Option(
            min=2, max=8, help="Bits of drawn adder weights: fewer take less memory.",
            show_default="8",
        ),
    ] = None,
    digits: Annotated[
        int | None,
        typer.Option(
            min=1, max=5, help="Powers of two of drawn ordinary weights: fewer take fewer cycles.",
            show_default="3",
        ),
    ] = None,
    terms: Annotated[
        int | None, typer.Option(help="As of `pyhw quantize`.", show_default="3")
    ] = None,
    exponent: Annotated[
        int | None, typer.Option(help="As of `pyhw quantize`.", show_default="16")
    ] = None,
    residual_terms: Annotated[
        int | None, typer.Option(help="As of `pyhw quantize`.", show_default="3")
    ] = None,
) -> None:
    """Write an example network as an integer graph; without a name, list them.

    Published networks in their published sizes. Where the weights are drawn from a seed, cycles,
    memory and area are those of the trained network, and its answers are guesses.

    Examples:

      pyhw example

      pyhw example resnet20-adder --out resnet20.pyhw

      pyhw simulate resnet20.pyhw --data smooth --images 2
    """
    import pyhw
    from pyhw.cli.progress import bar
    from pyhw.examples import find_example
    from pyhw.inputs import check_output

    if name is None:
        if out is not None:
            raise UserError("--out needs the name of an example; `pyhw example` lists them")
        _list()
        return
    chosen = find_example(name)
    path = out or Path(f"{name}.pyhw")
    check_output(path, "graph")
    settings = {"weight_bits": weight_bits, "digits": digits, "terms": terms,
                "exponent": exponent, "residual_terms": residual_terms}  # fmt: skip
    given = {option: value for option, value in settings.items() if value is not None}
    with bar("drawing") as update:
        graph = pyhw.example(name, seed, progress=update, **given)
    pyhw.save(graph, path)
    note = "trained weights" if chosen.trained else "weights drawn from a seed, not trained"
    typer.echo(f"{path}: {path.stat().st_size:,} bytes, {note}")


def _list() -> None:
    from rich.table import Table

    from pyhw.cli.options import console
    from pyhw.examples import EXAMPLES

    table = Table()
    for column in ("example", "what it is", "weights", "needs"):
        table.add_column(column)
    for name, one in EXAMPLES.items():
        table.add_row(name, one.summary, "trained" if one.trained else "drawn", _needs(one))
    console().print(table)


def _needs(one: "Example") -> str:
    if one.path is None:
        return "PyTorch"
    return "" if one.trained else "PyTorch with options"

"""``pyhw example``: networks to try the accelerator with."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.errors import MissingTool, UserError, from_extra, writing

if TYPE_CHECKING:
    from pyhw.examples import Example
    from pyhw.graph.ops import Graph


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
    changed = seed != 0 or bool(given)
    if changed and chosen.trained:
        raise UserError(f"the weights of {name} are trained; leave out all options but --out, or "
                        "quantise its checkpoint with `pyhw quantize`")
    if chosen.path is not None and not changed:
        _copy(chosen.path, path)
    else:
        _save(_drawn(name, seed, given), path)
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


def _copy(source: Path, path: Path) -> None:
    """Copy a file of the package; writing it over itself changes nothing."""
    from pyhw.files import replacing

    with writing(path), source.open("rb") as original, replacing(path) as file:
        shutil.copyfileobj(original, file)


def _drawn(name: str, seed: int, settings: dict[str, int]) -> "Graph":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as for `pyhw train`
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingTool("PyTorch", from_extra("train"), f"it draws {name}") from None
    from pyhw.cli.progress import bar
    from pyhw.examples.draw import draw_example

    with bar("drawing") as update:
        return draw_example(name, seed, settings, progress=update)


def _save(graph: "Graph", path: Path) -> None:
    from pyhw.graph.file import save

    with writing(path):
        save(graph, path)

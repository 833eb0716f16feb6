"""``pyhw results``: rows of a table of results from finished checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import DataDir


def results(
    checkpoints: Annotated[list[Path], typer.Argument(help="Finished checkpoints.")],
    name: Annotated[str, typer.Option(help="Name of the table.")] = "checkpoints",
    docs: Annotated[
        Path, typer.Option(help="File to write the table to, between its markers.")
    ] = Path("results.md"),
    records: Annotated[
        Path | None, typer.Option(help="JSON lines to keep the rows in.", show_default="NAME.jsonl")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Quantise and test finished checkpoints, and add them to a table of results.

    A row is named after its file; a later one of the same name replaces it.

    Examples:

      pyhw results lenet5.pt --docs docs/results.md

      pyhw results *.pt --name lenet5 --records results.jsonl
    """
    from pyhw.inputs import expect
    from pyhw.tools import require_torch

    require_torch()
    from pyhw.training.records import add_row, update_docs
    from pyhw.training.sweep import measure

    for path in checkpoints:
        expect(path, "checkpoint")
    for path in checkpoints:
        row = measure(path.stem, path, data_dir, typer.echo)
        rows = add_row(records or Path(f"{name}.jsonl"), row)
        update_docs(docs, name, rows)
        int8 = row.note if row.int8_accuracy is None else f"{row.int8_accuracy:.2f} %"
        typer.echo(f"{row.name}: float {row.float_accuracy:.2f} %, int8 {int8}")

"""Results kept as JSON lines beside the checkpoints, and the table in the docs made of them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyhw.errors import UserError, writing
from pyhw.files import write_atomically

__all__ = ["FILE", "Row", "add_row", "read_rows", "table", "update_docs"]

FILE = "results.jsonl"
"""Name of the file in a folder of checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained network.

    Attributes
    ----------
    name : str
        Of the row; a later row of the same name replaces it.
    network, method, options, data : str
        What was trained, and what its recipe changes of the method's defaults.
    seed, epochs : int
        Of the recipe.
    minutes : float
        Of training, wall clock.
    float_accuracy : float or None
        Percent of the test images; None when the training diverged.
    int8_accuracy : float or None
        Of the integer graph; None when it was not run.
    stored_bytes : int or None
        Of fixed weights and masks, for masked networks.
    note : str
        Why a figure is missing, ``not run`` or ``not supported``.
    command : str
        Trains the network again.
    """

    name: str
    network: str
    method: str
    options: str
    data: str
    seed: int
    epochs: int
    minutes: float
    float_accuracy: float | None
    int8_accuracy: float | None = None
    stored_bytes: int | None = None
    note: str = "not run"
    command: str


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a file by name, in the order in which they first came.

    Raises
    ------
    UserError
        If a line is no row.
    """
    rows: dict[str, Row] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return rows
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            row = Row(**json.loads(line))
        except (ValueError, TypeError):
            raise UserError(f"{path}, line {number}, is no row of results: remove it") from None
        rows[row.name] = row
    return rows


def add_row(path: Path, row: Row) -> dict[str, Row]:
    """Add a row to a file, in place of one with its name, and return all."""
    rows = {**read_rows(path), row.name: row}
    with writing(path):
        write_atomically(path, "".join(json.dumps(asdict(each)) + "\n" for each in rows.values()))
    return rows


def _percent(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.2f}"


def table(rows: dict[str, Row]) -> str:
    """Return rows as a table of Markdown, and below it the commands."""
    head = ("", "network", "method", "options", "data", "seed", "epochs", "minutes", "float, %",
            "int8, %", "bytes")  # fmt: skip
    lines: list[tuple[Any, ...]] = [head, ("---",) * len(head)]
    for row in rows.values():
        size = "" if row.stored_bytes is None else f"{row.stored_bytes:,}"
        lines.append((
            row.name, row.network, row.method, row.options, row.data, row.seed, row.epochs,
            f"{row.minutes:.1f}" if row.minutes else "",
            _percent(row.float_accuracy, row.note or "diverged"),
            _percent(row.int8_accuracy, row.note), size,
        ))  # fmt: skip
    text = "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
    return text + "\n```sh\n" + "".join(f"{row.command}\n" for row in rows.values()) + "```\n"


def update_docs(path: Path, name: str, rows: dict[str, Row]) -> None:
    """Write the table `name` between its markers in a file, at the end if there are none.

    Raises
    ------
    UserError
        If the file cannot be read or written, or has one marker without the other.
    """
    begin, end = f"<!-- results: {name} -->\n", f"<!-- end of results: {name} -->\n"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if begin not in text and end not in text:
        text += f"\n## Trained: {name}\n\n{begin}{end}"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise UserError(
            f"{path} must have one line {begin.strip()} and after it one {end.strip()}, or neither"
        )
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    with writing(path):
        write_atomically(path, f"{before}{begin}\n{table(rows)}\n{end}{after}")

"""How well the structure holds: ``python -m bench.structure [--old FOLDER]``.

Counts in how many files each engine and each option of the gateware stands, the widest record that
a component's port takes, type tests on operations outside their modules, long files and long
`elaborate` functions, import circles, and what starting costs. All of it is read from the source by
its syntax tree, but the ports, which are those of elaborated presets, and the seconds. With
``--old`` the same is counted in another checkout, of this layout or of the one before, and printed
beside it. Exits with 1 if a limit is broken; ``--files`` names the files behind each count.
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .measured import PORTS, STARTS, measured
from .names import ENGINES, OPTIONS, operations, stands_in, type_tests
from .shape import MOST_ELABORATE, circles, imports, long_elaborates
from .source import ROOT, sources

MOST_ENGINE_FILES, MOST_OPTION_FILES = 8, 3
MOST_LINES, MOST_SECONDS = 250, 0.3


@dataclass
class Row:
    """A line of the table: what is counted, how much, the most allowed, and what is behind it."""

    what: str
    value: float
    limit: float | None = None
    behind: list[str] = field(default_factory=list)
    form: str = "{:,.0f}"

    @property
    def broken(self) -> bool:
        """Whether the limit is exceeded."""
        return self.limit is not None and self.value > self.limit


def rows_of(root: Path) -> list[Row]:
    """Count everything in a checkout."""
    found = sources(root)
    gateware = [source for source in found if source.name.startswith("hdl/")]
    rows = []
    for engine, test in ENGINES.items():
        behind = [source.name for source in found if test(source)]
        rows.append(Row(f"files that name the {engine} engine", len(behind), MOST_ENGINE_FILES,
                        behind))
    for option, (anywhere, fields) in OPTIONS.items():
        behind = [source.name for source in gateware if stands_in(source, anywhere, fields)]
        rows.append(Row(f"gateware files with the option: {option}", len(behind),
                        MOST_OPTION_FILES, behind))
    width, port = measured(root, PORTS)
    rows.append(Row("widest record port, bits", width, None, [port]))
    classes = operations(found)
    tests = {source.name: type_tests(source, classes) for source in found}
    rows.append(Row("type tests on operations outside their modules", sum(tests.values()), None,
                    [f"{name} ({count})" for name, count in tests.items() if count]))
    lines = {source.name: len(source.text.splitlines()) for source in gateware}
    long = [f"{name} ({count})" for name, count in lines.items() if count > MOST_LINES]
    rows.append(Row(f"gateware files of more than {MOST_LINES} lines", len(long), 0, long))
    long = [f"{place} ({length})" for source in gateware
            for place, length in long_elaborates(source).items()]
    rows.append(Row(f"`elaborate` of more than {MOST_ELABORATE} lines", len(long), 0, long))
    modules = {source.module for source in found}
    round_trips = circles({source.module: imports(source, modules) for source in found})
    rows.append(Row("import circles", len(round_trips), 0, [" - ".join(c) for c in round_trips]))
    importing, helping, nothing, torch = measured(root, STARTS)
    note = [f"of which {nothing:.2f} s start Python"]
    rows.append(Row("seconds of `import pyhw`", importing, MOST_SECONDS, note, "{:.2f}"))
    rows.append(Row("seconds of `pyhw --help`", helping, MOST_SECONDS, note, "{:.2f}"))
    rows.append(Row("torch loaded by either", torch, 0))
    return rows


def table(now: list[Row], before: list[Row] | None) -> str:
    """Return the counts as a table in Markdown."""
    head = ["", *["before"] * (before is not None), "now", "limit"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for number, row in enumerate(now):
        limit = "" if row.limit is None else f"{row.limit:g}"
        cells = [row.what, *([] if before is None else [row.form.format(before[number].value)]),
                 row.form.format(row.value) + " !" * row.broken, limit]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--old", type=Path, help="a checkout to count in as well")
    parser.add_argument("--files", action="store_true", help="name the files behind each count")
    given = parser.parse_args()
    if given.old is not None and not (given.old / "pyhw").is_dir():
        parser.error(f"{given.old} is no checkout of pyhw")
    now = rows_of(ROOT)
    print(table(now, None if given.old is None else rows_of(given.old.resolve())))
    if given.files:
        for row in now:
            print(f"\n{row.what}:", *(row.behind or ["none"]), sep="\n  ", flush=True)
    broken = [row for row in now if row.broken]
    for row in broken:
        print(f"error: {row.what}: {row.form.format(row.value)}, at most {row.limit:g}",
              file=sys.stderr)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

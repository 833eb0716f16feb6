"""Options that several commands share, and what they check and print with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from pyhw.hdl.config import Config

Preset = Annotated[
    str | None,
    typer.Option(
        help="Preset: tiny, default, large; lenet5_85f, resnet20_85f, resnet8_25f ...",
        show_default="default",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Configuration file, instead of a preset.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field: groups=4, l1.lanes=32, shift=none ..."),
]
DoubleBuffer = Annotated[
    bool,
    typer.Option(
        "--double-buffer",
        help="Input and output twice, so that images and results move while a batch runs.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the data files.", show_default="environment PYHW_DATA"),
]

ProgramFile = Annotated[Path, typer.Argument(help="Program (.pyhwprog) of pyhw compile.")]
PresetOfProgram = Annotated[
    str | None,
    typer.Option("--preset", help="What the program is for.", show_default="by its hash"),
]
Port = Annotated[
    str | None,
    typer.Option(help="Serial port of the board.", show_default="the only board plugged in"),
]
Baud = Annotated[
    int, typer.Option(min=300, help="Bits a second, as the gateware was built for.")
]
Ahead = Annotated[
    int, typer.Option(min=1, max=64, help="Frames sent before the first is answered.")
]
Timeout = Annotated[
    float | None,
    typer.Option(min=0.01, help="Seconds after which a reply is late.",
                 show_default="by the speed"),
]
Loaded = Annotated[
    bool,
    typer.Option("--loaded", help="The board holds the program already: check, do not load."),
]
BoardFile = Annotated[
    Path | None,
    typer.Option("--board-file", help="Python file that declares a board of your own.",
                 show_default="none"),
]
Initial = Annotated[
    Path | None,
    typer.Option("--program", help="Program (.pyhwprog) that is there without loading.",
                 show_default="none"),
]


def choice(preset: str | None, config: Path | None, changes: list[str] | None) -> "Config | None":
    """Return the configuration that options choose; None if they choose none."""
    from pyhw.configure import choose_config

    if preset is None and config is None and not changes:
        return None
    return choose_config(preset, config, changes or ())


def distinct(read: Mapping[str, Path | None], written: Mapping[str, Path | None]) -> None:
    """Refuse to write a file that is also read, or written twice.

    Parameters
    ----------
    read, written : mapping of str to Path or None
        Files by what the user calls them; None is left out.

    Raises
    ------
    UserError
        If two names are of one file.
    """
    seen = {os.path.realpath(path): name for name, path in read.items() if path is not None}
    for name, path in written.items():
        if path is None:
            continue
        if other := seen.get(os.path.realpath(path)):
            raise UserError(f"{path} would be both {other} and {name}: choose another name")
        seen[os.path.realpath(path)] = name


def console() -> "Console":
    """Return a console for tables, not cut to a terminal's width where there is none."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=200)

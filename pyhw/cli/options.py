"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[
    str | None, typer.Option(help="Preset: tiny, default or large.", show_default="default")
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Configuration file, instead of a preset.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field: groups=4, l1.lanes=32, shift=none ..."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the MNIST files.", show_default="environment PYHW_DATA"),
]

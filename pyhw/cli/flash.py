"""``pyhw flash``: a bitstream into a board."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import BoardFile


def flash(
    source: Annotated[Path, typer.Argument(help="Folder of pyhw build, or a bitstream.")],
    board: Annotated[
        str | None, typer.Option(help="Board.", show_default="that of the folder")
    ] = None,
    board_file: BoardFile = None,
    keep: Annotated[
        bool, typer.Option("--flash", help="Into the flash, to stay after power is off.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the command and do nothing.")
    ] = False,
) -> None:
    """Load a bitstream into a board with openFPGALoader, or keep it in the board's flash.

    Examples:

      pyhw flash lenet5-ulx3s-85f

      pyhw flash lenet5-icebreaker --flash

      pyhw flash top.bit --board ulx3s-85f --dry-run
    """
    from pyhw.bitstream.board_file import board_of
    from pyhw.bitstream.load import find_bitstream
    from pyhw.cli.progress import spinner
    from pyhw.errors import MissingTool
    from pyhw.tools import find_openfpgaloader

    given = None if board is None and board_file is None else board_of(board, board_file)
    found = find_bitstream(source, given)
    arguments, name = found.arguments(flash=keep), found.board.name
    if dry_run:
        try:
            command = list(find_openfpgaloader().command)
        except MissingTool:
            command = ["openFPGALoader"]
        typer.echo(shlex.join([*command, *arguments]))
        return
    with spinner(f"{'writing the flash of' if keep else 'loading'} {name}"):
        found.load(flash=keep)
    typer.echo(f"{found.path} is {'in the flash of' if keep else 'loaded into'} {name}")

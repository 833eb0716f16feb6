"""``pyhw flash``: a bitstream into a board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import BoardFile
from pyhw.errors import UserError

if TYPE_CHECKING:
    from pyhw.boards import Board


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
    import shlex

    from pyhw.bitstream.output import record_of
    from pyhw.boards import board_of
    from pyhw.boards.loader import check_bitstream, load, loader_command
    from pyhw.cli.progress import spinner
    from pyhw.errors import MissingTool
    from pyhw.tools import find_openfpgaloader

    if not source.exists():
        raise UserError(f"{source} does not exist")
    path, given, record = source, None, record_of(source)
    if board is not None or board_file is not None:
        given = board_of(board, board_file)
    if record is not None:
        built = str(record["board"])
        if given is not None and given.name != built:
            raise UserError(f"{source} was built for {built}, not for {given.name}")
        if "bitstream" not in record:
            raise UserError(f"{source} has no bitstream, since its clock was not met; "
                            f"{source / 'report.html'} says why")
        if source.is_dir():
            path = source / str(record["bitstream"])
    elif given is None:
        raise UserError("--board is needed with a bitstream; `pyhw build` lists the boards")
    chosen = given or _built(source, built)
    check_bitstream(chosen, path, record)
    arguments = loader_command(chosen, path, flash=keep)
    if dry_run:
        try:
            command = list(find_openfpgaloader().command)
        except MissingTool:
            command = ["openFPGALoader"]
        typer.echo(shlex.join([*command, *arguments]))
        return
    tool = find_openfpgaloader()
    with spinner(f"{'writing the flash of' if keep else 'loading'} {chosen.name}"):
        load(tool, chosen, path, flash=keep)
    typer.echo(f"{path} is {'in the flash of' if keep else 'loaded into'} {chosen.name}")


def _built(source: Path, name: str) -> "Board":
    """Return the board that a folder was built for."""
    from pyhw.boards import BOARDS

    if name not in BOARDS:
        raise UserError(f"{source} was built for {name}, a board of your own: name its file with "
                        "--board-file")
    return BOARDS[name]

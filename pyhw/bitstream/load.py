"""From a build's folder, or a bitstream by itself, into a board."""

import os
from dataclasses import dataclass
from pathlib import Path

from pyhw.boards import BOARDS, Board
from pyhw.boards.loader import check_bitstream, load, loader_command
from pyhw.errors import UserError
from pyhw.tools import find_openfpgaloader

from .output import record_of

__all__ = ["Loadable", "find_bitstream"]


@dataclass(frozen=True)
class Loadable:
    """A bitstream that has been checked, and its board."""

    board: Board
    path: Path

    def arguments(self, *, flash: bool = False) -> list[str]:
        """Return openFPGALoader's arguments; `UserError` if the board has to be flashed."""
        return loader_command(self.board, self.path, flash=flash)

    def load(self, *, flash: bool = False) -> None:
        """Load it, or keep it in the board's flash; `UserError` says what is wrong."""
        self.arguments(flash=flash)
        load(find_openfpgaloader(), self.board, self.path, flash=flash)


def find_bitstream(source: str | os.PathLike[str], board: Board | None = None) -> Loadable:
    """Find and check the bitstream of a build, or one by itself.

    Parameters
    ----------
    source : path-like
        Folder of a build, or a bitstream.
    board : Board, optional
        Needed with a bitstream that lies elsewhere than where it was written.

    Raises
    ------
    UserError
        If there is none, it has changed since, or it is for another board.
    """
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    record = record_of(path)
    if record is not None:
        built = str(record["board"])
        if board is not None and board.name != built:
            raise UserError(f"{path} was built for {built}, not for {board.name}")
        if "bitstream" not in record:
            raise UserError(f"{path} has no bitstream, since its clock was not met; "
                            f"{path / 'report.html'} says why")
        if board is None and built not in BOARDS:
            raise UserError(f"{path} was built for {built}, a board of your own: name its file "
                            "with --board-file")
        chosen = board or BOARDS[built]
        if path.is_dir():
            path = path / str(record["bitstream"])
    elif board is None:
        raise UserError("--board is needed with a bitstream; `pyhw build` lists the boards")
    else:
        chosen = board
    check_bitstream(chosen, path, record)
    return Loadable(chosen, path)

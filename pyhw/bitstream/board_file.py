"""A board of the user's own, declared in a Python file."""

import gc
import warnings
from pathlib import Path

from pyhw.boards import BOARDS, Board, find_board
from pyhw.errors import MissingTool, UserError
from pyhw.user_file import run_file, said

from .constraints import make_pins
from .flow import solve_pll

__all__ = ["board_of", "load_board"]


def board_of(name: str | None, file: Path | None, default: str | None = None) -> Board:
    """Return the board that a user names, or declares in a file.

    Raises
    ------
    UserError
        If both are given, or neither and there is no default; else as `find_board` and
        `load_board`.
    """
    if file is not None:
        if name is not None:
            raise UserError("--board and --board-file name a board each: leave one out")
        return load_board(file)
    if name is None and default is None:
        raise UserError("a board must be named, with --board or --board-file; `pyhw build` lists "
                        "those there are")
    return find_board(name or default or "")


def load_board(path: Path) -> Board:
    """Run a Python file that declares ``BOARD``, and check what it declares.

    Parameters
    ----------
    path : Path
        It runs with all rights of the user, as any program does.

    Returns
    -------
    Board

    Raises
    ------
    UserError
        If the file cannot be read or raises, declares no board or one whose name is taken, or the
        board is incomplete: one line with the file and the reason.
    MissingTool
        If a package for its platform is missing.
    """
    try:
        board = _run(path)
        _check(board)
    except MissingTool:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return board


def _run(path: Path) -> Board:
    """Return the ``BOARD`` of a file."""
    module = run_file(f"pyhw_board_{path.stem}", path)
    board = getattr(module, "BOARD", None)
    if not isinstance(board, Board):
        raise UserError("it must declare BOARD = pyhw.boards.Board(...)"
                        + ("" if board is None else f", not {type(board).__name__}"))
    if board.name in BOARDS:
        raise UserError(f"there is a board {board.name} already: choose another name")
    return board


def _check(board: Board) -> None:
    """Make the pins and the clock of a board, as a build does."""
    if len(board.lights) != 3 or not all(
            light is None or (isinstance(light, tuple) and len(light) == 3)
            for light in board.lights):
        raise UserError("lights must be three of (resource, number, subsignal or None), None where "
                        f"the board has none, not {board.lights!r}")
    _ = board.device  # raises for a device that is not known
    reason = ""
    with warnings.catch_warnings():
        # What was made of pins before one failed is never used, which Amaranth would tell.
        warnings.simplefilter("ignore")
        try:
            platform = board.make_platform()
            make_pins(board, platform, solve_pll(board, platform, board.clock_mhz), "board")
        except (MissingTool, UserError):
            raise
        except Exception as error:
            reason = said(error)
        gc.collect()
    if reason:
        raise UserError(reason)

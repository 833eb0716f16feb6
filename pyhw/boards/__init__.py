"""Boards: which there are, and where their pins, clocks and LEDs are."""

from .board import Board, Loader
from .file import board_of, load_board
from .registry import BOARDS, find_board, register

__all__ = ["BOARDS", "Board", "Loader", "board_of", "find_board", "load_board", "register"]

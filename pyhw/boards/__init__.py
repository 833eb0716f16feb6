"""Boards: which there are, and where their pins, clocks and LEDs are."""

from .board import Board, Loader
from .registry import BOARDS, find_board, register

__all__ = ["BOARDS", "Board", "Loader", "find_board", "register"]

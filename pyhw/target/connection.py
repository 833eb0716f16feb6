"""A board at the other end of a serial line."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.host.ports import find_port

from .base import Program

if TYPE_CHECKING:
    from pyhw.boards import Board
    from pyhw.host.device import Device, Traffic

__all__ = ["Connection"]


class Connection:
    """A board that programs run on; `pyhw.connect` returns it, and ``with`` closes it.

    Parameters
    ----------
    board : str or Board, optional
        Only ports with its adapter's USB numbers are looked at.
    port : str, optional
        Name of the serial port; the only board that is plugged in by default.
    options
        Of `pyhw.connect`: baud, ahead, timeout_s, loaded.

    Examples
    --------
    >>> import numpy as np, pyhw
    >>> program = pyhw.load("lenet1.pyhwprog")
    >>> with pyhw.connect() as board:
    ...     for outputs in board.stream(program, np.zeros((3, 28, 28), np.uint8)):
    ...         outputs.shape
    (1, 1, 1, 10)
    (1, 1, 1, 10)
    (1, 1, 1, 10)
    """

    def __init__(self, board: "str | Board | None" = None, port: str | None = None,
                 **options: Any) -> None:
        if isinstance(board, str):
            from pyhw.boards import find_board

            board = find_board(board)
        self._name, self._options = "a board" if board is None else board.name, options
        self.port = find_port(port, board)
        """Name of the serial port."""
        self._stack = ExitStack()
        self._program: Program | None = None
        self._device: Device | None = None

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the serial port; the board keeps its program."""
        self._program = self._device = None
        self._stack.close()

    def load(self, program: Program, progress: Callable[..., None] | None = None) -> "Device":
        """Load a program, unless it is the one that was loaded last.

        Parameters
        ----------
        program : Program
        progress : callable, optional
            Called with the frames that are answered, and all of them.

        Returns
        -------
        Device
            For streams of batches, counters, traffic and what else the protocol has.

        Raises
        ------
        UserError
            If the port cannot be opened, or the board does not answer or has another
            configuration.
        """
        if self._device is None or program is not self._program:
            self.close()
            self._device = self._stack.enter_context(program.target.connect(
                program, self.port, progress=progress, **self._options))
            self._program = program
        return self._device

    def infer(self, program: Program, images: np.ndarray) -> np.ndarray:
        """Return the outputs of images, loading the program first if need be.

        Parameters
        ----------
        program : Program
        images : integer array (N, H, W, C) or (N, H, W)
            In the format of the program's input, usually 0 to 255; any number of them.

        Returns
        -------
        int64 array (N, H, W, C)
            Of a classifier, H and W are 1 and C is the number of classes.

        Raises
        ------
        UserError
            As of `load`; if images are of another shape or range, or the board is gone.
        """
        return self.load(program).infer(with_channels(images))

    def stream(self, program: Program, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the outputs batch by batch, so that an error loses none of them."""
        yield from self.load(program).stream(with_channels(images))

    @property
    def traffic(self) -> "Traffic | None":
        """Bytes, retries and loads up to now; None before a program is loaded."""
        return None if self._device is None else self._device.traffic

    def __repr__(self) -> str:
        running = f", {self._program.name} loaded" if self._program is not None else ""
        return f"Connection to {self._name} at {self.port}{running}"


def with_channels(images: np.ndarray) -> np.ndarray:
    """Return images with an axis of channels; anything else is left for the check to refuse."""
    return images[..., None] if isinstance(images, np.ndarray) and images.ndim == 3 else images

"""Programs on a board over its serial port, or on one that is simulated."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.errors import UserError
from pyhw.host.ports import require_pyserial
from pyhw.target.connection import Connection

from .runs import checked

if TYPE_CHECKING:
    import numpy as np

    from pyhw.boards import Board
    from pyhw.graph.ops import Graph
    from pyhw.hdl.config import Config
    from pyhw.host.measure import Measured
    from pyhw.target import Program
    from pyhw.target.base import Progress
    from pyhw.target.inference import Inference
    from pyhw.target.proposal import Proposal

__all__ = ["bench", "connect", "emulate", "infer"]


def connect(
    board: "str | Board | None" = None,
    port: str | None = None,
    *,
    baud: int = 1_000_000,
    ahead: int = 2,
    timeout_s: float | None = None,
    loaded: bool = False,
) -> Connection:
    """Connect to a board over its serial port, to be closed by ``with``.

    Parameters
    ----------
    board : str or Board, optional
        Which one, if several are plugged in.
    port : str, optional
        Name of its serial port; found by the USB numbers of known adapters by default.
    baud : int
        Bits a second, as the gateware was built for.
    ahead : int
        Frames sent before the first is answered, 1 to 64.
    timeout_s : float, optional
        Seconds after which a reply is late; by the speed by default.
    loaded : bool
        The board holds its program already: check, do not load.

    Returns
    -------
    Connection
        `infer(program, images)` takes and returns arrays.

    Raises
    ------
    UserError
        If pyserial is missing, or no board or several are found.

    Examples
    --------
    >>> import numpy as np, pyhw
    >>> program = pyhw.load("lenet1.pyhwprog")
    >>> images = np.zeros((3, 28, 28), np.uint8)
    >>> with pyhw.connect(board="ulx3s-85f") as board:
    ...     board.infer(program, images).shape
    (3, 1, 1, 10)
    """
    require_pyserial()
    return Connection(board, port, baud=baud, ahead=ahead, timeout_s=timeout_s, loaded=loaded)


def infer(
    program: "Program",
    images: "np.ndarray",
    *,
    graph: "Graph | None" = None,
    board: "Board | None" = None,
    port: str | None = None,
    baud: int = 1_000_000,
    ahead: int = 2,
    timeout_s: float | None = None,
    loaded: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    check: bool = True,
    progress: "Progress" = lambda done, total, text: None,
) -> "Inference":
    """Run a program on a board once: load it, send images, read the outputs back.

    `connect` is for more than one run. Damaged frames are sent again. If the board is unplugged,
    what was answered stays in `out`.

    Parameters
    ----------
    program : Program
    images : integer array (N, H, W, C) or (N, H, W)
        In the format of the program's input, usually 0 to 255.
    graph : Graph, optional
        Hold every output against it.
    board : Board, optional
        Whose adapter is looked for; that of any board that is known by default.
    port, baud, ahead, timeout_s, loaded
        As of `connect`.
    out : path-like, optional
        Keep the outputs (``.npz``), batch by batch.
    resume : bool
        Go on after the images whose outputs are kept.
    check : bool
        Raise if anything differs from the graph; otherwise `difference` says it.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    Inference
        `outputs`, `sent`, `seconds`, `retries`, `difference`.

    Raises
    ------
    UserError
        If images, port, board or file do not allow it, the board is gone (what is kept), or a
        value differs.

    Examples
    --------
    >>> import numpy as np, pyhw
    >>> program = pyhw.load("lenet1.pyhwprog")
    >>> images = np.zeros((3, 28, 28), np.uint8)
    >>> found = pyhw.infer(program, images, graph=pyhw.load("lenet1.pyhw"), out="answers.npz")
    >>> found.outputs.shape, found.sent, found.difference
    ((3, 1, 1, 10), 3, None)
    """
    from pyhw.target.inference import infer_kept

    require_pyserial()
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    found = infer_kept(
        program, checked(program.input_graph(), images), graph=graph, board=board, port=port,
        baud=baud, ahead=ahead, timeout_s=timeout_s, loaded=loaded,
        out=None if out is None else Path(out), resume=resume, progress=progress)
    if check and found.difference is not None:
        raise UserError(f"the board differs from the golden executor: {found.difference}")
    return found


def bench(
    program: "Program",
    images: "np.ndarray",
    *,
    board: "Board | None" = None,
    port: str | None = None,
    baud: int = 1_000_000,
    ahead: int = 2,
    timeout_s: float | None = None,
    loaded: bool = False,
    progress: "Progress" = lambda done, total, text: None,
) -> "Measured":
    """Measure images a second on a board, sending and reading included.

    Parameters
    ----------
    program : Program
    images : integer array (N, H, W, C) or (N, H, W)
        In the format of the program's input.
    board, port, baud, ahead, timeout_s, loaded, progress
        As of `infer`.

    Returns
    -------
    Measured
        `rate` and `link_rate` (what the line would carry if no byte ever waited), images a second;
        `running` and `loading` have bytes and retries, `cycles` the device's count.

    Raises
    ------
    UserError
        As of `infer`.

    Examples
    --------
    >>> import numpy as np, pyhw
    >>> program = pyhw.load("lenet1.pyhwprog")
    >>> found = pyhw.bench(program, np.zeros((3, 28, 28), np.uint8))
    >>> found.images, found.rate > 0
    (3, True)
    """
    from pyhw.target.inference import measure_rate

    require_pyserial()
    return measure_rate(
        program, checked(program.input_graph(), images), board=board, port=port, baud=baud,
        ahead=ahead, timeout_s=timeout_s, loaded=loaded, progress=progress)


def emulate(
    config: "Config | Proposal | None" = None,
    opened: Callable[[str], None] = print,
    *,
    program: "Program | None" = None,
    divisor: int = 8,
    once: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Simulate an accelerator on a serial line, as a port that `connect` opens like a board's.

    The port is a pseudo-terminal. Every bit on the line is simulated with Verilator, thousands of
    times slower than a board: connect with a `timeout_s` of a minute. It returns when it is
    interrupted, or with `once` when the port was opened and closed.

    Parameters
    ----------
    config : Config or Proposal, optional
        By default what `program` was compiled for.
    opened : callable
        Called with the name of the port as soon as it can be opened.
    program : Program, optional
        What is there without loading.
    divisor : int
        Clock cycles of a bit, at least 4.
    once : bool
        End when the port has been opened and closed.
    progress : callable, optional
        Called with events: dicts with ``stage``.

    Raises
    ------
    UserError
        If Verilator is missing or the simulation fails; if neither a configuration nor a program
        is given, or the program is for another configuration.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.emulate(pyhw.preset("tiny"), once=True)
    /dev/pts/3
    """
    from pyhw.simulation.launch import find_simulator
    from pyhw.target import target_of
    from pyhw.target.proposal import Proposal

    find_simulator("verilator")
    if config is None:
        if program is None:
            raise UserError("emulate needs a configuration, or a program that has one")
        config = program.known()
    if isinstance(config, Proposal):
        config = config.config
    target_of(config).emulate(config, opened, program=program, divisor=divisor, once=once,
                              progress=progress)

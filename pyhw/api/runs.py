"""Running programs: on simulated hardware, and on a board."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.errors import UserError
from pyhw.graph.execute import check_images
from pyhw.target.connection import Connection, with_channels

if TYPE_CHECKING:
    import numpy as np

    from pyhw.graph.ops import Graph
    from pyhw.target import Program
    from pyhw.target.design import Design
    from pyhw.target.simulation import Simulation

__all__ = ["connect", "simulate"]


def simulate(
    graph: "Graph",
    program: "Program",
    images: "np.ndarray",
    *,
    design: "Design | None" = None,
    netlist: str | None = None,
    simulator: str = "verilator",
    debug: bool = False,
    stalls: float = 0.0,
    torch: bool = False,
    onnx: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    chunk: int = 64,
    check: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> "Simulation":
    """Run images on the simulated accelerator and compare every output bit for bit.

    Parameters
    ----------
    graph : Graph
        What must come out, by the golden executor.
    program : Program
        Compiled from it.
    images : integer array (N, H, W, C) or (N, H, W)
        In the format of the graph's input, usually 0 to 255.
    design : Design, optional
        Verilog that was read; generated now by default.
    netlist : str, optional
        Simulate what Yosys makes of it for a family: ``ecp5``, ``ice40``, ``gowin``.
    simulator : {'verilator', 'icarus'}
    debug : bool
        Stop after every layer and compare its whole map.
    stalls : float
        Probability of gaps and stalls at the port, 0 to below 1.
    torch, onnx : bool
        Hold the quantised torch module and ONNX Runtime against it as well.
    out : path-like, optional
        Keep the outputs (``.npz``), chunk by chunk; with `resume` go on after those it holds.
    chunk : int
        Images per simulation.
    check : bool
        Raise if anything differs; otherwise `difference` says it.
    progress : callable, optional
        Called with events: dicts with ``stage``, ``done``, ``total``.

    Returns
    -------
    Simulation
        `outputs`, `cycles`, `difference`, `report`.

    Raises
    ------
    UserError
        If a value differs (layer, image, position, expected, got), a tool is missing, or images
        are not what the graph takes.
    """
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    pixels = with_channels(images)
    try:
        check_images(graph, pixels)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
    found = program.target.simulate(
        graph, program, pixels.astype("int64"), design=design, netlist=netlist,
        simulator=simulator, debug=debug, stalls=stalls, torch=torch, onnx=onnx,
        out=None if out is None else Path(out), resume=resume, chunk=chunk, progress=progress)
    if check and found.difference:
        raise UserError(str(found.difference))
    return found


def connect(
    board: str | None = None,
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
    board : str, optional
        Which one, if several are plugged in.
    port : str, optional
        Name of its serial port; found by the USB numbers of known adapters by default.
    baud : int
        Bits a second, as the gateware was built for.
    ahead : int
        Frames sent before the first is answered.
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
    """
    from pyhw.host.ports import require_pyserial

    require_pyserial()
    return Connection(board, port, baud=baud, ahead=ahead, timeout_s=timeout_s, loaded=loaded)

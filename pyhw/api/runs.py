"""Running programs on simulated hardware, and what its cycles and cells are."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.errors import UserError
from pyhw.graph.execute import check_images
from pyhw.target import target_of
from pyhw.target.connection import with_channels
from pyhw.target.proposal import Proposal

if TYPE_CHECKING:
    import numpy as np

    from pyhw.graph.ops import Graph
    from pyhw.hdl.config import Config
    from pyhw.profiler.profile import Profile
    from pyhw.synthesis.component import Synthesis
    from pyhw.target import Program
    from pyhw.target.design import Design
    from pyhw.target.simulation import Simulation

__all__ = ["profile", "simulate", "synth"]


def checked(graph: "Graph", images: "np.ndarray") -> "np.ndarray":
    """Return images as int64 (N, H, W, C); `UserError` if they are not what a graph takes."""
    pixels = with_channels(images)
    try:
        check_images(graph, pixels)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
    return pixels.astype("int64")


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
        Keep the outputs (``.npz``), chunk by chunk.
    resume : bool
        Go on after the images whose outputs are kept.
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

    Examples
    --------
    >>> import numpy as np, pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> program = pyhw.compile(graph, pyhw.preset("default"))
    >>> run = pyhw.simulate(graph, program, np.zeros((2, 28, 28), np.uint8))
    >>> run.outputs.shape, run.cycles == program.cycles, run.difference
    ((2, 1, 1, 10), True, None)
    """
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    pixels = checked(graph, images)
    found = program.target.simulate(
        graph, program, pixels, design=design, netlist=netlist,
        simulator=simulator, debug=debug, stalls=stalls, torch=torch, onnx=onnx,
        out=None if out is None else Path(out), resume=resume, chunk=chunk, progress=progress)
    if check and found.difference:
        raise UserError(str(found.difference))
    return found


def profile(
    graph: "Graph",
    config: "Config | Proposal",
    *,
    batch: int | None = None,
    images: "np.ndarray | None" = None,
    simulator: str = "verilator",
    check: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> "Profile":
    """Account for every lane in every cycle, layer by layer: useful, or lost to which cause.

    Parameters
    ----------
    graph : Graph
    config : Config or Proposal
    batch : int, optional
        Images of the run, at least 1; by default what was proposed, or one a group.
    images : integer array (N, H, W, C) or (N, H, W), optional
        Simulate the run with the first `batch` of them, and read the hardware's counters. Without
        them all figures are the compiler's exact model, in a second.
    simulator : {'verilator', 'icarus'}
    check : bool
        Raise if model and hardware differ; otherwise `disagreement` says it.
    progress : callable, optional
        Called with events of the simulation: dicts with ``stage``, ``done``, ``total``.

    Returns
    -------
    Profile
        `layers`, `cycles`, `hint`, `engines`; `svg()` is a picture, `to_dict()` has all figures.

    Raises
    ------
    UserError
        If the graph cannot be compiled; if there are too few images, a tool is missing, an output
        is wrong, or a counter is not what the model says.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> profile = pyhw.profile(graph, pyhw.preset("default"))
    >>> profile.layers[0].name, f"{profile.layers[0].share('useful'):.1%} useful"
    ('conv1', '37.9% useful')
    """
    if isinstance(config, Proposal):
        batch = config.batch if batch is None else batch
        config = config.config
    target = target_of(config)
    if images is not None:
        from pyhw.simulation.launch import find_simulator

        find_simulator(simulator)
        images = checked(graph, images)
    found = target.profile(graph, config, batch=batch, images=images, simulator=simulator,
                           progress=progress)
    if check and found.disagreement:
        raise UserError(found.disagreement)
    return found


def synth(
    config: "Config | Proposal",
    family: str = "ecp5",
    *,
    component: str = "system",
    check: bool = True,
    progress: Callable[[str], None] = lambda stage: None,
) -> "Synthesis":
    """Count the cells of an accelerator on a family of FPGAs, with Yosys.

    A design that was synthesised before is not synthesised again.

    Parameters
    ----------
    config : Config or Proposal
    family : str
        ``ecp5``, ``ice40``, ``gowin`` or ``gatemate``.
    component : str
        ``system`` is all of it; ``l1-engine``, ``shift-engine`` ... an engine alone.
    check : bool
        Raise if a multiplier block was used.
    progress : callable
        Called with what is going on.

    Returns
    -------
    Synthesis
        `report` (LUT4 equivalents, flip-flops, block RAMs, cells), `lut4_per_lane`.

    Raises
    ------
    UserError
        If there is no such family or component, the design multiplies, or Yosys is missing or
        fails.

    Examples
    --------
    >>> import pyhw
    >>> cells = pyhw.synth(pyhw.preset("tiny"), "ice40", component="l1-engine")
    >>> cells.report.dsps
    0
    """
    if isinstance(config, Proposal):
        config = config.config
    found = target_of(config).synth(config, family, component, progress)
    if check:
        found.report.require_no_dsp()
    return found

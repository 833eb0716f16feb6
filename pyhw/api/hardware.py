"""From the integer graph to hardware: configuration, program, Verilog, bitstream."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.configure import choose_config
from pyhw.errors import UserError
from pyhw.graph.ops import Graph
from pyhw.target import Program, target_of
from pyhw.target.proposal import Proposal

if TYPE_CHECKING:
    from pyhw.boards import Board
    from pyhw.hdl.config import Config
    from pyhw.target.base import Progress
    from pyhw.target.built import Built
    from pyhw.target.design import Design

__all__ = ["build", "compile", "fit", "generate", "preset"]

MOST_MHZ = 1000
MOST_BAUD = 100_000_000
"""No FPGA here reaches a clock of so many MHz."""


def preset(name: str = "default", changes: Sequence[str] = ()) -> "Config":
    """Return a configuration of the package, with single fields changed.

    Parameters
    ----------
    name : str
        ``tiny``, ``default``, ``large``, or one that was fitted to a network and a device:
        ``lenet5_85f``, ``resnet20_85f``, ``resnet8_25f`` ...
    changes : sequence of str
        As of ``--set``: ``"groups=4"``, ``"l1.lanes=32"``, ``"shift=none"`` ...

    Returns
    -------
    Config

    Raises
    ------
    UserError
        If there is no such preset, field or value.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.preset("tiny", ["groups=2"]).groups
    2
    """
    return choose_config(name, None, changes)


def fit(
    graph: Graph,
    device: str = "ecp5-85f",
    *,
    batch: int | None = None,
    objective: str = "throughput",
    specialise: bool = False,
    target: str = "accelerator",
    progress: "Progress | None" = None,
) -> Proposal:
    """Propose an accelerator for a graph and a device, in seconds and before any synthesis.

    Parameters
    ----------
    graph : Graph
    device : str
        ``ecp5-85f``, ``ice40-up5k`` ...: ``pyhw fit`` lists them.
    batch : int, optional
        Images at once; what fits best by default.
    objective : {'throughput', 'area'}
        Most images a second, or fewest LUTs.
    specialise : bool
        Smaller control, for the instructions of this graph alone.
    target : str
        A key of `pyhw.target.TARGETS`.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    Proposal
        Usable wherever a configuration is; `config` is the best one, `candidates` has all.

    Raises
    ------
    UserError
        If none fits: what is short, by how much, and what would fit.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> proposal = pyhw.fit(graph, device="ecp5-12f", objective="area")
    >>> proposal.best.luts < proposal.device.luts
    True
    >>> pyhw.compile(graph, proposal).batch == proposal.batch
    True
    """
    from pyhw.target import TARGETS

    if target not in TARGETS:
        raise UserError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    return TARGETS[target].fit(graph, device, batch=batch, objective=objective,
                               specialise=specialise, progress=progress)


def compile(
    graph: Graph,
    config: "Config | Proposal",
    *,
    batch: int | None = None,
    double_buffer: bool = False,
) -> Program:
    """Compile a graph for a configuration.

    Parameters
    ----------
    graph : Graph
    config : Config or Proposal
    batch : int, optional
        Images at once; by default what was proposed, or one a group.
    double_buffer : bool
        Input and output twice, so that images and results move while a batch runs.

    Returns
    -------
    Program
        `cycles` and `layers` are exact, before any simulation; `memory_map()`, `save()`.

    Raises
    ------
    UserError
        If something does not fit or is not supported: layer, reason, what to change.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> program = pyhw.compile(graph, pyhw.preset("default"))
    >>> program.batch, program.cycles > 0
    (2, True)
    """
    _need(graph, Graph, "graph", "pyhw.quantize or pyhw.load")
    if isinstance(config, Proposal):
        batch = config.batch if batch is None else batch
        config = config.config
    return target_of(config).compile(graph, config, batch=batch, double_buffer=double_buffer)


def generate(
    config: "Config | Proposal | None" = None,
    *,
    interface: str = "bytes",
    divisor: int | None = None,
    program: Program | None = None,
    family: str | None = None,
) -> "Design":
    """Return an accelerator as Verilog.

    Parameters
    ----------
    config : Config or Proposal, optional
        By default what `program` was compiled for.
    interface : {'bytes', 'serial', 'axi'}
        What stands around the two byte streams (``docs/system.md``).
    divisor : int, optional
        Clock cycles of a bit, for ``serial``.
    program : Program, optional
        What the memories hold from the start.
    family : str, optional
        Use only kinds of memory that a family of devices has, for its netlist.

    Returns
    -------
    Design
        `verilog` is its text; `save(path)`, `save_asic(folder)`.

    Raises
    ------
    UserError
        If arguments do not go together, or the program is for another configuration.

    Examples
    --------
    >>> import pyhw
    >>> design = pyhw.generate(pyhw.preset("tiny"))
    >>> "module top(" in design.verilog
    True
    """
    if config is None:
        if program is None:
            raise UserError("generate needs a configuration, or a program that has one")
        config = program.config
    if isinstance(config, Proposal):
        config = config.config
    return target_of(config).generate(config, interface=interface, divisor=divisor,
                                      program=program, family=family)


def build(
    source: Program | Graph,
    board: "str | Board" = "ulx3s-85f",
    *,
    config: "Config | Proposal | None" = None,
    batch: int | None = None,
    double_buffer: bool = False,
    specialise: bool = False,
    stand_alone: bool = False,
    clock_mhz: float | None = None,
    baud: int = 1_000_000,
    seeds: int = 1,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
    finished: Callable[[str, float, bool], None] = lambda name, seconds, kept: None,
) -> "Built":
    """Make a bitstream: fit and compile if need be, generate, synthesise, place and route, pack.

    Each stage is kept by the hash of all it depends on; nothing is done twice.

    Parameters
    ----------
    source : Program or Graph
        A graph is fitted to the board (without `config`) and compiled.
    board : str or Board
        ``ulx3s-85f``, ``icebreaker`` ...: ``pyhw build`` lists them; or one of your own
        (`pyhw.boards`).
    config : Config or Proposal, optional
        For a graph; of a program, if it is not known.
    batch, double_buffer, specialise
        As of `compile` and `fit`, for a graph.
    stand_alone : bool
        The board has its program without a host.
    clock_mhz : float, optional
        What the board usually reaches by default.
    baud : int
        Bits a second of the serial line.
    seeds : int
        Placements to try.
    out : path-like, optional
        Folder of everything that is made; NAME-BOARD by default.
    progress, finished : callable
        Called with what is going on; with each stage's name, its seconds, whether it was kept.

    Returns
    -------
    Built
        `report`, `bitstream`, `clock_mhz`, `folder`; `load()` brings it to the board.

    Raises
    ------
    UserError
        If a tool is missing or fails, nothing fits, or the clock is not met: by how much, and what
        may help.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet5_adder_digits.pyhw")
    >>> built = pyhw.build(graph, board="ulx3s-85f", out="lenet5-board")
    >>> built.bitstream.name
    'ulx3s-85f.bit'
    """
    if not 1 <= baud <= MOST_BAUD:
        raise UserError(f"--baud must be from 1 to {MOST_BAUD:,}, not {baud}")
    if clock_mhz is not None and not 1 <= clock_mhz < MOST_MHZ:
        raise UserError(f"--clock must be at least 1 and below {MOST_MHZ:,} MHz, "
                        f"not {clock_mhz:g}")
    name = board if isinstance(board, str) else board.name
    if isinstance(config, Proposal):
        batch = config.batch if batch is None and isinstance(source, Graph) else batch
        config = config.config
    if isinstance(source, Program):
        target = source.target
    else:
        from pyhw.target import TARGETS

        _need(source, Graph, "source", "pyhw.compile, pyhw.quantize or pyhw.load")
        target = TARGETS["accelerator"] if config is None else target_of(config)
    return target.build(
        source, board, Path(out) if out is not None else Path(f"{source.name}-{name}"),
        config=config, batch=batch, double_buffer=double_buffer, specialise=specialise,
        stand_alone=stand_alone, clock_mhz=clock_mhz, baud=baud, seeds=seeds, progress=progress,
        finished=finished)


def _need(value: Any, kind: type, what: str, maker: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be a {kind.__name__}, as {maker} returns, not "
                        f"{type(value).__name__}")

"""A whole build: from a model to a bitstream."""

import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyhw.boards import Board
from pyhw.errors import UserError
from pyhw.families.family import TOP

from .constraints import make_pins
from .implement import MODULE, Finished, Implemented, implement
from .model import Model
from .names import plain_names
from .stages import Progress

__all__ = ["Build", "Outcome", "build", "lower_clock", "rows_of", "solve_pll"]


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is to be built.

    Attributes
    ----------
    model : Model
    board : Board
    clock_mhz : float
        Asked for; the PLL comes within 1 % of it.
    baud : int
        Of the serial line.
    seeds : int
        Placements to try.
    stand_alone : bool
        Whether the board has its program without a host: out of the flash where weights lie in
        single-port RAM, else as contents of block RAM.
    """

    model: Model
    board: Board
    clock_mhz: float
    baud: int
    seeds: int = 1
    stand_alone: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out of a build.

    Attributes
    ----------
    build : Build
    pll : pyhw.families.pll.Pll
    texts : dict of str to str
        Sources and constraints by file name.
    made : Implemented
    generate_s : float
        Seconds that sources and constraints took.
    """

    build: Build
    pll: Any
    texts: dict[str, str]
    made: Implemented
    generate_s: float


def solve_pll(board: Board, platform: Any, clock_mhz: float) -> Any:
    """Return the PLL's setting for a clock, or raise `UserError` with the nearest there is."""
    try:
        return board.family.solve_pll(int(platform.default_clk_frequency),
                                      round(clock_mhz * 1e6), platform, pad=board.pad)
    except ValueError as error:
        raise UserError(f"--clock {clock_mhz:g}: {error}") from None


def lower_clock(board: Board, reached_mhz: float) -> int | None:
    """Return the fastest clock, in whole MHz, that a board's PLL makes and a design reaches."""
    platform = board.make_platform()
    for clock_mhz in range(int(reached_mhz), 0, -1):
        with contextlib.suppress(UserError):
            if solve_pll(board, platform, clock_mhz).output_hz <= reached_mhz * 1e6:
                return clock_mhz
    return None


def build(
    job: Build,
    logs: Path,
    progress: Progress = lambda text: None,
    finished: Finished = lambda name, seconds, kept: None,
) -> Outcome:
    """Build a bitstream.

    Parameters
    ----------
    job : Build
    logs : Path
        Folder for the log of a stage that fails.
    progress : callable
        Called with what is going on.
    finished : callable
        Called after each stage.

    Raises
    ------
    UserError
        If a tool is missing or fails, the PLL cannot make the clock or the line its rate, or the
        design does not fit the device.
    """
    from pyhw.contents import NOTHING, contents_of
    from pyhw.verilog import cached_verilog, divisor_for

    started = time.monotonic()
    contents = NOTHING
    if job.stand_alone and job.model.config.build.single_port:
        loading = job.model.config.changed(flash_loader=True)
        job = replace(job, model=replace(job.model, config=loading))
    elif job.stand_alone:
        contents = contents_of(job.model.program, job.model.config)
    config = job.model.config
    platform = job.board.make_platform()
    pll = solve_pll(job.board, platform, job.clock_mhz)
    clock_hz = round(pll.output_hz)
    try:
        divisor = divisor_for(clock_hz, job.baud)
    except ValueError as error:
        raise UserError(f"--baud: {error}") from None
    progress("generate")
    verilog = plain_names(cached_verilog(
        config, divisor, clock_hz=clock_hz, name=MODULE, contents=contents))
    pins = make_pins(job.board, platform, pll, MODULE, config.port.flash_loader)
    seconds = time.monotonic() - started
    finished("generate", seconds, False)
    apart = rows_of(verilog, config.engines) if config.build.links else ()
    made = implement(job.board, platform, verilog, pins, float(pll.output_hz) / 1e6, job.seeds,
                     logs, apart, progress, finished)
    return Outcome(build=job, pll=pll, made=made, generate_s=seconds,
                   texts={f"{MODULE}.v": verilog, f"{TOP}.il": pins.rtlil, **pins.constraints})


def rows_of(verilog: str, engines: Iterable[str]) -> list[str]:
    """Return the modules with registers that equal those of others: engines, rows, results."""
    return re.findall(rf"^module +({MODULE}_(?:[a-z0-9]+row|accumulators)\w*|"
                      rf"\\{MODULE}_datapath\d+\.(?:{'|'.join(engines)})(?= ))",
                      verilog, re.MULTILINE)

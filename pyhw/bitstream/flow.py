"""A whole build: from a model to a bitstream, stage by stage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyhw.boards import BOARDS, Board
from pyhw.errors import UserError
from pyhw.tools import find_place_and_route, find_yosys

from .constraints import make_pins
from .families import FAMILIES, TOP, limits
from .model import Model
from .names import plain_names
from .netlist import Netlist, Placement, read_netlist, read_placement
from .stages import Done, Progress, Stage, ToolError, run_stage
from .timing import Timing, read_timing

__all__ = ["Build", "Outcome", "Routed", "build", "solve_pll"]

MODULE = "board"
"""Verilog module of all that lies on a board but pins and PLL, and its instance's name."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is to be built.

    Attributes
    ----------
    model : Model
    board : Board
    clock_mhz : float
        Asked for; the PLL comes within a hundredth of it.
    baud : int
        Of the serial line.
    seeds : int
        Placements to try.
    """

    model: Model
    board: Board
    clock_mhz: float
    baud: int
    seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class Routed:
    """One placement."""

    seed: int
    done: Done
    timing: Timing
    utilization: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out of a build.

    Attributes
    ----------
    build : Build
    pll : Ecp5Pll, Ice40Pll or GowinPll
    texts : dict of str to str
        Sources and constraints by file name.
    netlist : Netlist
    routed : tuple of Routed
        All placements, the best first.
    placement : Placement
        Of the best.
    bitstream : Path or None
        None if the clock is not met.
    stages : tuple of (str, float, bool, str)
        Name, seconds, whether it was there before, and the tool with its version.
    logs : dict of str to Path
    """

    build: Build
    pll: Any
    texts: dict[str, str]
    netlist: Netlist
    routed: tuple[Routed, ...]
    placement: Placement
    bitstream: Path | None
    stages: tuple[tuple[str, float, bool, str], ...]
    logs: dict[str, Path]

    @property
    def best(self) -> Routed:
        """The fastest placement."""
        return self.routed[0]


def solve_pll(board: Board, platform: Any, clock_mhz: float) -> Any:
    """Return the PLL's setting for a clock, or raise `UserError` with the nearest there is."""
    from pyhw.generate import solve_pll as solve

    try:
        return solve(board.family, int(platform.default_clk_frequency), round(clock_mhz * 1e6),
                     pad=board.pad, device=getattr(platform, "family", None))
    except ValueError as error:
        raise UserError(f"--clock {clock_mhz:g}: {error}") from None


def build(
    job: Build,
    logs: Path,
    progress: Progress = lambda text: None,
    finished: Callable[[str, float, bool], None] = lambda name, seconds, cached: None,
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
        Called with the name of each stage that is done, its seconds and whether it was there.

    Raises
    ------
    UserError
        If a tool is missing or fails, the PLL cannot make the clock or the line its rate, or the
        design does not fit the device.
    """
    family, board = FAMILIES[job.board.family], job.board
    platform = board.make_platform()
    pll = solve_pll(board, platform, job.clock_mhz)
    yosys, (nextpnr, packer) = find_yosys(), find_place_and_route(board.family)
    spent: list[tuple[str, float, bool, str]] = []

    def note(name: str, seconds: float, cached: bool, tool: str) -> None:
        spent.append((name, seconds, cached, tool))
        finished(name, seconds, cached)

    def run(stage: Stage) -> Done:
        progress(stage.name)
        done = run_stage(stage, logs / f"{stage.name.replace(' ', '-')}.log", progress)
        note(done.name, done.seconds, done.cached, f"{done.tool} {done.version}")
        return done

    started = time.monotonic()
    progress("generate")
    verilog, pins = _sources(job, platform, pll)
    note("generate", time.monotonic() - started, False, "amaranth")
    synthesised = run(Stage(
        name="synthesis", tool=yosys,
        arguments=["-q", "-l", "log", "-p", "; ".join((
            f"read_verilog -sv {MODULE}.v", f"read_rtlil {TOP}.il",
            family.synthesis(board, platform), "write_json netlist.json"))],
        texts={f"{MODULE}.v": verilog, f"{TOP}.il": pins.rtlil}, files={},
        outputs=["netlist.json"], sign=r"^[\d.]+ Executing (\w+)"))
    netlist = read_netlist(synthesised.path("netlist.json"), family)
    check_size(board, netlist.used)
    clock_mhz = float(pll.output_hz / 1_000_000)
    tried = []
    for seed in range(1, job.seeds + 1):
        routed_file = f"{TOP}{family.routed}"
        written = routed_file if board.family == "gowin" else "placed.json"
        try:
            done = run(Stage(
                name=f"route seed {seed}", tool=nextpnr,
                arguments=["-q", "-l", "log", "--json", "netlist.json", "--seed", str(seed),
                           "--freq", f"{clock_mhz:.6f}", "--timing-allow-fail", "--report",
                           "report.json", "--write", written, *family.route(board, platform)],
                texts=pins.constraints, after=[synthesised.key],
                files={"netlist.json": synthesised.path("netlist.json")},
                outputs=["report.json", written, routed_file]))
        except ToolError as error:
            raise _too_large(board, netlist.used, error) from None
        tried.append(_routed(seed, done, netlist, clock_mhz))
    tried.sort(key=lambda one: -one.timing.reached_mhz)
    best = tried[0]
    bitstream = None
    if best.timing.met:
        packed = run(Stage(
            name="pack", tool=packer, arguments=family.pack(board, platform), texts={},
            files={f"{TOP}{family.routed}": best.done.path(f"{TOP}{family.routed}")},
            after=[best.done.key], outputs=[f"{TOP}{family.bitstream}"]))
        bitstream = packed.path(f"{TOP}{family.bitstream}")
    progress("report")
    written = f"{TOP}{family.routed}" if board.family == "gowin" else "placed.json"
    return Outcome(
        build=job, pll=pll, netlist=netlist, routed=tuple(tried), bitstream=bitstream,
        texts={f"{MODULE}.v": verilog, f"{TOP}.il": pins.rtlil, **pins.constraints},
        placement=read_placement(best.done.path(written), netlist.components),
        stages=tuple(spent),
        logs={"synthesis.log": synthesised.log,
              **{f"route-seed-{one.seed}.log": one.done.log for one in tried}})


def _sources(job: Build, platform: Any, pll: Any) -> tuple[str, Any]:
    """Return the Verilog of the design and the top module around it."""
    from pyhw.generate import cached_verilog, divisor_for

    clock_hz = round(pll.output_hz)
    try:
        divisor = divisor_for(clock_hz, job.baud)
    except ValueError as error:
        raise UserError(f"--baud: {error}") from None
    verilog = cached_verilog(job.model.config, divisor, clock_hz, MODULE)
    return plain_names(verilog), make_pins(job.board, platform, pll, MODULE)


def _routed(seed: int, done: Done, netlist: Netlist, clock_mhz: float) -> Routed:
    import json

    report = json.loads(done.path("report.json").read_text(encoding="utf-8"))
    return Routed(seed=seed, done=done, utilization=report["utilization"],
                  timing=read_timing(report, netlist.components, clock_mhz))


def check_size(board: Board, used: dict[str, int]) -> None:
    """Raise `UserError` if a netlist takes more than a device has: by how much, what would fit."""
    if found := _short(board, used):
        raise UserError(f"{board.device.name} is too small: {found}; {_larger(board, used)}")


def _short(board: Board, used: dict[str, int]) -> str:
    room = limits(board)
    return " and ".join(
        f"{used[what] - room[what]:,} {what} too many ({used[what]:,} of {room[what]:,})"
        for what in room if used.get(what, 0) > room[what])


def _larger(board: Board, used: dict[str, int]) -> str:
    others = {other.device.name: other.name for other in BOARDS.values()
              if other.family == board.family and not _short(other, used)
              and other.device.luts > board.device.luts}
    if others:
        return f"it would fit {', '.join(others.values())}; or take a smaller configuration"
    return "take a smaller configuration (`pyhw fit` proposes one for a model and a device)"


_NO_PLACE = ("unable to place", "no more bels", "failed to place", "no bels remaining",
             "placement failed", "unable to find legal placement",
             "failed to expand region", "can't be placed", "no places left")


def _too_large(board: Board, used: dict[str, int], error: ToolError) -> UserError:
    """Return what a failed placement means to the user."""
    said = error.said.lower()
    if not any(sign in said for sign in _NO_PLACE):
        return error
    room = limits(board)
    share = ", ".join(f"{used[what]:,} of {room[what]:,} {what}" for what in room
                      if used.get(what) and room[what])
    return UserError(f"{board.device.name} is too small, since nextpnr finds no place for all "
                     f"cells ({share}); take a configuration with fewer of what is scarce. "
                     f"{error}")

"""From Verilog to a bitstream: synthesis, placements, the best of them packed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyhw.boards import BOARDS, Board
from pyhw.errors import UserError
from pyhw.families.family import TOP
from pyhw.tools import find_place_and_route, find_yosys

from .constraints import Pins
from .netlist import Netlist, Placement, read_netlist, read_placement
from .router import how_far, routed_seeds, stuck_router
from .stages import Done, Progress, Stage, Stuck, ToolError, run_stage, said
from .timing import Timing, read_timing

__all__ = ["Finished", "Implemented", "MODULE", "Routed", "check_size", "implement",
           "too_large"]

MODULE = "board"
"""Verilog module of all that lies on a board but pins and PLL, and its instance's name."""

Finished = Callable[[str, float, bool], None]
"""Called with the name of each stage that is done, its seconds and whether it was there."""


@dataclass(frozen=True, kw_only=True)
class Routed:
    """One placement."""

    seed: int
    done: Done
    timing: Timing
    utilization: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Implemented:
    """What the tools made of a design.

    Attributes
    ----------
    netlist : Netlist
    routed : tuple of Routed
        All placements, the fastest first.
    placement : Placement
        Of the fastest.
    bitstream : Path or None
        None if the clock is not met.
    stages : tuple of Done
        In order.
    """

    netlist: Netlist
    routed: tuple[Routed, ...]
    placement: Placement
    bitstream: Path | None
    stages: tuple[Done, ...]


def implement(
    board: Board,
    platform: Any,
    verilog: str,
    pins: Pins,
    clock_mhz: float,
    seeds: int,
    logs: Path,
    apart: Sequence[str] = (),
    progress: Progress = lambda text: None,
    finished: Finished = lambda name, seconds, kept: None,
) -> Implemented:
    """Synthesise, place, route and pack.

    Parameters
    ----------
    board : Board
    platform : amaranth.build.Platform
    verilog : str
        With the module `MODULE`.
    pins : Pins
        The top module around it.
    clock_mhz : float
        What the PLL makes.
    seeds : int
        Placements to try.
    logs : Path
        Folder for the log of a stage that fails.
    apart : sequence of str
        Modules that are synthesised by themselves, so that equal registers in several of them
        are not made one.
    progress, finished : callable

    Raises
    ------
    UserError
        If a tool is missing or fails, or the design does not fit the device.
    """
    family = board.family
    yosys, (nextpnr, packer) = find_yosys(), find_place_and_route(family.name)
    stages: list[Done] = []

    def ended(done: Done) -> Done:
        stages.append(done)
        finished(done.name, done.seconds, done.cached)
        return done

    def run(stage: Stage) -> Done:
        progress(stage.name)
        try:
            return ended(run_stage(stage, logs / f"{stage.name.replace(' ', '-')}.log", progress))
        except Stuck as error:
            if error.given_up is not None:
                ended(error.given_up)
            raise

    def synthesise(command: str, *others: str) -> Done:
        stage = Stage(
            name="synthesis", tool=yosys,
            arguments=["-q", "-l", "log", "-p", "; ".join((
                f"read_verilog -sv {MODULE}.v", f"read_rtlil {TOP}.il",
                *(f"setattr -mod -set keep_hierarchy 1 {module}" for module in apart),
                command,
                *(f"setattr -mod -unset keep_hierarchy {module}" for module in apart),
                *(["flatten", "clean"] if apart else []), "write_json netlist.json"))],
            texts={f"{MODULE}.v": verilog, f"{TOP}.il": pins.rtlil}, files={},
            outputs=["netlist.json"], sign=said(r"^[\d.]+ Executing (\w+)"))
        try:
            return run(stage)
        except Stuck:
            if not others:
                raise
            return synthesise(*others)

    synthesised = synthesise(*family.synthesis(platform))
    progress("reading the netlist")
    netlist = read_netlist(synthesised.path("netlist.json"), family, verilog)
    check_size(board, netlist.used)
    routed_file = f"{TOP}{family.routed}"
    placed_file = routed_file if family.routed.endswith(".json") else "placed.json"

    def route(seed: int) -> Done:
        return run(Stage(
            name=f"route seed {seed}", tool=nextpnr,
            arguments=["-q", "-l", "log", "--json", "netlist.json", "--seed", str(seed),
                       "--freq", f"{clock_mhz:.6f}", "--timing-allow-fail", "--report",
                       "report.json", "--write", placed_file, *family.route(platform)],
            texts=pins.constraints, after=[synthesised.key],
            files={"netlist.json": synthesised.path("netlist.json")},
            outputs=["report.json", placed_file, routed_file], watch=stuck_router,
            sign=how_far))

    tried: list[Routed] = []
    try:
        for seed, done in routed_seeds(route, seeds, progress):
            report = json.loads(done.path("report.json").read_text(encoding="utf-8"))
            tried.append(Routed(seed=seed, done=done, utilization=report["utilization"],
                                timing=read_timing(report, netlist.components, clock_mhz)))
    except ToolError as error:
        raise too_large(board, netlist.used, error) from None
    tried.sort(key=lambda one: -one.timing.reached_mhz)
    best = tried[0]
    bitstream = None
    if best.timing.met:
        bitstream = run(Stage(
            name="pack", tool=packer, arguments=family.pack(platform), texts={},
            files={routed_file: best.done.path(routed_file)}, after=[best.done.key],
            outputs=[f"{TOP}{family.bitstream}"])).path(f"{TOP}{family.bitstream}")
    progress("report")
    return Implemented(
        netlist=netlist, routed=tuple(tried), bitstream=bitstream, stages=tuple(stages),
        placement=read_placement(best.done.path(placed_file), netlist.components))


def check_size(board: Board, used: dict[str, int]) -> None:
    """Raise `UserError` if a netlist takes more than a device has: by how much, what would fit."""
    if found := _short(board, used):
        raise UserError(f"{board.device.name} is too small: {found}; {_larger(board, used)}")


def _short(board: Board, used: dict[str, int]) -> str:
    room = board.limits
    return " and ".join(
        f"{used[what] - room[what]:,} {what} too many ({used[what]:,} of {room[what]:,})"
        for what in room if used.get(what, 0) > room[what])


def _larger(board: Board, used: dict[str, int]) -> str:
    others = [other.name for other in BOARDS.values()
              if other.family == board.family and not _short(other, used)]
    if others:
        return f"it would fit {', '.join(others)}; or take a smaller configuration"
    return "take a smaller configuration (`pyhw fit` proposes one for a model and a device)"


_NO_PLACE = ("unable to place", "no more bels", "failed to place", "no bels remaining",
             "placement failed", "unable to find legal placement",
             "failed to expand region", "can't be placed", "no places left")


def too_large(board: Board, used: dict[str, int], error: ToolError) -> UserError:
    """Return what a failed placement means to the user."""
    said = error.said.lower()
    if not any(sign in said for sign in _NO_PLACE):
        return error
    room = board.limits
    share = ", ".join(f"{used[what]:,} of {room[what]:,} {what}" for what in room
                      if used.get(what) and room[what])
    return UserError(f"{board.device.name} is too small, since nextpnr finds no place for all "
                     f"cells ({share}); take a configuration with fewer of what is scarce. "
                     f"{error}")

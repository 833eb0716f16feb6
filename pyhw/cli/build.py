"""``pyhw build``: a bitstream for a board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyhw.cli.options import BoardFile, ConfigFile, DoubleBuffer, Set
from pyhw.errors import UserError, writing

if TYPE_CHECKING:
    from pyhw.bitstream import Outcome
    from pyhw.boards import Board

BOARD = "ulx3s-85f"
"""The board where none is named."""
MOST_MHZ = 1000
"""No FPGA here reaches a clock of so many MHz."""


def build(
    model: Annotated[
        Path | None,
        typer.Argument(help="Integer graph (.pyhw) or program (.pyhwprog).",
                       show_default="list boards"),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="ulx3s-85f, icebreaker ...: `pyhw build` lists them.",
                     show_default=BOARD),
    ] = None,
    board_file: BoardFile = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset.", show_default="fitted to model and board")
    ] = None,
    config: ConfigFile = None,
    set_: Set = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at once.", show_default="what fits best")
    ] = None,
    double_buffer: DoubleBuffer = False,
    specialise: Annotated[
        bool,
        typer.Option("--specialise", help="Smaller control, for this model's instructions alone."),
    ] = False,
    stand_alone: Annotated[
        bool,
        typer.Option("--stand-alone", help="The board has its program without a host."),
    ] = False,
    clock: Annotated[
        float | None, typer.Option(help="MHz, from 1.", show_default="by the board")
    ] = None,
    baud: Annotated[int, typer.Option(min=300, help="Bits a second of the line.")] = 1_000_000,
    seeds: Annotated[int, typer.Option(min=1, max=64, help="Placements to try.")] = 1,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder.", show_default="MODEL-BOARD")
    ] = None,
) -> None:
    """Make a bitstream: fit, compile, generate, synthesise, place and route, pack.

    Each stage is kept by the hash of all it depends on: a build that was interrupted goes on
    where it was, and nothing is done twice. The folder gets bitstream, program, configuration,
    logs, report.html and build.json. Without a model, list the boards.

    Examples:

      pyhw build

      pyhw build lenet5.pyhw --board ulx3s-85f --seeds 4

      pyhw build lenet5.pyhw --config accelerator.json --clock 60

      pyhw build lenet1.pyhw --board tang-nano-9k --stand-alone

      pyhw build lenet5.pyhw --board-file my_board.py
    """
    from pyhw.bitstream import Build
    from pyhw.bitstream import build as make
    from pyhw.bitstream.model import prepare
    from pyhw.bitstream.output import build_folder, write_folder
    from pyhw.boards import board_of
    from pyhw.cli.progress import status

    chosen = board_of(board, board_file, BOARD)
    if model is None:
        _boards()
        return
    if clock is not None and not 1 <= clock < MOST_MHZ:
        raise UserError(f"--clock must be at least 1 and below {MOST_MHZ:,} MHz, not {clock:g}")
    folder = out or Path(f"{model.stem}-{chosen.name}")
    chosen.make_platform()  # before the fit takes its time: are the packages there?
    finished: list[str] = []

    def done(name: str, seconds: float, kept: bool) -> None:
        finished.append(name)
        typer.echo(f"{name}: {seconds:.1f} s{', kept from before' if kept else ''}")

    try:
        with build_folder(folder), status() as show:
            show("reading the model")
            prepared = prepare(model, chosen, preset=preset, config=config, changes=set_ or (),
                               batch=batch, double_buffer=double_buffer,
                               specialise=specialise, progress=show)
            if prepared.config.ranges:
                typer.echo("control is specialised: the board runs this model alone, with any "
                           "weights")
            job = Build(model=prepared, board=chosen, baud=baud, seeds=seeds,
                        stand_alone=stand_alone,
                        clock_mhz=chosen.clock_mhz if clock is None else clock)
            outcome = make(job, folder / "logs", show, done)
    except KeyboardInterrupt:
        kept = f"{', '.join(finished)} done; " if finished else ""
        raise KeyboardInterrupt(f"{kept}the same command goes on from there") from None
    with writing(folder):
        record = write_folder(folder, outcome)
    _print(record, folder, chosen)
    if not outcome.made.routed[0].timing.met:
        raise UserError(_missed(outcome, folder))


def _missed(outcome: "Outcome", folder: Path) -> str:
    from pyhw.bitstream.flow import lower_clock

    tried = outcome.made.routed
    timing = tried[0].timing
    lower = lower_clock(outcome.build.board, timing.reached_mhz)
    ways = [f"--clock {lower}"] if lower else []
    if len(tried) < 8:
        ways.append(f"--seeds {max(8, 2 * len(tried))}")
    ways.append("a configuration with fewer lanes")
    return (f"{timing.reached_mhz:.2f} MHz reached of {timing.asked_mhz:.2f}; the slowest path is "
            f"{timing.explained()}; what may help: {', '.join(ways)}; no bitstream was made, the "
            f"report is {folder / 'report.html'}")


def _print(record: dict[str, Any], folder: Path, board: "Board") -> None:
    clock, speed, link = record["clock"], record["speed"], record["link"]
    used, room = record["resources"]["used"], record["resources"]["available"]
    typer.echo(", ".join(f"{used[what]:,} of {room[what]:,} {what}" for what in used
                         if room.get(what)))
    if not clock["met"]:
        return
    typer.echo(f"clock: {clock['reached_mhz']:.2f} MHz reached, {clock['set_mhz']:.2f} MHz set")
    typer.echo(f"{speed['images_per_second']:,.1f} images a second by the accelerator, "
               f"{link['images_per_second']:,.1f} by the line of {link['baud']:,} baud")
    keep = "" if board.loader.ram else " --flash"
    typer.echo(f"{folder / record['bitstream']}: {record['bytes']:,} bytes; "
               f"`pyhw flash {folder}{keep}` loads it")
    if record["stand_alone"]:
        typer.echo("the board has its program by itself; `pyhw infer --loaded` does not load")


def _boards() -> None:
    from rich.table import Table

    from pyhw.boards import BOARDS
    from pyhw.cli.options import console

    table = Table()
    for name in ("board", "name", "device", "clock"):
        table.add_column(name)
    for one in BOARDS.values():
        table.add_row(one.name, one.title, one.device_name, f"{one.clock_mhz:g} MHz")
    console().print(table)

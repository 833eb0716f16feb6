"""``pyhw build``: a bitstream for a board."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import BoardFile, ConfigFile, DoubleBuffer, Set

BOARD = "ulx3s-85f"
"""The board where none is named."""


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
    import pyhw
    from pyhw.bitstream.board_file import board_of
    from pyhw.cli.options import choice
    from pyhw.cli.progress import status
    from pyhw.inputs import expect_either

    chosen = board_of(board, board_file, BOARD)
    if model is None:
        _boards()
        return
    expect_either(model, "graph", "program")
    given = choice(preset, config, set_)
    finished: list[str] = []

    def done(name: str, seconds: float, kept: bool) -> None:
        finished.append(name)
        typer.echo(f"{name}: {seconds:.1f} s{', kept from before' if kept else ''}")

    try:
        with status() as show:
            built = pyhw.build(
                pyhw.load(model, config=given), chosen, config=given, batch=batch,
                double_buffer=double_buffer, specialise=specialise, stand_alone=stand_alone,
                clock_mhz=clock, baud=baud, seeds=seeds, progress=show, finished=done,
                out=out or Path(f"{model.stem}-{chosen.name}"))
    except KeyboardInterrupt:
        kept = f"{', '.join(finished)} done; " if finished else ""
        raise KeyboardInterrupt(f"{kept}the same command goes on from there") from None
    if built.report["config"]["specialised"]:
        typer.echo("control is specialised: the board runs this model alone, with any weights")
    *lines, file = built.lines()
    typer.echo("\n".join(lines))
    keep = "" if chosen.loader.ram else " --flash"
    typer.echo(f"{file}; `pyhw flash {built.folder}{keep}` loads it")
    if built.report["stand_alone"]:
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

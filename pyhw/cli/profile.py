"""``pyhw profile``: where the cycles of a network go."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import ConfigFile, DataDir, Preset, Set
from pyhw.errors import UserError, writing

if TYPE_CHECKING:
    from rich.text import Text

    from pyhw.profiler.measure import Measured
    from pyhw.profiler.profile import Profile

BAR = 32
"""Characters of a layer's bar."""
ROOM = 120
"""Characters of a terminal's line from which on there are bars."""


def profile(
    graph: Annotated[Path, typer.Argument(help="Integer graph (.pyhw).")],
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at once.", show_default="one a group")
    ] = None,
    clock: Annotated[float, typer.Option(min=0.001, help="MHz, for the rates.")] = 100.0,
    simulate: Annotated[
        bool, typer.Option("--simulate/--model-only",
                           help="Also run it on the simulated accelerator, and hold its counters "
                                "against the model.")
    ] = False,
    data: Annotated[
        str, typer.Option(help="Images to simulate: smooth, random, digits, mnist or a .npy file.")
    ] = "smooth",
    seed: Annotated[int, typer.Option(min=0, help="Of smooth and random images.")] = 0,
    data_dir: DataDir = None,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    picture: Annotated[
        Path | None, typer.Option(help="Draw the run along time (.svg, for a browser).")
    ] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write the account for scripts.")
    ] = None,
) -> None:
    """Account for every lane in every cycle, layer by layer: useful, or lost to which cause.

    The figures are the compiler's exact model. With --simulate the hardware's counters must say
    the same, figure by figure, or it is an error.

    Examples:

      pyhw profile lenet5.pyhw --preset default --batch 8

      pyhw profile resnet20.pyhw --preset resnet20_85f --picture resnet20.svg

      pyhw profile resnet8.pyhw --config accelerator.json --simulate --json resnet8.json
    """
    import pyhw
    from pyhw.cli.options import distinct
    from pyhw.cli.progress import simulation_bar
    from pyhw.configure import choose_config
    from pyhw.files import write_atomically
    from pyhw.inputs import check_output, load_images, read_graph
    from pyhw.simulation.launch import find_simulator

    if simulate:
        find_simulator(simulator)
    distinct({"the graph": graph, "--config": config}, {"--picture": picture, "--json": json_})
    if picture is not None:
        if picture.suffix.lower() != ".svg":
            raise UserError(f"--picture must end in .svg, not {picture.name!r}")
        check_output(picture)
    if json_ is not None:
        check_output(json_)
    chosen = choose_config(preset, config, set_ or ())
    network = read_graph(graph)
    images = batch or chosen.groups
    pixels = None
    if simulate:
        pixels, _ = load_images(network, data, images, data_dir, seed)
        if len(pixels) < images:
            raise UserError(f"{data} has {len(pixels)} images and a batch takes {images}")
    with simulation_bar(simulator) if simulate else nullcontext() as show:
        found = pyhw.profile(network, chosen, batch=images, images=pixels, simulator=simulator,
                             check=False, progress=show)
    _print(found)
    if found.measured is not None:
        if found.disagreement is not None:
            raise UserError(found.disagreement)
        typer.echo(_agreement(found.measured, simulator))
    typer.echo("\n".join(found.lines(clock)))
    for path, text in ((picture, lambda: found.svg(clock)),
                       (json_, lambda: json.dumps(found.to_dict(clock), indent=1) + "\n")):
        if path is not None:
            with writing(path):
                write_atomically(path, text())


def _agreement(measured: "Measured", simulator: str) -> str:
    """Return what to tell of a simulation that equals the model."""
    bench = measured.result.bench
    built = "built before" if bench.build_cached else f"built in {bench.build_s:.0f} s"
    return (f"{simulator} ({built}, run {bench.run_s:.1f} s): the hardware's counters of all "
            f"{len(measured.layers)} layers equal the model; {measured.result.compared:,} values "
            "compared with the golden executor: 0 differences")


def _print(profile: "Profile") -> None:
    """Print the table of the layers, with the cycles that the hardware counted beside them."""
    from rich.table import Table
    from rich.text import Text

    from pyhw.cli.options import console
    from pyhw.profiler.account import CAUSES, total

    terminal = console()
    accounts = profile.layers
    measured = None if profile.measured is None else profile.measured.layers
    causes = [cause for cause in CAUSES if any(one.lane_cycles[cause] for one in accounts)]
    waits = any(one.counted.stall_port for one in accounts)
    bars = terminal.width >= ROOM

    def row(name: str, engine: str, cycles: int, counted: int, shares: dict[str, float],
            port: int) -> None:
        """Add a row, without the columns that would be empty in all of them."""
        percents = dict(zip(shares, _percents(shares), strict=True))
        table.add_row(name, engine, f"{cycles:,}", *[f"{counted:,}"] * (measured is not None),
                      *(percents[cause] for cause in causes),
                      *[f"{port:,}" if port else ""] * waits, *[_bar(shares, BAR)] * bars)

    table = Table(title=f"{profile.title}: lane-cycles of each layer in per cent")
    for name in ("layer", "engine"):
        table.add_column(name)
    for name in ("cycles", *["measured"] * (measured is not None), *causes,
                 *["port waits"] * waits):
        table.add_column(name, justify="right")
    if bars:
        table.add_column(Text(" ").join(_bar({cause: 1.0}, 1) for cause in causes))
    counted = [one.cycles for one in measured or [one.counted for one in accounts]]
    for one, found in zip(accounts, counted, strict=True):
        row(one.name, one.engine, one.counted.cycles, found,
            {cause: one.share(cause) for cause in CAUSES}, one.counted.stall_port)
    cycles = sum(one.counted.cycles for one in accounts)
    shares = {cause: value / cycles for cause, value in total(accounts).items()}
    table.add_section()
    row("all", "", cycles, sum(counted), shares, sum(one.counted.stall_port for one in accounts))
    terminal.print(table)


def _percents(shares: dict[str, float]) -> list[str]:
    """Return shares in per cent, rounded so that they add up to 100.0."""
    tenths = {cause: int(share * 1000) for cause, share in shares.items()}
    by_rest = sorted(shares, key=lambda cause: tenths[cause] - shares[cause] * 1000)
    for cause in by_rest[:1000 - sum(tenths.values())]:
        tenths[cause] += 1
    return [f"{tenths[cause] / 10:.1f}" if shares[cause] else "" for cause in shares]


def _bar(shares: dict[str, float], width: int) -> "Text":
    """Return a bar of shares that add up to 1: coloured, and letters where there is no colour."""
    from rich.text import Text

    from pyhw.profiler.picture import COLOURS

    bar, done, place = Text(), 0.0, 0
    for cause, share in shares.items():
        done += share
        end = round(done * width)
        bar.append(("#" if cause == "useful" else cause[0]) * (end - place),
                   style=f"black on {COLOURS[cause]}")
        place = end
    return bar

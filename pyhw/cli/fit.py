"""``pyhw fit``: an accelerator for a model and a device."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.errors import UserError

if TYPE_CHECKING:
    from pyhw.hdl.config import EngineConfig
    from pyhw.target.proposal import Proposal


def fit(
    graph: Annotated[
        Path | None, typer.Argument(help="Integer graph (.pyhw).", show_default="list devices")
    ] = None,
    device: Annotated[
        str, typer.Option(help="ecp5-85f, ice40-up5k ...: `pyhw fit` lists them.")
    ] = "ecp5-85f",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at once.", show_default="what fits best")
    ] = None,
    clock: Annotated[float, typer.Option(min=0.001, help="MHz, for the rates.")] = 100.0,
    objective: Annotated[
        str, typer.Option(help="throughput (most images a second) or area (fewest LUTs).")
    ] = "throughput",
    specialise: Annotated[
        bool,
        typer.Option("--specialise", help="Smaller control, for this model's instructions alone."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the best configuration (JSON).")
    ] = None,
) -> None:
    """Propose an accelerator for a model and a device.

    Thousands of shapes are ranked by a bound of their cycles; the best are compiled, and the exact
    cycle model orders them. Area is an estimate, block RAMs are counted as Yosys maps them.
    With --specialise what other models would need of control is left out, 2,000 LUTs and more:
    such an accelerator runs this model with any weights, others are refused when they are compiled.
    Without a model, list the devices.

    Examples:

      pyhw fit

      pyhw fit resnet20.pyhw --device ecp5-85f --out accelerator.json

      pyhw fit resnet20.pyhw --device ecp5-25f --specialise --out accelerator.json

      pyhw compile resnet20.pyhw --config accelerator.json --map
    """
    import pyhw
    from pyhw.cli.options import distinct
    from pyhw.cli.progress import bar
    from pyhw.families import find_device
    from pyhw.fitter.search import OBJECTIVES
    from pyhw.inputs import check_output, read_graph
    from pyhw.target import target_of

    if graph is None:
        if out is not None or specialise:
            option = "--specialise" if out is None else "--out"
            raise UserError(f"{option} needs a model to fit an accelerator for")
        _devices()
        return
    if not math.isfinite(clock):
        raise UserError(f"--clock must be a number of MHz, not {clock:g}")
    if objective not in OBJECTIVES:
        raise UserError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    find_device(device)
    distinct({"the graph": graph}, {"--out": out})
    if out is not None:
        check_output(out)
    network = read_graph(graph)
    with bar("ranking") as update:
        found = pyhw.fit(network, device, batch=batch, objective=objective, specialise=specialise,
                         progress=update)
    _print(found, clock * 1e6)
    parts = target_of(found.config).area(found.config)
    typer.echo("LUT4s of the first: "
               + ", ".join(f"{name} {luts:,.0f}" for name, luts in parts.items()))
    typer.echo(f"The first: {found.limit}.")
    if out is not None:
        pyhw.save(found, out)
        typer.echo(f"{out}: for {found.batch} image{'s' * (found.batch > 1)} at once "
                   f"(--batch {found.batch} of the commands that take it)")


def _devices() -> None:
    from rich.table import Table

    from pyhw.cli.options import console
    from pyhw.families import DEVICES

    table = Table()
    for name in ("device", "LUT4", "block RAMs", "single-port", "source"):
        table.add_column(name, justify="left" if name in ("device", "source") else "right")
    for one in DEVICES.values():
        table.add_row(one.name, f"{one.luts:,}", f"{one.block_rams:,}",
                      str(one.single_port_rams or ""), one.source)
    console().print(table)


def _print(found: "Proposal", clock_hz: float) -> None:
    from rich.table import Table

    from pyhw.cli.options import console
    from pyhw.hdl.engines.registry import engine_of

    table = Table(title=found.title)
    engines = sorted({name for one in found.candidates for name in one.config.engines})
    for column in ("groups", *(engine_of(name).title for name in engines), "post", "word",
                   "images", "cycles an image", "images/s", "LUT4", "block RAMs", "most cycles"):
        table.add_column(column, justify="right")
    for one in found.candidates:
        config = one.config
        table.add_row(
            str(config.groups), *(_shape(config.engines.get(name)) for name in engines),
            str(config.post.width),
            str(config.weights.load_bits), str(one.batch), f"{one.cycles / one.batch:,.0f}",
            f"{one.images_per_second(clock_hz):,.0f}", f"{one.luts:,}", str(one.block_rams),
            one.limit)
    console().print(table)
    typer.echo(f"images/s at {clock_hz / 1e6:g} MHz without input and output; engines are rows x "
               "lanes in each group; word: bits of a weight word")


def _shape(engine: "EngineConfig | None") -> str:
    return "" if engine is None else f"{engine.rows} x {engine.lanes}"

"""``pyhw compile``: an integer graph becomes a program."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import ConfigFile, DoubleBuffer, Preset, Set
from pyhw.errors import writing

if TYPE_CHECKING:
    from pyhw.target import Program


def compile(
    graph: Annotated[Path, typer.Argument(help="Integer graph (.pyhw).")],
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    batch: Annotated[int, typer.Option(min=1, help="Images to hold at once.")] = 8,
    double_buffer: DoubleBuffer = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Program to write.", show_default="GRAPH.pyhwprog"),
    ] = None,
    listing: Annotated[
        Path | None, typer.Option(help="Write the disassembly to this file as well.")
    ] = None,
    map_: Annotated[
        bool, typer.Option("--map", help="Show where every map lies, and all memories.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Whose block RAMs --map counts; `pyhw fit` lists them.")
    ] = "ecp5-85f",
) -> None:
    """Turn an integer graph into a program for a configuration.

    Prints the cycles that every layer will take, before any simulation. What does not fit or is
    not supported is refused: the layer, the reason, what to change.

    Examples:

      pyhw compile lenet5.pyhw --preset default --batch 8

      pyhw compile lenet5.pyhw --config accelerator.json --listing lenet5.txt

      pyhw compile resnet20.pyhw --preset resnet20_85f --batch 4 --map
    """
    import pyhw
    from pyhw.cli.options import distinct
    from pyhw.configure import choose_config
    from pyhw.families import find_device
    from pyhw.files import write_atomically
    from pyhw.inputs import check_output, read_graph

    path = out or graph.with_suffix(".pyhwprog")
    find_device(device)
    distinct({"the graph": graph, "--config": config}, {"--out": path, "--listing": listing})
    check_output(path, "program")
    if listing is not None:
        check_output(listing)
    chosen = choose_config(preset, config, set_ or ())
    program = pyhw.compile(read_graph(graph), chosen, batch=batch, double_buffer=double_buffer)
    if listing is not None:
        with writing(listing):
            write_atomically(listing, program.listing())
    pyhw.save(program, path)
    print_estimate(program)
    if map_:
        typer.echo(program.memory_map(device))
    typer.echo(f"{path}: {program.size:,} bytes, {program.batch} "
               f"image{'s' * (program.batch > 1)} at once")


def print_estimate(program: "Program") -> None:
    """Print the cycle table of a program."""
    from rich.table import Table

    from pyhw.cli.options import console

    table = Table(title=f"{program.name} on {program.config.name}, {program.batch} images")
    for name in ("layer", "engine"):
        table.add_column(name)
    for name in ("cycles", "weight stall", "store stall", "utilisation"):
        table.add_column(name, justify="right")
    for layer in program.layers:
        used = f"{layer.utilisation:.0%}" if layer.utilisation else ""
        table.add_row(layer.name, layer.engine, f"{layer.cycles:,}", f"{layer.stall_weights:,}",
                      f"{layer.stall_bank:,}", used)
    total = program.cycles
    table.add_section()
    table.add_row("all", "", f"{total:,}", "", "", "")
    console().print(table)
    rate = program.batch * 100e6 / total
    typer.echo(f"{total / program.batch:,.0f} cycles an image, {rate:,.0f} images a second at "
               "100 MHz without input and output")
    if program.notes():
        typer.echo(program.notes())

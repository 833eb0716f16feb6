"""Printing of memory maps, for ``pyhw compile --map`` and ``pyhw info --map``."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pyhw.compiler.program import Program
    from pyhw.hdl.config import Config


def print_map(program: "Program", config: "Config | None", device: str) -> None:
    """Print the scratchpad layer by layer, and, if the configuration is known, all memories."""
    from rich.table import Table

    from pyhw.cli.options import console
    from pyhw.families import find_device
    from pyhw.memory_map import memory_use, picture

    chosen = find_device(device)
    typer.echo(f"scratchpad of each group, {program.batch // program.groups} image(s) a group")
    for line in picture(program):
        typer.echo(line)
    if config is None:
        typer.echo("The configuration is none of the package's: give it with --config to see its "
                   "memories.")
        return
    table = Table(title=f"memories of {config.name} on {chosen.name}")
    table.add_column("memory")
    for name in ("how many", "words", "bits", "words used", "block RAMs"):
        table.add_column(name, justify="right")
    total = single = 0
    for one in memory_use(config, chosen, program):
        total += one.blocks
        used = "" if one.used is None else f"{one.used:,}"
        single += one.single_ports
        blocks = (f"{one.single_ports} single-port" if one.single_ports
                  else str(one.blocks) if one.blocks else "in LUTs")
        table.add_row(one.name, str(one.count), f"{one.depth:,}", str(one.width), used, blocks)
    table.add_section()
    left = chosen.block_rams - total
    table.add_row("all", "", "", "", "", f"{total} of {chosen.block_rams}")
    if single:
        table.add_row("single-port", "", "", "", "", f"{single} of {chosen.single_port_rams}")
    console().print(table)
    typer.echo(f"{left} block RAMs of {chosen.name} are left" if left >= 0 else
               f"{-left} block RAMs more than {chosen.name} has")

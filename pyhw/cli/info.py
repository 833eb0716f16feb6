"""``pyhw info``: what is in a checkpoint, graph or program file."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import ConfigFile
from pyhw.errors import UserError


def info(
    file: Annotated[Path, typer.Argument(help="Checkpoint, graph or program.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    ops: Annotated[
        bool,
        typer.Option("--ops", help="Operations, traffic and estimated energy, layer by layer."),
    ] = False,
    map_: Annotated[
        bool, typer.Option("--map", help="Of a program: where every map lies, and all memories.")
    ] = False,
    config: ConfigFile = None,
    device: Annotated[
        str, typer.Option(help="Whose block RAMs --map counts; `pyhw fit` lists them.")
    ] = "ecp5-85f",
) -> None:
    """Show what is in a checkpoint, graph or program file.

    Layers, operations by kind, sizes, and where it comes from. The file is recognised by its
    content, whatever its name.

    Examples:

      pyhw info lenet5.pt

      pyhw info lenet5.pyhw --json

      pyhw info lenet5.pyhw --ops

      pyhw info lenet5.pyhwprog --map
    """
    if map_:
        if ops or as_json:
            raise UserError("--map is printed alone; leave out --ops and --json")
        _map(file, config, device)
        return
    if ops:
        _operations(file, as_json)
        return
    import pyhw

    found = pyhw.info(file)
    if as_json:
        import json

        typer.echo(json.dumps(found.record, indent=2))
    else:
        typer.echo(found.text, nl=False)


def _map(file: Path, config: Path | None, device: str) -> None:
    from pyhw.configure import read_config
    from pyhw.inputs import expect
    from pyhw.target import read_program

    expect(file, "program")
    program = read_program(file, None if config is None else read_config(config))
    typer.echo(program.memory_map(device))


def _operations(file: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from pyhw.energy import ASSUMPTIONS, checkpoint_costs, costs_text, graph_costs
    from pyhw.inputs import recognise

    kind = recognise(file)
    if kind == "program":
        raise UserError(f"{file} is a program: count the operations of its graph")
    if kind == "checkpoint":
        from pyhw.tools import require_torch

        require_torch()
    costs = (checkpoint_costs if kind == "checkpoint" else graph_costs)(file)
    if as_json:
        import json

        layers = [
            asdict(cost) | {"compute_pj": cost.compute_pj, "movement_pj": cost.movement_pj}
            for cost in costs
        ]
        typer.echo(json.dumps({"layers": layers, "assumptions": ASSUMPTIONS}, indent=2))
    else:
        typer.echo(costs_text(costs), nl=False)

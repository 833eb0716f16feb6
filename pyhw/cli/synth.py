"""``pyhw synth``: the cells of an accelerator, or of one of its engines, on an FPGA family."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import ConfigFile, Preset, Set

if TYPE_CHECKING:
    from pyhw.synthesis.component import Synthesis


def synth(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    family: Annotated[str, typer.Option(help="FPGA family: ecp5, ice40, gowin ...")] = "ecp5",
    component: Annotated[
        str, typer.Option(help="What to synthesise: system, or an engine, as in l1-engine.")
    ] = "system",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file as well.")
    ] = None,
) -> None:
    """Count the cells of the accelerator on an FPGA family, with Yosys.

    LUT4 are counted as equivalents: on ECP5 a LUT4 is 1, a CCU2C 2 and a TRELLIS_DPR16X4 4; on
    iCE40 an SB_LUT4 is 1. The command fails if the design multiplies anywhere: a multiply, divide,
    modulo or power cell after elaboration, or a DSP block after synthesis. A design that was
    synthesised before is not synthesised again.

    Examples:
      pyhw synth --preset tiny --family ice40

      pyhw synth --component l1-engine --set l1.lanes=32 --json l1.json
    """
    import pyhw
    from pyhw.cli.progress import status
    from pyhw.configure import choose_config
    from pyhw.families import find_family
    from pyhw.files import write_atomically
    from pyhw.inputs import check_output
    from pyhw.synthesis.component import check_component

    find_family(family)
    check_component(component)
    if json_path is not None:
        check_output(json_path)
    chosen = choose_config(preset, config, set_ or ())
    with status() as show:
        found = pyhw.synth(chosen, family, component=component, check=False, progress=show)
    _print(found)
    if json_path is not None:
        write_atomically(json_path, json.dumps(found.to_dict(), indent=2) + "\n")
    found.report.require_no_dsp()


def _print(found: "Synthesis") -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(found.title)
    table = Table()
    table.add_column("")
    table.add_column("count", justify="right")
    for label, value in found.counts():
        table.add_row(label, value)
    table.add_section()
    for kind, number in found.report.cells.items():
        table.add_row(kind, f"{number:,}")
    Console().print(table)
    typer.echo(found.yosys)

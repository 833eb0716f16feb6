"""``pyhw synth``: the cells of an accelerator, or of one of its engines, on an FPGA family."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyhw.errors import UserError

if TYPE_CHECKING:
    from pyhw.hdl.config import Config, EngineConfig
    from pyhw.synthesis.report import SynthesisReport

def _components() -> dict[str, str | None]:
    """Return the parts that can be synthesised by themselves, each with its engine if it is one."""
    from pyhw.hdl.engines.registry import POOLING, known_engines

    engines = [name for name in known_engines() if name != POOLING]
    return {"system": None} | {f"{name}-engine": name for name in engines}


def synth(
    preset: Annotated[
        str | None, typer.Option(help="Preset: tiny, default or large.", show_default="default")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file, instead of a preset.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field: groups=4, l1.lanes=32, shift=none ..."),
    ] = None,
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
    from pyhw.configure import choose_config
    from pyhw.families import find_family
    from pyhw.files import write_atomically
    from pyhw.fitter.memories import in_blocks
    from pyhw.inputs import check_output
    from pyhw.synthesis.yosys import multiplier_free_check, synthesize, to_rtlil
    from pyhw.verilog import cached_verilog

    find_family(family)
    if component not in _components():
        raise UserError(f"component must be one of {', '.join(_components())}, not {component!r}")
    if json_path is not None:
        check_output(json_path)
    chosen = choose_config(preset, config, set_ or ())
    chosen = in_blocks(chosen, family)
    lanes = _lanes(chosen, component)
    with _Spinner() as show:
        show("elaborating")
        # From Verilog, because Yosys merges the two halves of a memory port there only.
        engine = _components()[component]
        design = (cached_verilog(chosen) if engine is None
                  else to_rtlil(_build(chosen, engine)))
        show("searching for multipliers")
        multiplier_free_check(design)
        show("starting Yosys (the first start takes a minute)")
        report = synthesize(design, "top", family, on_stage=show)
    _print(report, chosen, component, lanes)
    if json_path is not None:
        record = report.as_dict() | {
            "component": component,
            "config": chosen.name,
            "lanes": lanes,
            "lut4_per_lane": report.lut4_per_lane(lanes),
        }
        import json

        write_atomically(json_path, json.dumps(record, indent=2) + "\n")
    report.require_no_dsp()


def _build(config: "Config", engine: str) -> Any:
    from pyhw.hdl.engines.lone_engine import LoneEngine

    return LoneEngine(config, engine)


def _engines(config: "Config", component: str) -> "dict[str, EngineConfig]":
    """Return the engines whose lanes a component is counted in."""
    only = _components()[component]
    return {name: shape for name, shape in config.engines.items() if only in (None, name)}


def _lanes(config: "Config", component: str) -> int:
    """Return the lanes that a component has, over all its engines and groups."""
    engines = _engines(config, component).values()
    if not engines:
        raise UserError(f"the configuration has no {component.replace('-', ' ')}")
    return config.groups * sum(engine.rows * engine.lanes for engine in engines)


def _print(report: "SynthesisReport", config: "Config", component: str, lanes: int) -> None:
    from rich.console import Console
    from rich.table import Table

    shape = ", ".join(
        f"{name} {config.groups} x {engine.rows} x {engine.lanes}"
        for name, engine in _engines(config, component).items()
    )
    typer.echo(f"{component} of {config.name} on {report.family}: {shape}")
    table = Table()
    table.add_column("")
    table.add_column("count", justify="right")
    for label, value in (
        ("LUT4 equivalents", f"{report.lut4:,}"),
        (f"LUT4 per lane ({lanes:,} lanes)", f"{report.lut4_per_lane(lanes):.1f}"),
        ("flip-flops", f"{report.flip_flops:,}"),
        ("block RAMs", f"{report.block_rams:,}"),
        ("single-port RAMs", f"{report.single_port_rams:,}"),
        ("DSP blocks", f"{report.dsps:,}"),
    ):
        if label != "single-port RAMs" or report.single_port_rams:
            table.add_row(label, value)
    table.add_section()
    for kind, number in report.cells.items():
        table.add_row(kind, f"{number:,}")
    Console().print(table)
    source = "kept from an earlier run" if report.cached else "done"
    typer.echo(f"Yosys {report.yosys}, {report.seconds:.1f} s, {source}")


class _Spinner:
    """A line on the terminal with the stage and the time since the start; silent elsewhere."""

    def __enter__(self) -> Callable[[str], None]:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._progress.start()
        task = self._progress.add_task("", total=None)
        self._started = time.monotonic()
        return lambda stage: self._progress.update(task, description=stage)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

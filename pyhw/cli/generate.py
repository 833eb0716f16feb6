"""``pyhw generate``: Verilog and configuration of an accelerator."""

import time
from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.names import Interface
from pyhw.cli.options import ConfigFile, Initial, Preset, Set
from pyhw.errors import UserError


def generate(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Verilog file.", show_default="PRESET.v"),
    ] = None,
    interface: Annotated[
        Interface, typer.Option(help="What stands around the accelerator's two byte streams.")
    ] = Interface.BYTES,
    divisor: Annotated[
        int | None,
        typer.Option(min=4, help="Clock cycles of a bit of the serial line: clock / baud."),
    ] = None,
    program: Initial = None,
    fusesoc: Annotated[
        bool, typer.Option("--fusesoc", help="Write a FuseSoC core file beside the Verilog too.")
    ] = False,
    asic: Annotated[
        Path | None,
        typer.Option(help="New folder for silicon: memories behind a wrapper, SDC, LibreLane."),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(help="Clock period for --asic, nanoseconds.", show_default="20"),
    ] = None,
) -> None:
    """Write the accelerator as Verilog, with its configuration (JSON) beside it.

    Neither torch nor any FPGA tool is needed. The top module is `top`: clock, reset, a byte
    stream in and one out (docs/protocol.md describes what travels on them), or the same on a
    serial line, or in a system with AXI4-Stream for the bytes and AXI4-Lite for registers
    (docs/system.md).

    Examples:

      pyhw generate --preset tiny

      pyhw generate --set groups=4 --set l1.rows=16 -o wide.v

      pyhw generate --preset tiny --interface axi -o tiny_axi.v

      pyhw generate --preset tiny --fusesoc

      pyhw generate --preset tiny --asic tiny_asic --period 10

      pyhw generate --preset tiny --interface serial --divisor 50 -o tiny_serial.v

      pyhw generate --program net.pyhwprog --config accelerator.json -o net.v
    """
    import pyhw
    from pyhw.cli.options import distinct
    from pyhw.cli.progress import spinner
    from pyhw.configure import choose_config
    from pyhw.inputs import expect
    from pyhw.target import read_program

    if program is not None and asic is not None:
        raise UserError("--program: memories of silicon have no initial contents; leave out "
                        "--asic, or let the host load it")
    given = choose_config(preset, config, set_ or ())
    held = None
    if program is not None:
        expect(program, "program")
        held = read_program(program, given if preset or config or set_ else None)
        given = held.known()
    design = pyhw.generate(given, interface=interface, divisor=divisor, program=held)
    if asic is not None:
        if out is not None or fusesoc:
            raise UserError("--asic is a folder of its own: leave out --out and --fusesoc")
        with spinner("generating Verilog"):
            written = design.save_asic(asic, period_ns=20.0 if period is None else period)
        count = sum(written.memories.values())
        typer.echo(f"{asic}: {len(written.files)} files, {count} memories of {written.bits:,} "
                   "bits; README.md says what is what")
        return
    if period is not None:
        raise UserError("--period is for --asic")
    path = out or Path(f"{given.name}.v")
    beside, core = path.with_suffix(".json"), path.with_suffix(".core")
    distinct({"--config": config if set_ else None, "--program": program},
             {"--out": path, "the configuration": beside}
             | ({"the core file": core} if fusesoc else {}))
    started = time.monotonic()
    with spinner("generating Verilog"):
        design.save(path, fusesoc=fusesoc)
    typer.echo(f"{path}: {len(design.verilog.splitlines()):,} lines, "
               + ", ".join(f"{count:,} {name} lanes" for name, count in design.lanes.items())
               + f", {time.monotonic() - started:.1f} s")
    typer.echo(f"{beside}: configuration {given.hash.hex()}")
    if fusesoc:
        typer.echo(f"{core}: FuseSoC core")

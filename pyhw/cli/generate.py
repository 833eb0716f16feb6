"""``pyhw generate``: Verilog and configuration of an accelerator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.names import Interface
from pyhw.cli.options import ConfigFile, Initial, Preset, Set
from pyhw.errors import UserError, writing

if TYPE_CHECKING:
    from pyhw.hdl.config import Config


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
    import time

    from pyhw.cli.options import distinct
    from pyhw.cli.progress import spinner
    from pyhw.configure import choose_config
    from pyhw.contents import NOTHING, read_contents
    from pyhw.files import write_atomically
    from pyhw.fusesoc import check_core, core_file
    from pyhw.hdl.config_file import config_to_json
    from pyhw.inputs import check_output
    from pyhw.verilog import cached_verilog

    if (interface is Interface.SERIAL) != (divisor is not None):
        raise UserError("--interface serial needs --divisor, the clock cycles of a bit" if
                        divisor is None else "--divisor is for --interface serial")
    chosen, contents = choose_config(preset, config, set_ or ()), NOTHING
    if program is not None:
        if asic is not None:
            raise UserError("--program: memories of silicon have no initial contents; leave out "
                            "--asic, or let the host load it")
        chosen, contents = read_contents(program, chosen if preset or config or set_ else None)
    if asic is not None:
        if out is not None or fusesoc:
            raise UserError("--asic is a folder of its own: leave out --out and --fusesoc")
        _write_asic(chosen, asic, interface, divisor, 20.0 if period is None else period)
        return
    if period is not None:
        raise UserError("--period is for --asic")
    path = out or Path(f"{chosen.name}.v")
    beside, core = path.with_suffix(".json"), path.with_suffix(".core")
    distinct({"--config": config if set_ else None, "--program": program},
             {"--out": path, "the configuration": beside}
             | ({"the core file": core} if fusesoc else {}))
    check_output(path)
    check_output(beside)
    _only_over_a_configuration(beside)
    if fusesoc:
        check_output(core)
        check_core(core, path)
    started = time.monotonic()
    with spinner("generating Verilog"):
        text = cached_verilog(chosen, divisor, interface, contents=contents)
    with writing(path):
        write_atomically(path, text)
    with writing(beside):
        write_atomically(beside, config_to_json(chosen))
    if fusesoc:
        with writing(core):
            write_atomically(core, core_file(path.name))
    lanes = {name: chosen.groups * e.rows * e.lanes for name, e in chosen.engines.items()}
    typer.echo(f"{path}: {len(text.splitlines()):,} lines, "
               + ", ".join(f"{count:,} {name} lanes" for name, count in lanes.items())
               + f", {time.monotonic() - started:.1f} s")
    typer.echo(f"{beside}: configuration {chosen.hash.hex()}")
    if fusesoc:
        typer.echo(f"{core}: FuseSoC core")


def _write_asic(config: "Config", folder: Path, interface: str, divisor: int | None,
                period_ns: float) -> None:
    from pyhw.asic import write_asic
    from pyhw.cli.progress import spinner

    with spinner("generating Verilog"):
        written = write_asic(config, folder, interface=interface, divisor=divisor,
                             period_ns=period_ns)
    count = sum(written.memories.values())
    typer.echo(f"{folder}: {len(written.files)} files, {count} memories of {written.bits:,} bits; "
               "README.md says what is what")


def _only_over_a_configuration(path: Path) -> None:
    """Refuse to overwrite a file that the user did not name and pyhw did not write."""
    from pyhw.configure import read_config

    if path.exists():
        try:
            read_config(path)
        except UserError:
            raise UserError(f"{path} is there already and is no configuration of this pyhw: move "
                            "it, or choose another --out") from None

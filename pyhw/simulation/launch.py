"""Start a cocotb bench on a design and read its result.

The benches live in the ``sim`` package, which pyhw never imports: cocotb runs inside the simulator,
so a bench is a program of its own, started with a JSON job file and answering with a JSON result.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyhw
from pyhw.cache import cache_dir
from pyhw.errors import MissingTool, UserError, from_extra
from pyhw.tools import Tool, find_iverilog, find_verilator, package_version

SIMULATORS = ("verilator", "icarus")
_EVENT_PREFIX = "@pyhw "  # as in pyhw.sim.job, which must not be imported here

#: Called with each event of a run: a dictionary with ``stage`` (``build`` or ``run``) and, while
#: running, ``done``, ``total`` and ``unit``.
ProgressCallback = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What came of running a bench."""

    passed: bool
    simulator: str
    version: str
    build_s: float
    #: Whether the simulator had been built before from the same Verilog.
    build_cached: bool
    run_s: float
    #: What the bench reported.
    report: dict[str, Any] = field(default_factory=dict)
    #: One line for each failed test: its name and its message.
    failures: tuple[str, ...] = ()
    #: Everything the simulator and the bench printed; gone after a pass in a temporary folder.
    log: Path


def find_simulator(name: str) -> Tool:
    """Find a simulator and cocotb.

    Parameters
    ----------
    name : {"verilator", "icarus"}
        Which one.

    Raises
    ------
    MissingTool
        If the simulator, what it needs, or cocotb is not installed.
    """
    if name not in SIMULATORS:
        raise UserError(f"simulator must be one of {', '.join(SIMULATORS)}, not {name!r}")
    if package_version("cocotb") is None:
        raise MissingTool("cocotb", from_extra("sim"))
    return find_verilator() if name == "verilator" else find_iverilog()


def run_bench(
    *,
    verilog: str,
    bench: str,
    top: str = "top",
    testcase: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    simulator: str = "verilator",
    seed: int = 0,
    visible: str = "ports",
    waves: bool = False,
    work_dir: Path | None = None,
    timeout_s: float | None = None,
    on_progress: ProgressCallback | None = None,
) -> BenchResult:
    """Build a simulator for a design, or take it from the cache, and run a bench on it.

    Parameters
    ----------
    verilog : str
        Text of the design.
    bench : str
        Module with the cocotb tests, such as ``"pyhw.sim.tb_stream_echo"``.
    top : str
        Name of the top module.
    testcase : str, optional
        Name of the one test to run; all tests of the module by default.
    parameters : mapping, optional
        JSON values for the bench, which reads them with ``pyhw.sim.job.parameters()``. Large data
        goes into files named here.
    simulator : {"verilator", "icarus"}
        Which one to build and run.
    seed : int
        Seed of the bench's random choices.
    visible : {"ports", "all"}
        What the bench can look at with Verilator; ``"all"`` signals simulates much slower.
    waves : bool
        Whether to record ``dump.vcd`` in the work folder (Verilator).
    work_dir : Path, optional
        Folder for the logs; a temporary one by default, kept only when the bench fails.
    timeout_s : float, optional
        Time after which build and run are ended.
    on_progress : callable, optional
        Called with each event.

    Returns
    -------
    BenchResult

    Raises
    ------
    MissingTool
        If the simulator is not installed.
    UserError
        If the build fails, the simulator dies or the time is over; the line names the log.
    """
    tool = find_simulator(simulator)
    temporary = work_dir is None
    folder = Path(tempfile.mkdtemp(prefix="pyhw-sim-")) if work_dir is None else work_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("result.json", "build.log"):
        (folder / stale).unlink(missing_ok=True)
    (folder / "design.v").write_text(verilog, encoding="utf-8")
    job = {
        "verilog": str(folder / "design.v"),
        "top": top,
        "bench": bench,
        "testcase": testcase,
        "parameters": dict(parameters or {}),
        "simulator": {
            "name": simulator,
            "command": list(tool.command),
            "version": tool.version,
            "env": tool.env,
            "make_variables": tool.make_variables,
        },
        "visible": visible,
        "waves": waves,
        "seed": seed,
        "cache_dir": str(cache_dir("simulators")),
        "work_dir": str(folder),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    log = folder / "simulation.log"
    try:
        status = _run_job(folder / "job.json", log, timeout_s, on_progress)
    except KeyboardInterrupt:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    result = _read_result(folder / "result.json", status, log)
    if result.passed and temporary:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _run_job(
    job: Path, log: Path, timeout_s: float | None, on_progress: ProgressCallback | None
) -> int:
    """Run the runner to its end, with its output in the log and its events handed on."""
    # The folder that holds this package also holds `sim`, in a checkout and when installed.
    paths = [str(Path(pyhw.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyhw.sim.runner", str(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # What a compiler leaves when it is interrupted lies in the folder that is removed then.
        env={**os.environ, "TMPDIR": str(job.parent),
             "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        start_new_session=True,  # so that the simulator it starts can be ended with it
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(timeout_s, end) if timeout_s is not None else None
    try:
        if timer is not None:
            timer.start()
        assert process.stdout is not None
        with log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                if not line.startswith(_EVENT_PREFIX):
                    file.write(line)
                elif on_progress is not None:
                    on_progress(json.loads(line.removeprefix(_EVENT_PREFIX)))
        status = process.wait()
    finally:
        if timer is not None:
            timer.cancel()
        _end(process)
        process.communicate()  # waits for its end and closes the pipe
    if late.is_set():
        raise UserError(
            f"the simulation was ended after {timeout_s:g} seconds; its output is in {log}"
        )
    return status


def _end(process: subprocess.Popen[str]) -> None:
    """End the runner and what it started; harmless when all of it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)


def _read_result(path: Path, status: int, log: Path) -> BenchResult:
    if not path.is_file():
        raise UserError(f"the simulation ended with status {status}; its output is in {log}")
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["error"]:
        raise UserError(f"simulation with {result['simulator']}: {result['error']}; see {log}")
    return BenchResult(
        passed=result["passed"],
        simulator=result["simulator"],
        version=result["version"],
        build_s=result["build"]["seconds"],
        build_cached=result["build"]["cached"],
        run_s=result["run"]["seconds"],
        report=result["report"],
        failures=tuple(
            f"{test['name']}: {test['message']}" for test in result["tests"] if not test["passed"]
        ),
        log=log,
    )

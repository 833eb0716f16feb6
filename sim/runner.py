"""Build a simulator, run a cocotb bench on it, write the result: ``python -m pyhw.sim.runner JOB``.

The job is a JSON file with these members, all present:

========== =====================================================================================
verilog    path of the design
top        name of its top module
bench      Python module with the cocotb tests, such as ``pyhw.sim.tb_stream_echo``
testcase   name of the one test to run, or null for all of them
parameters object for the bench, see `pyhw.sim.job.parameters`
simulator  object: name (``verilator`` or ``icarus``), command, version, env, make_variables
visible    ``ports`` (fast) or ``all`` signals of the design, for the bench to look at
waves      whether to record waveforms (Verilator; a VCD file in the work folder)
seed       seed of the bench's random choices
cache_dir  folder of built simulators
work_dir   folder for logs and for ``result.json``
========== =====================================================================================

Progress goes to standard output as lines that begin with ``@pyhw``. The exit status is 0 when a
result was written, whether the bench passed or not.
"""

import os
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cocotb_tools.runner import get_runner

from pyhw.sim import job as protocol
from pyhw.sim.build import Build, BuildError, build


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Build and run one job.

    Returns
    -------
    dict
        The result: ``passed``, ``error`` (a line, or null), ``tests`` (name, passed and message of
        each), ``report`` (what the bench reported), ``build`` and ``run`` (seconds).
    """
    try:
        built = build(job)
    except BuildError as error:
        return _result(job, error=str(error))
    work_dir = Path(job["work_dir"])
    parameters, report = work_dir / "parameters.json", work_dir / "report.json"
    protocol.write_json(parameters, job["parameters"])
    report.unlink(missing_ok=True)
    results = work_dir / "results.xml"
    results.unlink(missing_ok=True)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # cocotb's runner changes its ways when it is set
    protocol.emit("run", simulator=job["simulator"]["name"], done=0, total=0, unit="")
    started = time.monotonic()
    status: int | str | None = 0
    try:
        get_runner(job["simulator"]["name"]).test(
            test_module=job["bench"],
            testcase=job["testcase"],
            hdl_toplevel=job["top"],
            hdl_toplevel_lang="verilog",
            build_dir=built.directory,
            test_dir=work_dir,
            results_xml=str(results),
            seed=job["seed"],
            waves=job["waves"],
            extra_env={
                protocol.PARAMETERS_VARIABLE: str(parameters),
                protocol.REPORT_VARIABLE: str(report),
            },
        )
    except SystemExit as stop:
        status = stop.code
    seconds = time.monotonic() - started
    tests = _tests(results)
    error = None
    if not tests:
        error = f"the simulator stopped with status {status} before any test ended"
    return _result(
        job,
        error=error,
        tests=tests,
        report=protocol.read_json(report) if report.exists() else {},
        built=built,
        seconds=seconds,
    )


def _result(
    job: Mapping[str, Any],
    *,
    error: str | None,
    tests: list[dict[str, Any]] | None = None,
    report: dict[str, Any] | None = None,
    built: Build | None = None,
    seconds: float = 0.0,
) -> dict[str, Any]:
    return {
        "passed": error is None and bool(tests) and all(test["passed"] for test in tests or []),
        "error": error,
        "simulator": job["simulator"]["name"],
        "version": job["simulator"]["version"],
        "tests": tests or [],
        "report": report or {},
        "build": {
            "seconds": built.seconds if built else 0.0,
            "cached": bool(built and built.cached),
        },
        "run": {"seconds": seconds},
    }


def _tests(results: Path) -> list[dict[str, Any]]:
    """Read cocotb's results: every test that ran, with the message of a failed one."""
    if not results.exists():
        return []
    tests = []
    for case in ElementTree.parse(results).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = [mark for mark in case if mark.tag in ("failure", "error")]
        message = "; ".join(mark.get("error_msg") or mark.get("message") or "" for mark in bad)
        tests.append({"name": case.get("name"), "passed": not bad, "message": message})
    return tests


def _end_with_parent() -> None:
    """End this process group when the program that started it is gone, however it went."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(os.getpgrp(), signal.SIGTERM)

    # Only as the leader of a group of its own, as `pyhw.simulation.launch` starts it.
    if os.getpgrp() == os.getpid():
        threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Run the job file named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m pyhw.sim.runner JOB.json", file=sys.stderr)
        return 2
    _end_with_parent()
    job = protocol.read_json(Path(arguments[0]))
    protocol.write_json(Path(job["work_dir"]) / "result.json", run(job))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

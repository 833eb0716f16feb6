"""What a bench is asked to do and how it answers.

The runner hands a bench its parameters in a JSON file and takes its answer from another; benches
use only these functions and never read the environment themselves.
"""

import functools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyhw.extensions import extend_from_environment

#: Begins a line of standard output that is an event for the program that started the runner.
EVENT_PREFIX = "@pyhw "
#: Environment variables between the runner and the bench.
PARAMETERS_VARIABLE = "PYHW_BENCH_PARAMETERS"
REPORT_VARIABLE = "PYHW_BENCH_REPORT"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object to a temporary name and rename it, so that no reader sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(temporary, path)


def emit(stage: str, **details: Any) -> None:
    """Tell the program that started the runner how far the work is."""
    print(EVENT_PREFIX + json.dumps({"stage": stage, **details}), flush=True, file=sys.stdout)


@functools.cache
def parameters() -> dict[str, Any]:
    """Return the parameters this bench was started with, after loading the user's extensions.

    What they add, engines among them, stands in configurations and programs.
    """
    extend_from_environment()
    return read_json(Path(os.environ[PARAMETERS_VARIABLE]))


def progress(done: int, total: int, unit: str) -> None:
    """Report that ``done`` of ``total`` are finished; ``unit`` says of what, in the plural."""
    emit("run", done=done, total=total, unit=unit)


def report(**values: Any) -> None:
    """Add values to the answer of this bench; what was reported before a failure is kept."""
    path = Path(os.environ[REPORT_VARIABLE])
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, **values})

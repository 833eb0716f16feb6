"""Verilator's lint of the generated Verilog: what it may say, and why."""

import re
import subprocess

import pytest

from pyhw.tools import find_verilator
from pyhw.verilog import generate_verilog
from tests.hdl.top.test_serial_accelerator import CONFIG

WAIVED = {
    "UNUSEDSIGNAL": "records have a wire for each field, so that people find them in waveforms",
    "PROCASSINIT": "registers have initial values as well as a reset: FPGAs start from them",
    "WIDTHEXPAND": "operands are as wide as they are: Verilog extends them as Yosys means it",
    "WIDTHTRUNC": "`!` of a vector is a comparison with 0",
    "CASEINCOMPLETE": "every signal is given its default before a case",
    "INITIALDLY": "makes processes without changing inputs run once, in Icarus after all is set",
    "DECLFILENAME": "users choose the names of files and modules",
}
"""Rules whose warnings are no faults here, and why."""


@pytest.fixture(scope="module")
def design():
    return generate_verilog(CONFIG)


def test_lint_says_what_is_waived_and_nothing_else(design, verilator, tmp_path):
    tool = find_verilator()
    (tmp_path / "design.v").write_text(design)
    done = subprocess.run(
        [*tool.command, "--lint-only", "-Wall", "--top-module", "top", "design.v"],
        cwd=tmp_path, env=tool.environment(), capture_output=True, text=True, check=False)
    said = re.findall(r"^%(?:Warning|Error)-(\w+): (.*)", done.stderr, re.M)
    assert [line for rule, line in said if rule not in WAIVED] == []
    assert {rule for rule, _ in said} == set(WAIVED)


def test_no_signal_has_no_bits(design):
    assert re.findall(r"^.*\[-1:0\].*$", design, re.M) == []

"""FuseSoC takes the core file: its lint passes, and names that it cannot have are refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyhw.cli import main as cli
from pyhw.hdl.config_file import config_to_json
from pyhw.tools import find_verilator
from tests.pyhw.cli.test_input import FEW_LANES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.json").write_text(config_to_json(FEW_LANES))
    return tmp_path


@pytest.mark.parametrize("interface", ["bytes", "axi"])
def test_fusesoc_lints_the_core(folder, verilator, interface):
    pytest.importorskip("fusesoc")
    assert cli.main(["generate", "--config", "few.json", "--interface", interface, "--fusesoc",
                     "--out", "acc.v"]) == 0
    tool = find_verilator()
    path = os.pathsep.join([str(Path(tool.command[0]).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", "from fusesoc.main import main; main()", "--cores-root", ".",
         "run", "--target", "lint", "pyhw::acc"], cwd=folder, capture_output=True, text=True,
        env={**tool.environment(), "PATH": path, "HOME": str(folder)}, check=False, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert "verilator -f" in done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr


def test_a_core_file_is_written_over_its_own_only(folder, capsys):
    assert cli.main(["generate", "--preset", "tiny", "--fusesoc"]) == 0
    assert cli.main(["generate", "--preset", "tiny", "--fusesoc"]) == 0
    Path("tiny.core").write_text("CAPI=2:\nname: ::mine:0\n")
    capsys.readouterr()
    assert cli.main(["generate", "--preset", "tiny", "--fusesoc"]) != 0
    assert "tiny.core is there already and was not written by pyhw" in capsys.readouterr().err
    assert "mine" in Path("tiny.core").read_text()


def test_a_name_that_a_core_file_cannot_have_is_refused(folder, capsys):
    assert cli.main(["generate", "--preset", "tiny", "--fusesoc", "--out", "a b.v"]) != 0
    assert "must have only letters" in capsys.readouterr().err
    assert not Path("a b.v").exists()

"""What is given away: the source distribution is the repository, the wheel works without it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pyhw.graph.file import save
from pyhw.hdl.config_file import config_to_json
from tests.pyhw.cli.test_input import FEW_LANES, small_graph, small_images
from tests.support import ROOT

WALK = """
import sys
import pyhw
from pyhw.cli.main import main
assert pyhw.__file__.startswith(sys.argv[1]), pyhw.__file__
for command in sys.stdin.read().splitlines():
    assert main(command.split()) == 0, command
graph = pyhw.load("net.pyhw")
config = pyhw.load("few.json")
program = pyhw.compile(graph, config, batch=1)
assert program.cycles == pyhw.load("net.pyhwprog", config=config).cycles
assert pyhw.preset("lenet5_85f").name == "lenet5_85f"
"""
COMMANDS = """example lenet1-adder-mnist --out lenet1.pyhw
info lenet1.pyhw
info lenet1.pyhw --ops
compile net.pyhw --config few.json --batch 1 --out net.pyhwprog
generate --config few.json --out few.v --fusesoc
generate --config few.json --asic silicon
profile net.pyhw --config few.json --picture net.svg
"""


def backend(folder: Path, call: str) -> Path:
    """Call setuptools in a folder and return the file that it made."""
    done = subprocess.run(
        [sys.executable, "-c", f"import setuptools.build_meta as b; print(b.{call}('.'))"],
        cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Make a source distribution of the working tree and return it unpacked."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("source")
    skipped = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=skipped)
    with tarfile.open(backend(folder / "tree", "build_sdist")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "pyhw_nn-0.1.0"


@pytest.fixture(scope="module")
def installed(source):
    """Return a folder with the wheel that a source distribution gives, unpacked."""
    folder = source / "installed"
    with zipfile.ZipFile(backend(source, "build_wheel")) as wheel:
        wheel.extractall(folder)
    return folder


def run(installed, folder, *arguments, **options):
    """Run Python in a folder with the wheel's package in front of any other."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}, **options)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_the_source_distribution_holds_the_repository(source):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True,
                            check=False)
    if listed.returncode:
        pytest.skip("the repository is no checkout of git")
    wanted = {name for name in listed.stdout.split("\0")
              if name and not name.startswith(".") and (ROOT / name).is_file()}
    assert sorted(wanted - files(source)) == []


def test_the_wheel_holds_one_package_with_all_of_its_files(installed):
    assert {path.name for path in installed.iterdir()} == {"pyhw", "pyhw_nn-0.1.0.dist-info"}
    # The links in the repository's package are followed.
    wanted = {f"pyhw/{name}" for name in files(ROOT / "pyhw")}
    wanted |= {f"pyhw/{part}/{name}" for part in ("hdl", "sim") for name in files(ROOT / part)}
    assert sorted(wanted - files(installed)) == []


def test_the_walk_runs_in_the_wheel(installed, tmp_path):
    save(small_graph(), tmp_path / "net.pyhw")
    (tmp_path / "few.json").write_text(config_to_json(FEW_LANES))
    done = run(installed, tmp_path, "-c", WALK, str(installed), input=COMMANDS)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert {"few.v", "few.core", "net.svg", "silicon/pyhw_ram.v", "silicon/lint.vlt"} <= files(
        tmp_path)


def test_a_simulation_runs_in_the_wheel(installed, tmp_path, icarus):
    save(small_graph(), tmp_path / "net.pyhw")
    (tmp_path / "few.json").write_text(config_to_json(FEW_LANES))
    np.save(tmp_path / "images.npy", small_images(1))
    done = run(installed, tmp_path, "-m", "pyhw", "simulate", "net.pyhw", "--config", "few.json",
               "--batch", "1", "--data", "images.npy", "--images", "1", "--simulator", icarus)
    assert done.returncode == 0, done.stderr
    assert "compared with the golden executor: 0 differences" in done.stdout


def test_an_extra_is_named_as_this_installation_can_get_it(installed, tmp_path):
    code = "from pyhw.errors import from_extra; print(from_extra('sim'))"
    assert run(installed, tmp_path, "-c", code).stdout == "pip install 'pyhw-nn[sim]'\n"
    assert run(ROOT, tmp_path, "-c", code).stdout == "pip install '.[sim]' in pyhw's folder\n"

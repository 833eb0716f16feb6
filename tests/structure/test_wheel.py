"""The wheel holds the one package, gateware, benches and data with it, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support import ROOT


def test_the_wheel_holds_one_package_with_all_its_data(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "source"
    skipped = shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", "__pycache__", ".*")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=skipped)
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools.build_meta as b; print(b.build_wheel('.'))"],
        cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(copy / done.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"pyhw", "pyhw_nn-0.1.0.dist-info"}
    expected = {
        f"pyhw/{path.relative_to(ROOT / 'pyhw').as_posix()}"
        for folder in ("models", "presets", "nn", "synthesis/cells", "asic")
        for path in (ROOT / "pyhw" / folder).iterdir()
        if path.is_file() and path.suffix != ".pyc"
    } | {"pyhw/py.typed", "pyhw/hdl/config.py", "pyhw/sim/runner.py"}
    assert expected - names == set()

"""A test that is skipped for a missing tool fails in continuous integration, and only there."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

SKIPS = {
    "fixture": "def test_it(verilator): pass",
    "module": "import pytest\npytest.importorskip('no_such_package')\ndef test_it(): pass",
}


def run(tmp_path, source, ci):
    path = tmp_path / "test_skipping.py"
    path.write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", os.devnull, str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PATH": "/nonexistent",
            "PYTHONPATH": str(ROOT),
            "PYHW_CI": "1" if ci else "",
            "HOME": str(tmp_path),
        },
    )


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_skip_fails_in_continuous_integration(tmp_path, source):
    done = run(tmp_path, source, ci=True)
    assert done.returncode != 0
    assert "skipped in continuous integration" in done.stdout


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_skip_is_a_skip_elsewhere(tmp_path, source):
    done = run(tmp_path, source, ci=False)
    assert done.returncode in (0, 5)  # 5: nothing but skipped modules
    assert "1 skipped" in done.stdout

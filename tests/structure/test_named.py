"""Every module of the gateware is named by a test of it."""

import ast

import pytest

from tests.support import ROOT


def names(path):
    """Return the full names that a test file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.fixture(scope="module")
def named():
    tests = (ROOT / "tests").rglob("test_*.py")
    return set().union(*map(names, tests))


@pytest.mark.parametrize(
    "path", sorted(path for path in (ROOT / "hdl").rglob("*.py") if path.stem != "__init__"),
    ids=lambda path: ".".join(path.relative_to(ROOT).with_suffix("").parts))
def test_a_test_names_the_module(path, named):
    module = ".".join(("pyhw", *path.relative_to(ROOT).with_suffix("").parts))
    assert module in named, f"no test imports {module}"

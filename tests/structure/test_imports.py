"""Which package may import which, read from the source: the folders keep their promises."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

#: `timing` states the latencies of the gateware as plain numbers, for the cycle model.
DEFINITIONS = (*(f"pyhw.hdl.{path.stem}" for path in sorted((ROOT / "hdl").glob("[a-z]*.py"))),
               "pyhw.hdl.engines.registry")
#: Files of pyhw that make Verilog, and so may import the gateware.
GENERATORS = ("pyhw/synthesis/component.py", "pyhw/verilog.py", "pyhw/asic")
#: Parts of pyhw that a bench may use: the golden model and what it stands on.
GOLDEN = ("pyhw.graph", "pyhw.compiler", "pyhw.host", "pyhw.errors", "pyhw.extensions")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_parts(path: Path) -> tuple[str, ...]:
    """Return the parts of a file's module name; `pyhw` holds links to `hdl` and `sim`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ("pyhw", *parts) if parts[0] in ("hdl", "sim") else parts


def imported(path: Path) -> set[str]:
    """Return the full names of all modules a file imports, wherever in it."""
    package = list(module_parts(path)[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def foreign(path: Path, allowed: tuple[str, ...]) -> list[str]:
    """Return the imports of a file that are neither allowed nor of the standard library."""
    return sorted(
        name
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names and not within(name, allowed)
    )


@pytest.mark.parametrize("path", sources("hdl"), ids=lambda path: path.stem)
def test_gateware_imports_amaranth_and_gateware_only(path):
    assert foreign(path, ("amaranth", "pyhw.hdl")) == []


@pytest.mark.parametrize("path", sources("sim"), ids=lambda path: path.stem)
def test_benches_import_cocotb_definitions_and_golden_model_only(path):
    allowed = ("cocotb", "cocotb_tools", "cocotbext", "numpy", "pyhw.sim", *DEFINITIONS, *GOLDEN)
    assert foreign(path, allowed) == []


@pytest.mark.parametrize(
    "path", sources("pyhw"), ids=lambda path: str(path.relative_to(ROOT / "pyhw"))
)
def test_host_side_imports_no_bench_and_gateware_only_to_generate(path):
    relative = str(path.relative_to(ROOT))
    names = imported(path)
    assert [name for name in names if within(name, ("pyhw.sim", "cocotb", "tests"))] == []
    if not relative.startswith(GENERATORS):
        assert [n for n in names if within(n, ("pyhw.hdl",)) and not within(n, DEFINITIONS)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "hdl").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_definitions_import_amaranth_and_each_other_only(path):
    assert foreign(path, ("amaranth", *DEFINITIONS)) == []


def test_names_of_gateware_generators_are_not_stale():
    assert [name for name in GENERATORS if not (ROOT / name).exists()] == []


def test_imported_finds_relative_and_nested_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "hdl" / "sub" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text("from ..isa import Op\nfrom . import y\ndef f():\n    import pyhw.graph\n")
    assert imported(path) == {"pyhw.hdl.isa.Op", "pyhw.hdl.sub.y", "pyhw.graph"}

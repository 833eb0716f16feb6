"""The counts of `bench.structure` find what they say, and nothing else."""

from pathlib import Path

import pytest

from bench.structure import names, shape
from bench.structure.__main__ import Row, table
from bench.structure.source import Source


def source(text: str, name: str = "pyhw/compiler/x.py") -> Source:
    module = name.removesuffix(".py").replace("/", ".")
    return Source(Path(name), name, module, text)


@pytest.mark.parametrize("text", [
    "x = config.engines['l1']", "x = L1Engine()", "y = f(lone_l1)", "if e is Engine.L1: pass",
    "from pyhw.engines import l1", "name = 'l1-engine'"])
def test_names_of_the_l1_engine_are_found(text):
    assert names.names_l1(source(text))


@pytest.mark.parametrize("text", [
    "if op.term == 'shift': pass", "x = config.shift", "x = Engine.SHIFT", "f(term='shift')",
    "for name in ('l1', 'shift'): pass", "config.engines.get('shift')", "x = engines['shift']",
    "from pyhw.hdl.engines.shift import ShiftEngine", "x = {'l1': 1, 'shift': 2}"])
def test_names_of_the_shift_engine_are_found(text):
    assert names.names_shift(source(text))


@pytest.mark.parametrize("text", [
    "x = step.shift", "record.get('shift', 0)", "def f(shift): return shift << 1",
    "field = ('shift', 5, 'S')", "x = nn.shift.ShiftConv2d()", "'''The shift engine.'''"])
def test_the_ordinary_word_shift_is_no_engine(text):
    assert not names.names_shift(source(text))


def test_text_for_people_names_no_engine():
    assert not names.names_l1(source("print('the L1 engine has 4 lanes')"))


def test_an_option_counts_as_a_field_of_a_configuration_only():
    named = names.OPTIONS["depthwise unit"]
    assert names.stands_in(source("x = self._config.depthwise.columns"), *named)
    assert not names.stands_in(source("x = token.depthwise"), *named)


def test_circles_are_found_and_types_for_the_checker_are_not_imports():
    modules = {"pyhw.a", "pyhw.b", "pyhw.c"}
    texts = {
        "pyhw.a": "from . import b\n", "pyhw.b": "def f():\n    from pyhw.a import x\n",
        "pyhw.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pyhw.a\n"}
    graph = {name: shape.imports(source(text, f"{name.replace('.', '/')}.py"), modules)
             for name, text in texts.items()}
    assert graph == {"pyhw.a": {"pyhw.b"}, "pyhw.b": {"pyhw.a"}, "pyhw.c": set()}
    assert shape.circles(graph) == [["pyhw.a", "pyhw.b"]]


def test_type_tests_count_outside_the_modules_of_operations():
    text = "isinstance(op, (Conv, Pool))\nisinstance(x, int)\nmatch op:\n    case Conv(): pass\n"
    assert names.type_tests(source(text), {"Conv", "Pool"}) == 2
    assert names.type_tests(source(text, "pyhw/graph/ops/conv.py"), {"Conv", "Pool"}) == 0


def test_a_row_over_its_limit_is_marked():
    rows = [Row("files", 9, 8), Row("bits", 1185)]
    assert [row.broken for row in rows] == [True, False]
    assert "| files | 9 ! | 8 |" in table(rows, None)

"""Families: found by name, told apart nowhere else, and refused when they clash."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import pyhw
from pyhw.boards import BOARDS
from pyhw.errors import UserError
from pyhw.families import DEVICES, FAMILIES, find_device, find_family, register
from pyhw.families.family import LUTS, MULTIPLIERS

ROOT = Path(pyhw.__file__).parents[1]


def test_every_module_of_a_family_is_registered():
    folder = ROOT / "pyhw" / "families"
    modules = {path.stem for path in folder.glob("*.py")}
    assert set(FAMILIES) == modules - {"__init__", "family", "pll", "registry"}
    assert {device.family for device in DEVICES.values()} == set(FAMILIES)
    assert {board.family.name for board in BOARDS.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_other_module_asks_for_a_family_by_name(name):
    """A family's name may stand in its own module, in boards, and in help and documentation."""
    asked = re.compile(rf"""(?:==|!=|\bin\b|\bfamily=|\{{)\s*\(?\s*["']{name}["']""")
    found = [str(path) for folder in ("pyhw", "hdl", "sim")
             for path in (ROOT / folder).rglob("*.py")
             if path.relative_to(ROOT).parts[:2] != ("pyhw", "families")
             and asked.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"family must be one of ecp5, .*, not 'virtex'"):
        find_family("virtex")
    with pytest.raises(UserError, match=r"device must be one of ecp5-12f, .*, not 'x'"):
        find_device("x")


@pytest.mark.parametrize(("change", "said"), [
    ({}, "Family 'ecp5' is taken"),
    ({"name": "other"}, "Device 'ecp5-12f' is taken"),
    ({"name": "other", "devices": (replace(DEVICES["ecp5-12f"], name="x1"),)},
     "device x1 must be of family other, not ecp5"),
])
def test_a_family_that_clashes_is_refused(change, said):
    before = dict(FAMILIES), dict(DEVICES)
    with pytest.raises(UserError, match=said):
        register(replace(FAMILIES["ecp5"], **change))
    assert before == (FAMILIES, DEVICES)


@pytest.mark.parametrize(("family", "kind", "taken"), [
    ("ecp5", "MULT18X18D", (MULTIPLIERS, 1)), ("gowin", "ALU", (LUTS, 1)),
    ("gowin", "ALU54D", (MULTIPLIERS, 1)), ("gowin", "SPX9", ("block RAMs", 1)),
    ("ice40", "SB_RAM40_4KNRNW", ("block RAMs", 1)), ("gatemate", "CC_L2T5", (LUTS, 2)),
    ("gatemate", "CC_BRAM_40K", ("block RAMs", 2)), ("gatemate", "CC_MULT", (MULTIPLIERS, 1)),
    ("gatemate", "CC_PLL", None),
])  # fmt: skip
def test_kinds_of_cells_are_counted_by_their_longest_beginning(family, kind, taken):
    assert FAMILIES[family].cell(kind) == taken


def test_a_register_shares_the_cell_of_a_table_that_nothing_else_reads():
    def cell(kind, **connections):
        return {"type": kind, "connections": {port: [bit] for port, bit in connections.items()},
                "port_directions": {port: "output" if port in "OQ" else "input"
                                    for port in connections}}

    cells = {"a": cell("CC_L2T4", I0=1, O=2), "b": cell("CC_DFF", D=2, Q=3),
             "c": cell("CC_LUT1", I0=3, O=4), "d": cell("CC_DFF", D=4, Q=5),
             "e": cell("CC_DFF", D=4, Q=6), "f": cell("CC_DFF", D=1, Q=7)}
    assert FAMILIES["gatemate"].lone_registers_in(cells) == 3

"""The page on instructions is the one that the layouts make; terms of the glossary are in order."""

import re
from dataclasses import asdict

import pytest

from pyhw.compiler import compile_graph
from pyhw.compiler.program import Layer, StoredMap
from pyhw.docs import isa_markdown, member_docs, with_registers
from pyhw.graph.random import random_graph
from pyhw.hdl.frames import Command
from pyhw.hdl.isa import INPUT, Counter, Opcode, Space, param_layout
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.records import RECORDS
from pyhw.hdl.registers import ADDRESS_BITS, REGISTERS
from tests.support import ROOT

DOCS = ROOT / "docs"


def test_the_checked_in_page_is_the_generated_one():
    assert (DOCS / "isa.md").read_text(encoding="utf-8") == isa_markdown(), (
        "run: python -m pyhw.docs docs/isa.md")


def test_the_page_on_systems_has_the_registers_of_the_gateware():
    text = (DOCS / "system.md").read_text(encoding="utf-8")
    assert text == with_registers(text), "run: python -m pyhw.docs docs/system.md"
    for register in REGISTERS:
        assert f"| 0x{register.address:02x} | `{register.name}` |" in text
        assert all(f"| `{name}` |" in text for name in register.fields.fields if name != "zero")


def test_registers_are_words_at_addresses_of_their_own():
    addresses = [register.address for register in REGISTERS]
    assert addresses == sorted(set(addresses))
    assert all(address % 4 == 0 and address >> ADDRESS_BITS == 0 for address in addresses)
    assert all(register.fields.width <= 32 for register in REGISTERS)


def test_the_page_shows_every_field_and_member():
    text = isa_markdown()
    for layout in (*(record.layout() for record in RECORDS.values()), INPUT,
                   param_layout(PRESETS["default"])):
        assert layout.markdown() in text
    for kind in (Opcode, Space, Command, Counter):
        assert all(f"| {member.value} | `{member.name}` |" in text for member in kind)


@pytest.mark.parametrize("kind", [Opcode, Space, Command, Counter])
def test_every_member_is_described(kind):
    docs = member_docs(kind)
    assert set(docs) == {member.name for member in kind}
    assert all(docs.values())


def test_the_file_page_names_every_field_of_a_program():
    text = (DOCS / "files.md").read_text(encoding="utf-8")
    graph, _ = random_graph(3)
    program = compile_graph(graph, PRESETS["default"])
    for record in (program, *program.layers[:1], program.output, *program.placements[:1]):
        assert all(f"`{name}`" in text or f'"{name}"' in text for name in asdict(record))
    assert Layer is type(program.layers[0])
    assert StoredMap is type(program.output)


def test_the_glossary_is_in_order_and_has_words_that_are_used():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)[1:]
    assert terms == sorted(set(terms))
    assert all(line.count("|") == 3 for line in text.splitlines() if line.startswith("|"))
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")
                      if path.name != "glossary.md")
    words = " ".join(pages.lower().split())
    assert [term for term in terms if term not in words] == []

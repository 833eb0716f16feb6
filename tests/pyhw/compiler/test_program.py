"""Program files: what is written is read back, and damage ends in one clear line."""

import dataclasses
import json
import random
import struct
import zlib

import numpy as np
import pytest

from pyhw.compiler import Program, compile_graph
from pyhw.compiler.disassemble import disassemble, instructions
from pyhw.compiler.program import VERSION, StoredMap
from pyhw.graph.ops import Conv, Graph, Input, Post, Step
from pyhw.graph.random import random_graph
from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.formats import Format
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import INPUT, Opcode, Space
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.records import Instruction
from tests.support.records import flat

HEADER = 24


@pytest.fixture(scope="module")
def program():
    graph, _ = random_graph(11)
    return compile_graph(graph, PRESETS["default"].changed(weight_words=1 << 14), 3)


def sealed(raw):
    """Return a file's bytes with the right checksum."""
    return raw[:-4] + zlib.crc32(raw[:-4]).to_bytes(4, "little")


def parts(raw):
    size = int.from_bytes(raw[12:16], "little")
    return json.loads(raw[HEADER:HEADER + size]), raw[HEADER + size:-4]


def described(raw, change):
    """Return a file with its description changed, otherwise whole."""
    meta, body = parts(raw)
    change(meta)
    text = json.dumps(meta).encode()
    head = struct.pack("<8sHHIII", raw[:8], VERSION, ISA_VERSION, len(text), len(body), 0)
    return sealed(head + text + body + bytes(4))


def test_a_file_reads_back(program, tmp_path):
    path = tmp_path / "net.prog"
    program.save(path)
    assert Program.load(path) == program
    assert Program.from_bytes(program.to_bytes()) == program
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.prog"]


def test_equal_programs_are_equal_files(program):
    assert Program.from_bytes(program.to_bytes()).to_bytes() == program.to_bytes()


def test_a_truncated_file_is_refused(program):
    raw = program.to_bytes()
    for size in [*range(HEADER + 8), *range(HEADER + 8, len(raw), 97), len(raw) - 1]:
        with pytest.raises(ValueError, match="Program file must"):
            Program.from_bytes(raw[:size])
    with pytest.raises(ValueError, match="bytes long"):
        Program.from_bytes(raw + b"\0")


def test_a_flipped_bit_is_noticed(program):
    raw, rng = program.to_bytes(), random.Random(1)
    for position in [*range(HEADER), *(rng.randrange(len(raw)) for _ in range(300))]:
        damaged = bytearray(raw)
        damaged[position] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError, match="Program file must"):
            Program.from_bytes(bytes(damaged))


def test_a_damaged_description_never_ends_in_another_error(program):
    raw, rng = program.to_bytes(), random.Random(2)
    size = int.from_bytes(raw[12:16], "little")
    refused = 0
    for _ in range(1500):
        damaged = bytearray(raw)
        for _ in range(rng.randint(1, 3)):
            damaged[HEADER + rng.randrange(size)] = rng.choice(b'"{}[],:0123456789-eEx.ntf\x00\xff')
        try:
            Program.from_bytes(sealed(bytes(damaged)))
        except ValueError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize("change", [
    lambda meta: meta.pop("layers"),
    lambda meta: meta.update(batch=float("inf")),
    lambda meta: meta.update(batch="3"),
    lambda meta: meta.update(groups=True),
    lambda meta: meta.update(config_hash="no hash"),
    lambda meta: meta.update(input_shape=[1, 2]),
    lambda meta: meta.update(sections=7),
    lambda meta: meta["sections"].append(["PROGRAM", 0, 4]),
    lambda meta: meta["sections"].pop(),
    lambda meta: meta["sections"][0].__setitem__(0, "ATTIC"),
    lambda meta: meta["sections"][0].__setitem__(1, -1),
    lambda meta: meta["sections"][0].__setitem__(2, -4),
    lambda meta: meta["input"].update(fmt="u99"),
    lambda meta: meta["input"].update(shape=[1 << 40, 1, 1]),
    lambda meta: meta["output"].update(slot_bytes=0),
    lambda meta: meta["output"].update(base=None),
    lambda meta: meta["output"].update(colour=1),
    lambda meta: meta["layers"].append(None),
    lambda meta: meta["layers"][0].update(target=[]),
    lambda meta: meta["placements"].append({"name": "x"}),
    lambda meta: meta["placements"][0].update(size=0),
    lambda meta: meta["placements"][0].update(size="9"),
    lambda meta: meta["placements"][0].update(base=None),
    lambda meta: meta["placements"][0].update(first="a"),
    lambda meta: meta["placements"][0].update(first=9, last=3),
    lambda meta: meta["placements"][0].update(replaces="nothing there"),
    lambda meta: meta["placements"][0].update(replaces=[]),
    lambda meta: meta["placements"][0].update(name=[1]),
    lambda meta: meta["placements"].clear(),
    lambda meta: meta["layers"].clear(),
    lambda meta: meta["layers"][0].update(name=None),
    lambda meta: meta["layers"][0].update(useful_terms="many"),
    lambda meta: meta["layers"][0].update(complete=1),
    lambda meta: meta["layers"][0].update(engine={}),
    lambda meta: meta.update(groups=0),
    lambda meta: meta.update(batch=meta["groups"] + 1, groups=2 * meta["groups"]),
    lambda meta: meta.update(name="x" * 2000),
    lambda meta: meta.update(extra=1),
    lambda meta: meta.update(config_hash="00"),
], ids=range(39))  # fmt: skip
def test_a_false_description_is_refused(program, change):
    with pytest.raises(ValueError, match="must have a sound description: ") as caught:
        Program.from_bytes(described(program.to_bytes(), change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [
    ("row_values", 65535), ("rows", 65535), ("channels", 0), ("fold", 0), ("fold", 255),
    ("stride", 0), ("stride", 255), ("out_rows", 65535), ("pixel_step", 0),
    ("row_step", 0), ("copy_step", 0),
])  # fmt: skip
def test_a_record_that_would_unfold_for_long_is_refused(field, value):
    graph = Graph("unfolded", (
        Input(name="image", shape=(16, 16, 3), fmt=Format(8)),
        Conv(name="layer", input="image", term="l1", weight=np.ones((4, 3, 3, 3), int),
             stride=(2, 2), padding=(1, 1, 1, 1), post=Post(Step(
                 m_sign=[[1] * 4], m_exponent=[[0] * 4], bias=[0] * 4, shift=[4] * 4,
                 fmt=Format(8)))),
    ), output="layer")  # fmt: skip
    program = compile_graph(graph, PRESETS["default"])
    assert Program.from_bytes(program.to_bytes()) == program
    sections = [
        (space, word, INPUT.encode(**INPUT.decode(raw) | {field: value})
         if space is Space.INPUT else raw) for space, word, raw in program.sections
    ]  # fmt: skip
    changed = dataclasses.replace(program, sections=sections)
    with pytest.raises(ValueError, match="the INPUT record must unfold images of input_shape"):
        Program.from_bytes(changed.to_bytes())


@pytest.mark.parametrize(("position", "value", "message"), [
    (0, b"PYHW", "must begin with 'pyhwprog'"),
    (8, b"\1\0", "must have version 2 for instruction set 4, not version 1 for 4"),
    (10, b"\3\0", "not version 2 for 3; compile the model again"),
    (12, b"\xff\xff\xff\xff", "must have a header within its limits"),
    (16, b"\xff\xff\xff\xff", "must have a header within its limits"),
])  # fmt: skip
def test_another_kind_or_version_is_refused(program, position, value, message):
    raw = program.to_bytes()
    raw = sealed(raw[:position] + value + raw[position + len(value):])
    with pytest.raises(ValueError, match=message):
        Program.from_bytes(raw)


def test_a_failed_write_leaves_the_old_file(program, tmp_path, monkeypatch):
    path = tmp_path / "net.prog"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        program.save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("fmt", "kind"), [("u8", "u1"), ("s5", "i1"), ("s16", "<i2"),
                                           ("u9", "<u2"), ("s20", "<i4"), ("u32", "<u4")])
def test_stored_maps_are_little_endian(fmt, kind):
    rng = np.random.default_rng(1)
    values = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (2, 3, 4), np.dtype(kind),
                          endpoint=True)
    stored = StoredMap("map", (2, 3, 4), fmt, 0, values.nbytes)
    np.testing.assert_array_equal(stored.decode(values.tobytes()), values.astype(np.int64))


# Disassembly --------------------------------------------------------------------------------------


def test_the_listing_has_every_instruction_memory_and_map(program):
    text = disassemble(program, PRESETS["default"])
    for place in program.placements:
        assert f"map {place.name} " in text
    for space, _, _ in program.sections:
        assert f"  {space.name.lower()}" in text
    found = list(instructions(program.section(Space.PROGRAM), PRESETS["default"]))
    assert [opcode for _, opcode, _ in found] == (
        [Opcode.COMPUTE] * len(program.layers) + [Opcode.END])
    for number, (address, _, layer) in enumerate(found[:-1]):
        fields = flat(layer)
        assert f"{address:6}: COMPUTE {number} {program.layers[number].name} (" in text
        for name in ("n_x", "in_base", "w_base", "code_words", "xb_start"):
            if fields[name]:
                assert f"{name}={fields[name]}" in text
    assert f"{found[-1][0]:6}: END" in text


def test_bytes_that_are_no_instruction_are_refused():
    with pytest.raises(ValueError, match="word 1 must have a known opcode, not 9"):
        list(instructions(bytes(4) + (9).to_bytes(4, "little"), PRESETS["default"]))
    with pytest.raises(ValueError, match="word 0 must be whole, not cut off"):
        list(instructions(instruction(PRESETS["default"]).encode(
            Instruction.of(opcode=Opcode.COMPUTE.value))[:-4], PRESETS["default"]))

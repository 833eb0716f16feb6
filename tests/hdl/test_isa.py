"""Layouts: packing, ranges, and that hardware and documentation are derived from them."""

import random

import pytest
from amaranth.hdl import Shape

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.frames import ARGUMENTS, REPLIES, WITH_DATA, Command
from pyhw.hdl.isa import (
    COUNTER_SET,
    INPUT,
    LAYER,
    LOOP,
    Counter,
    Engine,
    Layout,
    Opcode,
    Space,
    input_record,
    param_layout,
    space_bytes,
    space_depth,
)  # fmt: skip
from pyhw.hdl.presets import PRESETS

SMALL = Layout("SMALL", [("a", 3, "first"), ("b", -5, "second"), ("c", 30, "third")])
LAYOUTS = [SMALL, LAYER, LOOP, INPUT, *(param_layout(config) for config in PRESETS.values())]


def by_name(layout):
    return layout.name


def draw(rng, layout):
    return {f.name: rng.choice([f.low, f.high, 0, rng.randint(f.low, f.high)])
            for f in layout.fields.values()}


def test_fields_are_packed_from_bit_0_up():
    raw = SMALL.encode(a=5, b=-2, c=1)
    assert int.from_bytes(raw, "little") == 5 | 30 << 3 | 1 << 8
    assert (SMALL.width, SMALL.words, SMALL.bytes, len(raw)) == (38, 2, 8, 8)
    assert (SMALL.fields["b"].low, SMALL.fields["b"].high) == (-16, 15)
    assert (SMALL.fields["a"].low, SMALL.fields["a"].high) == (0, 7)


@pytest.mark.parametrize("layout", LAYOUTS, ids=by_name)
def test_values_read_back_in_software_and_in_hardware(layout):
    rng = random.Random(4)
    for _ in range(20):
        values = draw(rng, layout)
        raw = layout.encode(**values)
        assert layout.decode(raw) == values
        view = layout.shape.from_bits(int.from_bytes(raw, "little"))
        assert {name: getattr(view, name) for name in values} == values
    assert layout.shape.size == layout.width


@pytest.mark.parametrize("layout", LAYOUTS, ids=by_name)
def test_values_outside_a_field_are_refused(layout):
    for f in layout.fields.values():
        for value in (f.low - 1, f.high + 1):
            with pytest.raises(ValueError, match=f"{layout.name}.{f.name} must be from {f.low} to "
                                                 f"{f.high}, not {value}"):
                layout.encode(**{f.name: value})


def test_unknown_fields_and_other_lengths_are_refused():
    with pytest.raises(ValueError, match="LOOP has no field 'counts'"):
        LOOP.encode(counts=3)
    for raw in (b"", bytes(LOOP.bytes - 1), bytes(LOOP.bytes + 4)):
        with pytest.raises(ValueError, match=f"LOOP must be {LOOP.bytes} bytes"):
            LOOP.decode(raw)


def test_the_table_shows_every_field_and_bit_once():
    lines = SMALL.markdown().splitlines()
    assert lines[2:] == ["| 2:0 | `a` | u3 | first |", "| 7:3 | `b` | s5 | second |",
                         "| 37:8 | `c` | u30 | third |"]


@pytest.mark.parametrize("layout", [LAYER, LOOP], ids=by_name)
def test_instructions_begin_with_the_opcode(layout):
    assert next(iter(layout.fields)) == "opcode"
    assert layout.fields["opcode"].width == Shape.cast(Opcode).width
    assert LAYER.fields["engine"].high >= max(e.value for e in Engine)


def test_an_input_record_has_its_steps_derived():
    record = input_record(width=28, rows=28, channels=1, fold=5, stride=1, pad=2,
                          pad_values=[7])
    assert record["out_rows"] == 28
    assert record["row_values"] == 28
    assert record["pixel_step"] == 5
    assert record["row_step"] == 28 * 5
    assert record["copy_step"] == 1 - 28 * 5
    assert record["pad_value0"] == 7
    assert INPUT.decode(INPUT.encode(**record))["copy_step"] == record["copy_step"]
    assert input_record(width=4, rows=9, channels=2, fold=3, stride=2, out_rows=2,
                        row_step=99)["copy_step"] == 2 * 2 - 99


def test_an_input_record_has_4_pad_values_at_most():
    with pytest.raises(ValueError, match="INPUT holds 4 pad values, not 5"):
        input_record(width=1, rows=1, channels=1, pad_values=[0] * 5)


def test_records_have_what_the_configuration_has():
    engine = EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16)
    plain = Config.of(l1=engine, terms=1, residual_terms=0, second_step=False)
    assert list(param_layout(plain).fields) == ["bias", "shift", "m0_exponent", "m0_negative"]
    assert param_layout(plain).fields["bias"].width == plain.sum_width
    full = param_layout(Config.of(l1=engine, terms=4, residual_terms=4))
    for prefix in "mrn":
        terms = [name for name in full.fields if name[0] == prefix and name.endswith("_negative")]
        assert len(terms) == 4


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_every_space_has_a_size(config):
    for space in Space:
        assert space_bytes(config, space) >= 1
        assert space_depth(config, space) >= 0
    assert space_bytes(config, Space.WEIGHTS) == config.weights.load_bytes
    assert space_bytes(config, Space.PARAMS) == param_layout(config).bytes
    assert space_depth(config, Space.COUNTERS) == COUNTER_SET >= 8 * len(Counter)


def test_every_command_has_arguments():
    assert set(ARGUMENTS) == set(Command)
    assert set(REPLIES) | set(WITH_DATA) <= set(Command)

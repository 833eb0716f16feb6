"""Layouts: packing, ranges, and that hardware and documentation are derived from them."""

import random

import pytest
from amaranth.hdl import Shape

from pyhw.hdl.config import MOST_ENGINES, Config, EngineConfig
from pyhw.hdl.frames import ARGUMENTS, REPLIES, WITH_DATA, Command
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import (
    COUNTER_SET,
    INPUT,
    Counter,
    Opcode,
    Space,
    input_record,
    param_layout,
    space_bytes,
    space_depth,
)  # fmt: skip
from pyhw.hdl.layout import Layout
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.records import RECORD_OF, RECORDS, Instruction, Terms

SMALL = Layout("SMALL", [("a", 3, "first"), ("b", -5, "second"), ("c", 30, "third")])
LAYOUTS = [SMALL, INPUT, *(record.layout() for record in RECORDS.values()),
           *(param_layout(config) for config in PRESETS.values())]


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
    with pytest.raises(ValueError, match="SMALL has no field 'counts'"):
        SMALL.encode(counts=3)
    for raw in (b"", bytes(SMALL.bytes - 1), bytes(SMALL.bytes + 4)):
        with pytest.raises(ValueError, match=f"SMALL must be {SMALL.bytes} bytes"):
            SMALL.decode(raw)


def test_the_table_shows_every_field_and_bit_once():
    lines = SMALL.markdown().splitlines()
    assert lines[2:] == ["| 2:0 | `a` | u3 | first |", "| 7:3 | `b` | s5 | second |",
                         "| 37:8 | `c` | u30 | third |"]


VARIANTS = [PRESETS["default"], PRESETS["tiny"],
            PRESETS["default"].changed(taps=2, prototypes=64),
            PRESETS["default"].changed(residual_terms=0, index_entries=0)]


@pytest.mark.parametrize("config", VARIANTS)
def test_an_instruction_is_the_records_of_a_configuration_in_order(config):
    rng, form = random.Random(5), instruction(config)
    assert [name for name in RECORDS if name in form.records] == list(form.records)
    values = Instruction(**{name: RECORDS[name](**draw(rng, RECORDS[name].layout()))
                            for name in form.records})
    raw = form.encode(values)
    assert len(raw) == form.bytes == 4 * form.words
    assert form.decode(raw) == values
    # Hardware sees the same values at the same bits.
    view = form.shape.from_bits(int.from_bytes(raw, "little"))
    for name in form.records:
        assert {f: getattr(getattr(view, name), f) for f in vars(getattr(values, name))} == vars(
            getattr(values, name))
    assert form.records[0] == "control"
    assert next(iter(RECORDS["control"].layout().fields)) == "opcode"


def test_records_of_units_that_are_not_there_take_no_bits_and_hold_nothing():
    least = instruction(VARIANTS[3])
    assert not {"index", "chain", "expansion", "residual"} & set(least.records)
    assert set(instruction(VARIANTS[2]).records) == set(RECORDS)
    assert instruction(VARIANTS[2]).width - least.width == sum(
        RECORDS[name].layout().width for name in ("index", "chain", "expansion", "residual"))
    with pytest.raises(ValueError, match="COMPUTE has no record 'residual' in this configuration"):
        least.encode(Instruction.of(res=1))
    with pytest.raises(ValueError, match=f"COMPUTE must be {least.bytes} bytes, not 4"):
        least.decode(bytes(4))


def test_fields_are_known_by_their_names_alone():
    fields = [name for record in RECORDS.values() for name in record.layout().fields]
    assert sorted(fields) == sorted(RECORD_OF)
    assert Instruction.of(n_x=3, engine=1).changed(n_x=4).values()["nest"]["n_x"] == 4
    with pytest.raises(TypeError, match="Instruction has no field 'n_z'"):
        Instruction.of(n_z=1)


def test_opcodes_and_engines_have_room():
    assert RECORDS["control"].layout().fields["opcode"].width == Shape.cast(Opcode).width
    assert Terms.layout().fields["engine"].high >= MOST_ENGINES


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

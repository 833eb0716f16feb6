"""Specialised accelerators: ranges hold a program's fields, and nothing outside them compiles."""


import pytest

import pyhw
from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.cycles import estimate
from pyhw.compiler.disassemble import layer_instructions
from pyhw.compiler.specialise import program_ranges, specialise
from pyhw.graph.file import load
from pyhw.graph.random import random_graph
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import INPUT, Space
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.records import RECORD_OF
from tests.support.records import flat

CONFIG = PRESETS["default"].changed(weight_words=1 << 14, scratch_bytes=1 << 17)


def compiled(seed, config=CONFIG, batch=3, **options):
    return compile_graph(random_graph(seed)[0], config, batch, **options)


@pytest.mark.parametrize("seed", [3, 11, 12])
def test_ranges_hold_every_field_and_both_ends_occur(seed):
    program = compiled(seed)
    ranges = program_ranges(program, CONFIG)
    layers = [flat(layer) for layer in layer_instructions(program, CONFIG)]
    names = {name for name, record in RECORD_OF.items()
             if record in instruction(CONFIG).records} - {"opcode", "n_slots"}
    for name in names:
        values = [fields[name] for fields in layers]
        assert ranges[f"{RECORD_OF[name]}.{name}"] == (min(values), max(values)), name
    assert ranges["control.n_slots"] == (0, 2)
    record = INPUT.decode(program.section(Space.INPUT))
    assert all(ranges[f"input.{name}"] == (record[name],) * 2
               for name in record if not name.startswith("pad_value"))
    assert "control.opcode" not in ranges
    assert record["fold"] == 1  # an input that is stored as it comes has no border
    assert ranges["input.pad_value0"] == (0, 0)


def test_pad_values_of_an_unfolded_input_come_from_training():
    graph = load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    folded, plain = compile_graph(graph, CONFIG), compile_graph(graph, CONFIG, fold=False)
    assert "input.pad_value0" not in program_ranges(folded, CONFIG)
    assert "input.pad_value0" in program_ranges(plain, CONFIG)
    assert "input.pad_value0" not in specialise(CONFIG, plain, folded).ranges


@pytest.mark.parametrize("seed", [3, 11, 12])
def test_a_specialised_accelerator_runs_the_same_instructions(seed):
    program = compiled(seed)
    config = specialise(CONFIG, program)
    again = compiled(seed, config)
    assert again.sections == program.sections
    assert again.config_hash == config.hash != program.config_hash
    assert estimate(again, config) == estimate(program, CONFIG)
    assert config.coordinate_width <= CONFIG.coordinate_width
    assert specialise(config, again) == config


def test_the_second_instructions_of_a_double_buffer_count_too():
    program = compiled(11, double_buffer=True)
    assert compiled(11, specialise(CONFIG, program), double_buffer=True).sections == (
        program.sections)
    with pytest.raises(CompileError, match="was specialised for"):
        compiled(11, specialise(CONFIG, compiled(11)), double_buffer=True)


def test_an_accelerator_for_two_models_runs_both():
    programs = [compiled(seed) for seed in (3, 12)]
    config = specialise(CONFIG, *programs)
    for seed, program in zip((3, 12), programs, strict=True):
        assert compiled(seed, config).sections == program.sections
        assert all(low <= fields[name.partition(".")[2]] <= high
                   for fields in map(flat, layer_instructions(program, CONFIG))
                   for name, (low, high) in config.ranges.items()
                   if not name.startswith("input.") and name != "control.n_slots")


def test_another_model_is_refused_by_layer_and_field():
    config = specialise(CONFIG, compiled(3))
    with pytest.raises(CompileError, match=r"layer '\w+': its \w+ is \d+ and this accelerator was "
                       r"specialised for .*; take a configuration .* \(--batch 4\)"):
        compiled(12, config)


def test_more_images_than_it_was_specialised_for_are_refused():
    with pytest.raises(CompileError, match="specialised for"):
        compiled(3, specialise(CONFIG, compiled(3)), batch=9)

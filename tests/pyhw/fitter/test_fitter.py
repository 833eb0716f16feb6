"""Fitting: memories as Yosys maps them, area within its error, proposals that compile and fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

import pyhw
from pyhw.cli.main import main
from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.configure import every_preset, find_preset, fitted, read_config
from pyhw.errors import UserError
from pyhw.families import DEVICES, find_device
from pyhw.fitter.area import area, luts, results
from pyhw.fitter.memories import Memory, block_rams, memories, placed, single_port_rams
from pyhw.fitter.needs import needs
from pyhw.fitter.search import FILL, limits_of, propose
from pyhw.fitter.work import sizes_of, work_of
from pyhw.graph.file import load
from pyhw.graph.ops import Graph
from pyhw.graph.random import random_graph
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.instruction import instruction
from pyhw.hdl.presets import PRESETS
from pyhw.memory_map import memory_use, picture
from tests.support.masked_models import random_prototype, three

MODELS = pyhw.MODELS
LENET = MODELS / "lenet5_adder_digits.pyhw"
DS_CNN = MODELS / "ds_cnn_adder.pyhw"


def blocks_of(config, family):
    return sum(block_rams(memory, family) for memory in memories(config))


# Memories -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "family", "counted"), [
    ("tiny", "ecp5", 17), ("tiny", "ice40", 51), ("ds_cnn_25f", "ecp5", 49),
])
def test_block_rams_are_those_that_yosys_counts(preset, family, counted):
    assert blocks_of(find_preset(preset), family) == counted  # docs/area.md, docs/fit.md


@pytest.mark.parametrize(("memory", "ecp5", "ice40"), [
    (Memory(name="x", depth=512, width=32), 1, 4),
    (Memory(name="x", depth=513, width=32), 2, 6),
    (Memory(name="x", depth=2048, width=8), 1, 4),
    (Memory(name="x", depth=512, width=36), 1, 5),
    (Memory(name="x", depth=512, width=37), 2, 5),
    (Memory(name="x", depth=21504, width=18), 21, 99),
    (Memory(name="x", depth=512, width=32, two_reads=True), 2, 8),
    (Memory(name="x", depth=128, width=8), 0, 1),
    (Memory(name="x", depth=128, width=9), 1, 1),
    (Memory(name="x", depth=4096, width=4), 1, 4),
    (Memory(name="x", depth=16, width=20, count=3, distributed=True), 0, 6),
])
def test_a_memory_takes_the_shape_with_the_fewest_blocks(memory, ecp5, ice40):
    assert block_rams(memory, "ecp5") == block_rams(memory, "gowin") == ecp5
    assert block_rams(memory, "ice40") == ice40


@pytest.mark.parametrize(("words", "bits", "blocks"), [
    (1, 8, 1), (1 << 15, 8, 1), ((1 << 15) + 1, 8, 2), (61_696, 8, 2), (1 << 14, 16, 1),
    ((1 << 14) + 1, 16, 2), (1 << 14, 32, 2), (1 << 13, 64, 4),
])
def test_single_port_rams_are_those_that_yosys_counts(words, bits, blocks):
    # tests/test_pyhw_synthesis.py
    config = find_preset("tiny").changed(load_bits=bits, weight_words=words, single_port=True)
    weights = next(one for one in memories(config) if one.name == "weights")
    assert single_port_rams(weights) == blocks
    assert block_rams(weights, "ice40") == 0
    assert sum(map(single_port_rams, memories(config))) == blocks
    assert not any(map(single_port_rams, memories(config.changed(single_port=False))))


@pytest.mark.parametrize(("device", "words", "single"), [
    ("ice40-up5k", 1 << 15, True), ("ice40-up5k", (1 << 15) + 1, False), ("ice40-hx8k", 1, False),
    ("ecp5-25f", 1, False),
])
def test_weights_lie_in_single_port_ram_where_they_fit(device, words, single):
    config = find_preset("tiny").changed(load_bits=32, weight_words=words)
    found = placed(config, find_device(device))
    assert found.build.single_port == single
    assert found.build.distributed == (not device.startswith("ice40"))
    assert found.hash == config.hash


def test_lenet_5_fits_an_up5k_with_its_weights_in_single_port_ram():
    graph, device = load(MODELS / "lenet5_adder_mnist.pyhw"), find_device("ice40-up5k")
    best = propose(graph, device, batch=1, specialise=True, fill=2)[0]  # logic is not the question
    assert best.config.build.single_port
    assert best.block_rams == blocks_of(best.config, "ice40") <= device.block_rams
    weights = next(one for one in memory_use(best.config, device) if one.name == "weights")
    assert (weights.blocks, weights.single_ports) == (
        0, sum(map(single_port_rams, memories(best.config))))
    assert 1 <= weights.single_ports <= device.single_port_rams
    with pytest.raises(UserError, match=r"LUTs short .*--terms 2 --exponent 7"):
        propose(graph, device, batch=1, specialise=True)
    with pytest.raises(UserError, match=r"single-port RAMs short \(\d+ of 4\)"):
        propose(load(MODELS / "resnet20_adder.pyhw"), device, batch=1, specialise=True)


def test_families_and_devices_are_named():
    with pytest.raises(UserError, match="family must be one of ecp5"):
        block_rams(Memory(name="x", depth=1, width=1), "x")
    with pytest.raises(UserError, match="device must be one of ecp5-12f"):
        find_device("x")


# Area ---------------------------------------------------------------------------------------------

#: Whole accelerators by Yosys 0.70: docs/fit.md.
COUNTED = [("ds_cnn_25f", "ecp5", 22_234), ("resnet8_25f", "ecp5", 21_927)]


@pytest.mark.parametrize(("preset", "family", "counted"), COUNTED)
def test_area_is_that_of_yosys_within_a_few_percent(preset, family, counted):
    assert luts(find_preset(preset), family) == pytest.approx(counted, rel=0.03)


def lone_area(config, rows, width):
    """Return the LUT4s of a configuration's first engine with accumulators of its own."""
    return area(config)[0].luts + results(config, config.groups, rows * width)


@pytest.mark.parametrize(("shape", "counted"), [
    ((1, 8, 32, 256), 8240), ((1, 8, 16, 128), 5061), ((2, 8, 16, 256), 10016),
    ((2, 16, 32, 256), 29427),
])
def test_the_l1_engine_has_the_area_of_the_table(shape, counted):
    groups, rows, lanes, bits = shape
    engine = EngineConfig(rows=rows, lanes=lanes, code_width=8, acc_width=20)
    config = Config.of(groups=groups, l1=engine, load_bits=bits, burst_depth=32)
    assert lone_area(config, rows + 1, 20) == pytest.approx(counted, rel=0.03)


@pytest.mark.parametrize(("shape", "counted"), [
    ((1, 8, 16, 4), 8276), ((2, 8, 16, 4), 16348), ((1, 8, 32, 4), 14582),
    ((1, 8, 16, 5), 11437), ((1, 8, 32, 5), 20908),
])
def test_the_shift_engine_has_the_area_of_the_table(shape, counted):
    groups, rows, lanes, width = shape
    engine = EngineConfig(rows=rows, lanes=lanes, code_width=width, acc_width=24)
    config = Config.of(groups=groups, shift=engine, load_bits=128, burst_depth=32)
    assert lone_area(config, rows, 24) == pytest.approx(counted, rel=0.03)


# Work and needs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LENET, DS_CNN], ids=lambda path: path.stem)
@pytest.mark.parametrize("taps", [0, 1, 3])
@pytest.mark.parametrize("preset", ["default", "tiny"])
def test_the_words_of_the_bound_are_those_of_the_program(path, preset, taps):
    graph = load(path)
    config = PRESETS[preset].changed(weight_words=1 << 20, scratch_bytes=1 << 18,
                     param_records=4096, program_words=4096, taps=taps)
    program = compile_graph(graph, config, 2)
    words = sum(
        int(work.words(sizes_of(config, work.engine)))
        for work in work_of(graph, config) if work.engine in config.engines
    )
    sizes = {space.name: len(raw) for space, _, raw in program.sections}
    assert words * config.weights.load_bytes == sizes["WEIGHTS"]
    need = needs(graph)
    assert need.layers * instruction(config).words + 1 == sizes["PROGRAM"] // 4
    assert [work.name for work in work_of(graph, config)] == [la.name for la in program.layers]


@pytest.mark.parametrize("path", [LENET, DS_CNN], ids=lambda path: path.stem)
@pytest.mark.parametrize("taps", [0, 3])
@pytest.mark.parametrize("slots", [1, 4])
def test_the_bound_is_near_the_exact_cycles(path, slots, taps):
    graph = load(path)
    config = PRESETS["default"].changed(weight_words=1 << 20, scratch_bytes=1 << 18,
                     param_records=4096, program_words=4096, taps=taps)
    program = compile_graph(graph, config, slots * config.groups)
    exact = run_cycles(estimate(program, config))
    bound = sum(max(work.cycles(sizes_of(config, work.engine), slots))
                for work in work_of(graph, config))
    assert 0.85 * exact < bound < 1.1 * exact


def test_masked_layers_are_bounded_as_masks():
    graph = three(prototype=random_prototype(5, 40))
    need = needs(graph)
    config = Config.of(shift=EngineConfig(rows=4, lanes=8, code_width=5, acc_width=24),
                       load_bits=32,
                    prototypes=40, weight_words=1 << 12, scratch_bytes=1 << 14)
    program = compile_graph(graph, config)
    sizes = {space.name: len(raw) for space, _, raw in program.sections}
    bound = sum(int(work.words(sizes_of(config, "shift"))) for work in work_of(graph, config))
    stored = sizes["WEIGHTS"] // 4
    assert stored <= bound <= stored + len(program.layers)  # masks share words
    codes = config.changed(prototypes=0)
    assert bound < sum(int(w.words(sizes_of(codes, "shift"))) for w in work_of(graph, codes))
    assert need.prototypes == 40
    chained = config.changed(taps=3)
    deep = next(w for w in work_of(graph, chained) if w.chain)
    assert deep.together(sizes_of(chained, "shift")) == 3


def test_needs_suffice_for_random_networks():
    compiled = 0
    for seed in range(12):
        graph, _ = random_graph(seed)
        need = needs(graph)
        engines = {
            name: EngineConfig(rows=4, lanes=8, code_width=one.code_width,
                               acc_width=one.acc_width(8))
            for name, one in need.engines.items()
        }
        if not engines:
            continue
        config = Config.of(**engines, load_bits=64, pool_acc_width=need.pool_acc_width,
                        terms=need.terms, tables=need.tables, residual_terms=need.residual_terms,
                        second_step=need.second_step, index_entries=need.index_entries,
                        scratch_bytes=1 << 18, weight_words=1 << 16, param_records=1 << 14,
                        program_words=1 << 14)
        compile_graph(graph, config)
        compiled += 1
    assert compiled > 8


# Search -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proposals():
    return propose(load(DS_CNN), find_device("ecp5-25f"))


def test_proposals_fit_the_device_compile_and_take_the_cycles_they_tell(proposals):
    device = find_device("ecp5-25f")
    for one in proposals:
        assert one.block_rams == blocks_of(one.config, "ecp5") <= device.block_rams
        assert one.luts == round(luts(one.config)) <= FILL * device.luts
        program = compile_graph(load(DS_CNN), one.config, one.batch)
        assert run_cycles(estimate(program, one.config)) == one.cycles
    assert "most cycles go to" in limits_of(proposals[0], device)
    assert proposals[0].config.depthwise.columns == 3


def test_the_best_is_not_slower_than_the_others_or_alike_and_smaller(proposals):
    best = proposals[0]
    for other in proposals[1:]:
        slower = other.cycles / other.batch >= 0.98 * best.cycles / best.batch
        assert slower
    assert best.images_per_second(2e8) == 2 * best.images_per_second(1e8)


def test_a_larger_device_is_not_slower(proposals):
    larger = propose(load(DS_CNN), find_device("ecp5-45f"))[0]
    assert larger.images_per_second(1e8) > proposals[0].images_per_second(1e8)


def test_the_smallest_accelerator_is_smaller_than_the_fastest(proposals):
    smallest = propose(load(DS_CNN), find_device("ecp5-25f"), objective="area")[0]
    assert smallest.luts < 0.6 * proposals[0].luts


def test_a_batch_is_held_at_once():
    found = propose(load(DS_CNN), find_device("ecp5-45f"), batch=2)
    assert {one.batch for one in found} == {2}


def test_a_device_that_is_too_small_says_what_is_short_and_what_helps():
    with pytest.raises(UserError, match=r"ecp5-25f is too small for resnet20_adder .*"
                       r"block RAMs short .*ecp5-85f") as caught:
        propose(load(MODELS / "resnet20_adder.pyhw"), find_device("ecp5-25f"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"LUTs short"):
        propose(load(DS_CNN), find_device("ice40-up5k"))


def test_six_bit_weights_of_lenet5_fit_the_smallest_gowin_device():
    device = find_device("gw1nr-9")
    best = propose(load(MODELS / "lenet5_adder_mnist_6bit.pyhw"), device, specialise=True,
                   fill=0.5)[0]
    assert (best.config.weights.load_bits, best.block_rams, device.block_rams) == (18, 26, 26)
    blocks = {one.name: block_rams(one, "gowin") for one in memories(best.config)}
    assert blocks["weights"] == 21
    assert blocks["scratchpad"] == 4
    assert blocks["instructions and records"] == 1
    assert blocks["received frames"] == 0


def test_objectives_are_named():
    with pytest.raises(UserError, match="objective must be one of throughput, area"):
        propose(load(DS_CNN), find_device("ecp5-25f"), objective="x")


def test_the_command_writes_a_configuration_that_others_read(tmp_path, capsys):
    out = tmp_path / "accelerator.json"
    assert main(["fit", str(DS_CNN), "--device", "ecp5-25f", "--batch", "1", "--clock", "50",
                 "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "images/s at 50 MHz" in text
    assert "block RAM" in text
    assert json.loads(out.read_text())["name"] == "ds_cnn_adder_ecp5_25f"
    program = tmp_path / "x.pyhwprog"
    assert main(["compile", str(DS_CNN), "--config", str(out), "--batch", "1", "--map",
                 "--device", "ecp5-25f", "--out", str(program)]) == 0
    assert f"{blocks_of(read_config(out), 'ecp5')} of 56" in capsys.readouterr().out
    assert main(["info", str(program), "--map"]) == 0
    assert "give it with --config" in capsys.readouterr().out
    assert main(["info", str(program), "--map", "--config", str(out)]) == 0
    assert "memories of ds_cnn_adder_ecp5_25f on ecp5-85f" in capsys.readouterr().out


def test_the_command_lists_devices(capsys):
    assert main(["fit"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in DEVICES)


@pytest.mark.parametrize(("arguments", "words"), [
    (["fit", "--out", "x.json"], "--out needs a model"),
    (["fit", str(DS_CNN), "--device", "x"], "device must be one of"),
    (["fit", str(DS_CNN), "--objective", "x"], "objective must be one of"),
    (["compile", str(DS_CNN), "--map", "--device", "x"], "device must be one of"),
    (["info", str(DS_CNN), "--map"], "is a graph, not a program"),
    (["info", str(DS_CNN), "--map", "--ops"], "leave out --ops"),
])
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


# Configurations of the package, and maps ----------------------------------------------------------


@pytest.mark.parametrize(("name", "model", "batch", "device"), [
    ("resnet20_85f", "resnet20_adder", 4, "ecp5-85f"),
    ("ds_cnn_25f", "ds_cnn_adder", 4, "ecp5-25f"),
])
def test_a_configuration_of_the_package_runs_its_network_on_its_device(name, model, batch, device):
    config = find_preset(name)
    assert compile_graph(load(MODELS / f"{model}.pyhw"), config, batch).batch == batch
    assert luts(config) <= FILL * DEVICES[device].luts
    assert blocks_of(config, "ecp5") <= DEVICES[device].block_rams


def test_resnet20_85f_runs_resnet20s_with_larger_multipliers():
    graph = load(MODELS / "resnet20_adder.pyhw")
    last = graph.ops[-1]
    first = last.post.first
    larger = replace(first, m_exponent=np.minimum(first.m_exponent + 3, 16))
    last = replace(last, post=replace(last.post, first=larger))
    ops = (*graph.ops[:-1], last)
    graph = Graph(graph.name, ops, graph.output)
    assert needs(graph).sum_bits == 37
    assert compile_graph(graph, find_preset("resnet20_85f"), 4).batch == 4


def test_the_configurations_of_the_package_have_the_names_of_their_files():
    for name in fitted():
        assert find_preset(name).name == name
    assert blocks_of(find_preset("resnet8_25f"), "ecp5") <= 56
    assert len(every_preset()) == len(PRESETS) + len(fitted())


def test_a_picture_shows_every_map_where_it_lies():
    config = find_preset("resnet20_85f")
    program = compile_graph(load(MODELS / "resnet20_adder.pyhw"), config, 4)
    lines = picture(program, 64)
    rows = dict(line.split(maxsplit=1) for line in lines[1 : 1 + len(program.layers)])
    assert rows["layer1.0.conv1"] == "B" * 32 + "C" * 32
    assert rows["layer1.0.conv2"] == "D" * 32 + "C" * 32
    assert "D  layer1.0.conv2: 0 to 16,383, 16,384 bytes, in place of B" in lines
    with pytest.raises(ValueError, match="at least 16"):
        picture(program, 8)
    use = {one.name: one for one in memory_use(config, DEVICES["ecp5-85f"], program)}
    assert use["scratchpad"].used == use["scratchpad"].depth == 2048
    assert use["weights"].used == len(program.sections[1][2]) // 8
    assert sum(one.blocks for one in use.values()) == 206
    with pytest.raises(UserError, match="was compiled for configuration"):
        memory_use(PRESETS["tiny"], DEVICES["ecp5-85f"], program)


def test_columns_of_a_picture_are_shares_of_the_bytes_in_use():
    program = compile_graph(load(LENET), PRESETS["default"], 2)
    peak = max(place.base + place.size for place in program.placements)
    first = picture(program, 100)[1]
    taken = sum(p.size for p in program.placements if p.first <= 0 <= p.last)
    filled = sum(letter != "." for letter in first.split()[1])
    assert filled == pytest.approx(100 * taken / peak, abs=2)
    assert np.isclose(len(first.split()[1]), 100)

"""Masked layers in programs: what they mean, what is stored, when codes are stored instead."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pyhw.cli import main as cli
from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.cycles import estimate
from pyhw.compiler.disassemble import layer_instructions
from pyhw.graph.execute import run_layers
from pyhw.graph.file import save
from pyhw.graph.ops import Conv
from pyhw.graph.random import Limits, random_graph
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.isa import Space
from pyhw.hdl.presets import PRESETS
from tests.support.masked_models import (
    chain,
    mask,
    masked_conv,
    masked_graph,
    random_prototype,
    repacked,
    tensor,
    three,
)
from tests.support.program_reference import run_program
from tests.support.records import flat

CONFIG = Config.of(
    name="masked", groups=2, shift=EngineConfig(rows=5, lanes=9, code_width=5, acc_width=24),
    pool_lanes=3, burst_depth=10, load_bits=64, post_width=2, scratch_bytes=16384,
    weight_words=2048, param_records=256, program_words=512, index_entries=512, prototypes=512)


def layers(program, config=CONFIG):
    """Return the fields of the instructions of the shift engine."""
    return [flat(layer) for layer in layer_instructions(program, config)
            if CONFIG.engine(layer.terms.engine) == "shift"]


def test_programs_of_random_masked_networks_compute_their_graphs():
    limits = Limits(max_ops=3, max_side=6, max_channels=12, max_images=16, work=4000,
                    engines=("shift",), code_widths={"shift": (5,)})
    masked = checked = 0
    for seed in range(1000, 1100):
        graph, images = random_graph(seed, limits)
        if not any(getattr(op, "prototype", None) is not None for op in graph.ops):
            continue
        try:
            program = compile_graph(graph, CONFIG, 2)
        except CompileError:
            continue
        golden = run_layers(graph, images[:2])
        for name, value in run_program(program, CONFIG, images[:2]).items():
            if name in golden:
                np.testing.assert_array_equal(value, golden[name], err_msg=f"{seed} {name}")
        masked += sum(fields["masked"] for fields in layers(program))
        checked += 1
    assert checked >= 15
    assert masked >= 15


@pytest.mark.parametrize("changes", [
    {}, {"kernel": (5, 5), "padding": (2, 2, 2, 2)}, {"kernel": (2, 3)}, {"kernel": (3, 4)},
    {"stride": (1, 2)}, {"size": 1}, {"size": 500},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_depthwise_masked_layers_run_channel_by_channel_from_masks(taps, changes):
    options = {"kernel": (3, 3), "size": 37, "padding": (1, 1, 1, 1)} | changes
    kernel = options.pop("kernel")
    graph = masked_graph(5, shape=(12, *kernel, 1), groups=12, **options)
    images = np.random.default_rng(7).integers(0, 256, (2, 6, 6, 12))
    for lanes in (4, 6):
        config = CONFIG.changed(taps=taps, pool_lanes=lanes)
        program = compile_graph(graph, config, 2)
        (layer,) = layers(program, config)
        assert layer["depthwise"]
        assert layer["masked"]
        assert len(program.section(Space.WEIGHTS)) * 8 - 12 * kernel[0] * kernel[1] < 64
        found = run_program(program, config, images)["masked"]
        np.testing.assert_array_equal(found, run_layers(graph, images)["masked"])
    # Blocks of 5, 5 and 2 channels are stored as codes.
    config = CONFIG.changed(taps=taps, pool_lanes=5)
    program = compile_graph(graph, config, 2)
    assert [layer["masked"] for layer in layers(program, config)] == [0]


@pytest.mark.parametrize("load_bits", [16, 64, 512])
def test_masks_follow_each_other_without_a_bit_between_blocks_and_layers(load_bits):
    graph = three()
    program = compile_graph(graph, CONFIG.changed(load_bits=load_bits))
    place = 0
    for fields, op in zip(layers(program, CONFIG.changed(load_bits=load_bits)), graph.ops[1:],
                          strict=True):
        assert fields["w_base"] * load_bits + fields["mask_bit"] == place
        place += (fields["n_blocks"] - 1) * fields["block_bits"] + fields["last_bits"]
        assert place == sum(o.sign.size for o in graph.ops[1:graph.ops.index(op) + 1])
    assert len(program.section(Space.WEIGHTS)) == -(-place // load_bits) * load_bits // 8


def convmixer(depth=6, width=256, classes=10):
    """Return the layers of ConvMixer-256/6 on 66 shared values, all of them masked."""
    prototype = random_prototype(4, 66)

    def layer(name, number, **options):
        return masked_conv(name, 4, seed=number, prototype=prototype, **options)[0]

    convs = [layer("patch", 0, shape=(width, 2, 2, 3), stride=(2, 2))]
    for k in range(depth):
        convs.append(layer(f"deep{k}", 2 * k, shape=(width, 5, 5, 1), groups=width,
                           padding=(2, 2, 2, 2)))
        convs.append(layer(f"point{k}", 2 * k + 1, shape=(width, 1, 1, width)))
    convs.append(layer("head", 99, shape=(classes, 1, 1, width)))
    return chain(*convs, shape=(32, 32, 3))


def test_convmixer_256_6_stores_a_bit_a_weight_and_66_codes():
    config = PRESETS["default"].changed(name="mixer", groups=1, scratch_bytes=1 << 18,
                                        param_records=4096,
        weight_words=54656 // 32, prototypes=66)
    program = compile_graph(convmixer(), config)
    assert sum(op.sign.size for op in convmixer().ops[1:]) == 437_248
    assert len(program.section(Space.WEIGHTS)) == 54_656
    assert len(program.section(Space.PROTOTYPES)) == 66
    assert all(fields["masked"] for fields in layers(program, config))
    # A burst's weights are made within the burst: waiting for them takes two hundredths at most.
    cycles = estimate(program, config)
    assert sum(layer.stall_weights for layer in cycles) * 50 < sum(la.cycles for la in cycles)


def test_layers_that_share_a_prototype_or_begin_with_the_same_codes_store_it_once():
    shared = compile_graph(three(random_prototype(5, 40)), CONFIG)
    assert len(shared.section(Space.PROTOTYPES)) == 40
    # Of a vector longer than the layer only its beginning is used: 192, 108 and 84 weights.
    long = compile_graph(three(random_prototype(5, 500)), CONFIG)
    assert len(long.section(Space.PROTOTYPES)) == 192
    assert len(compile_graph(three(), CONFIG).section(Space.PROTOTYPES)) == 30 + 31 + 32
    for program in (shared, long):
        assert all(fields["masked"] for fields in layers(program))
    assert {fields["proto_size"] for fields in layers(long)} == {192, 108, 84}


def test_a_prototype_that_does_not_fit_leaves_the_codes():
    graph = three()
    for room, masked in ((0, 0), (29, 0), (60, 1), (61, 2), (92, 2), (93, 3)):
        config = CONFIG.changed(prototypes=room)
        program = compile_graph(graph, config)
        assert sum(fields["masked"] for fields in layers(program, config)) == masked, room
        images = np.random.default_rng(room).integers(0, 256, (2, 6, 6, 4))
        found = run_program(program, CONFIG.changed(prototypes=room), images)
        for name, value in found.items():
            np.testing.assert_array_equal(value, run_layers(graph, images)[name])


def test_weights_that_do_not_fit_name_both_ways_out():
    graph = three()
    words = len(compile_graph(graph, CONFIG).section(Space.WEIGHTS)) // 8
    with pytest.raises(CompileError) as caught:
        compile_graph(graph, CONFIG.changed(prototypes=0, weight_words=words))
    text = str(caught.value)
    assert "take a configuration with weight_words of at least" in text
    assert f"or with prototypes of at least 93 and weight_words of at least {words}" in text
    assert "\n" not in text
    compile_graph(graph, CONFIG.changed(prototypes=93, weight_words=words))


def test_weights_that_do_not_fit_even_as_masks_ask_for_words_alone():
    with pytest.raises(CompileError, match=r"weight_words of at least \d+$"):
        compile_graph(three(), CONFIG.changed(weight_words=2))


def test_codes_are_stored_where_pads_have_values_or_an_exponent_is_too_large():
    conv = masked_conv("layer", 5, shape=(6, 3, 3, 4), size=20, padding=(1, 1, 1, 1))[0]
    padded = replace(conv, pad_value=[3, 0, 0, 1])
    assert not layers(compile_graph(chain(padded), CONFIG))[0]["masked"]
    # The engine's codes have exponents to 6; the prototype's largest belongs to no weight.
    prototype = np.append(conv.prototype[:19] & 0x11, 10)
    config = CONFIG.changed(shift=replace(CONFIG.engines.get("shift"), code_width=4))
    kept = (np.arange(conv.sign.size) % 20 != 19).reshape(6, 4, 3, 3).transpose(0, 2, 3, 1)
    made = masked_conv("layer", 5, shape=(6, 3, 3, 4), prototype=prototype)[0]
    spared = Conv(**{name: getattr(made, name) for name in (
        "name", "input", "term", "post", "code_width", "prototype")},
        sign=made.sign * kept, exponent=made.exponent * kept)
    assert not layers(compile_graph(chain(spared), config))[0]["masked"]
    assert layers(compile_graph(chain(spared), CONFIG))[0]["masked"]
    with pytest.raises(CompileError, match="exponent 10 does not fit the 4-bit codes"):
        compile_graph(chain(made), config)


# On the command line ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(three(), "net.pyhw")
    Path("masked.json").write_text(config_to_json(CONFIG))
    return tmp_path


def test_the_summary_tells_what_masks_and_prototypes_take(folder, capsys):
    assert cli.main(["compile", "net.pyhw", "--config", "masked.json"]) == 0
    # 192 + 108 + 84 weights; 30 + 31 + 32 codes of 5 bits.
    assert ("masks: 48 bytes, one bit for each of 384 weights in 3 layers; prototypes: 59 bytes, "
            "93 codes of 5 bits") in " ".join(capsys.readouterr().out.split())
    assert cli.main(["compile", "net.pyhw", "--config", "masked.json", "--set",
                     "prototypes=0"]) == 0
    assert "masks:" not in capsys.readouterr().out


def test_a_mask_of_another_length_is_one_line_and_a_failure(folder, capsys):
    path = Path("net.pyhw")
    path.write_bytes(repacked(path.read_bytes(), tensor(mask, lambda bits: bits[:-1])))
    assert cli.main(["compile", "net.pyhw", "--config", "masked.json"]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "mask of 192 weights must have 24 bytes, not 23" in lines[0]


def test_weights_that_do_not_fit_are_one_line_and_a_failure(folder, capsys):
    assert cli.main(["compile", "net.pyhw", "--config", "masked.json", "--set", "prototypes=0",
                     "--set", "weight_words=10"]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "or with prototypes of at least 93 and weight_words of at least 6" in lines[0]

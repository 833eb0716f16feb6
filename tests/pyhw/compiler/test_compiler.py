"""The compiler: programs mean what their graphs mean, and what cannot run is refused clearly."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import pyhw
from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.codes import conv_weights
from pyhw.compiler.disassemble import layer_instructions
from pyhw.compiler.fold import fold_input
from pyhw.compiler.loop_nest import burst_length
from pyhw.compiler.lower import split_steps
from pyhw.compiler.packing import CodeOrder, pack_words
from pyhw.graph.execute import accumulators, run_layers
from pyhw.graph.file import load
from pyhw.graph.ops import Concat, Conv, Graph, Input, Permute, Pointwise, Pool, Post, Step
from pyhw.graph.random import Limits, random_graph
from pyhw.graph.verify import verify
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.l1 import L1Engine
from pyhw.hdl.engines.shift import ShiftEngine
from pyhw.hdl.formats import Format, ShiftCode
from pyhw.hdl.isa import INPUT
from pyhw.hdl.port import unfold
from pyhw.hdl.presets import PRESETS
from tests.support.program_reference import run_program
from tests.support.small_graphs import DEPTHWISE, depthwise_case


def engine(rows, lanes, code_width=8, acc_width=20):
    return EngineConfig(rows=rows, lanes=lanes, code_width=code_width, acc_width=acc_width)


MEMORY = {"scratch_bytes": 16384, "weight_words": 4096, "param_records": 256,
          "program_words": 512, "index_entries": 512}
CONFIGS = {
    config.name: config for config in (
        Config.of(name="odd", groups=3, l1=engine(5, 7, 8, 22), shift=engine(4, 9, 5, 30),
               pool_lanes=3, pool_acc_width=16, taps=3, burst_depth=9, load_bits=64, post_width=2,
               tables=4, **MEMORY),
        Config.of(name="one", l1=engine(1, 1, 8, 24), shift=engine(1, 1, 4, 24), pool_lanes=1,
               burst_depth=3, load_bits=8, tables=4, **MEMORY | {"weight_words": 65536}),
        Config.of(name="l1_only", groups=2, l1=engine(6, 10, 6), pool_lanes=5, taps=2,
                  burst_depth=16,
               load_bits=32, post_width=3, residual_terms=0, second_step=False, tables=0, **MEMORY),
        Config.of(name="shift_only", shift=engine(7, 5, 3), pool_lanes=7, taps=5, burst_depth=12,
               load_bits=16, terms=2, second_step=False, distributed=False, **MEMORY),
        Config.of(name="nines", l1=engine(3, 3, 6), shift=engine(2, 5, 4), pool_lanes=2,
               burst_depth=16, load_bits=18, post_width=2, overlap=False,
               **MEMORY | {"weight_words": 32768}),
        PRESETS["default"],
    )
}
CONFIG = CONFIGS["odd"]
U8 = Format(8)
MODELS = pyhw.MODELS


def step(channels, fmt=U8, **changes):
    fields = {"m_sign": [[1] * channels], "m_exponent": [[0] * channels], "bias": [0] * channels,
              "shift": [0] * channels, "fmt": fmt} | changes
    return Step(**fields)


def residual_step(channels, fmt=U8, **changes):
    return step(channels, fmt, r_sign=[[1] * channels], r_exponent=[[0] * channels], **changes)


def graph(*ops, shape=(4, 5, 3), fmt=U8, output=None):
    return verify(Graph("net", (Input(name="image", shape=shape, fmt=fmt), *ops),
                        output or ops[-1].name))


def l1(out, kernel, channels, *, name="layer", value=3, **fields):
    fields = {"post": Post(step(out)), "input": "image"} | fields
    return Conv(name=name, term="l1", weight=np.full((out, *kernel, channels), value), **fields)


def shift(out, kernel, channels, *, name="layer", exponent=1, digits=1, width=4, **fields):
    fields = {"post": Post(step(out)), "input": "image", "code_width": width} | fields
    shape = (digits, out, *kernel, channels)
    return Conv(name=name, term="shift", sign=np.ones(shape, int),
                exponent=np.full(shape, exponent), **fields)


def small_limits(config):
    """Return limits for networks that plain loops walk in a fraction of a second."""
    return Limits(
        engines=tuple(config.engines), work=3000, max_side=6, max_channels=14, max_images=16,
        code_widths={name: (one.code_width,) for name, one in config.engines.items()},
        acc_width=min(e.acc_width for e in config.engines.values()),
        terms=min(config.post.terms, config.residual.terms or config.post.terms),
        residual=config.residual.exists, tables=config.post.tables > 0, wide=config.residual.exists,
        permute=config.memory.index_entries > 0)


def agree(net, config, images, batch=3):
    program = compile_graph(net, config, batch)
    golden = run_layers(net, images)
    found = run_program(program, config, images)
    assert net.output in found
    for name, value in found.items():
        if name in golden:
            np.testing.assert_array_equal(value, golden[name], err_msg=f"layer {name}")
    return program


# Meaning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_programs_of_random_networks_compute_their_graphs(name):
    config, compiled = CONFIGS[name], 0
    for seed in range(100, 112):
        net, images = random_graph(seed, small_limits(config))
        try:
            program = agree(net, config, images[:3])
        except CompileError:
            continue  # a memory is too small
        compiled += 1
        # Maps that are needed at once lie apart, inside the scratchpad.
        for number, place in enumerate(program.placements):
            assert 0 <= place.base <= place.base + place.size <= config.memory.scratch_bytes
            for other in program.placements[:number]:
                if other.name == place.replaces:
                    assert other.base == place.base
                    assert other.last == place.first or other.last == place.last
                elif place.first <= other.last and other.first <= place.last:
                    assert (place.base + place.size <= other.base
                            or other.base + other.size <= place.base)
    assert compiled >= 8


@pytest.mark.parametrize("changes", DEPTHWISE, ids=str)
@pytest.mark.parametrize(("name", "width"), [
    ("odd", 8), ("odd", -5), ("l1_only", 6), ("shift_only", -3),
])  # fmt: skip
def test_depthwise_layers_run_channel_by_channel(name, width, changes):
    net, images = depthwise_case("l1" if width > 0 else "shift", abs(width), **changes)
    program = agree(net, CONFIGS[name], images, batch=len(images))
    (layer,) = layer_instructions(program, CONFIGS[name])
    nest, warmup = layer.nest, layer.chain.warmup
    assert layer.chain.depthwise
    conv, taps = net.ops[1], CONFIGS[name].depthwise.columns
    together = max(c for c in range(1, taps + 1) if conv.kernel[1] % c == 0)
    if conv.stride[1] == conv.dilation[1] == 1 and nest.n_x <= CONFIGS[name].burst_depth:
        assert warmup == together - 1
        assert warmup == 0 or nest.burst % nest.n_x == 0
    else:
        assert warmup == 0


def test_depthwise_sums_must_fit_the_pooling_accumulators():
    few = CONFIGS["l1_only"].changed(pool_acc_width=10)
    with pytest.raises(CompileError, match="13 bits and the pooling accumulators have 10"):
        compile_graph(graph(l1(8, (3, 3), 1, groups=8), shape=(4, 5, 8)), few)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    ((5, 5), (1, 1), (2, 2, 2, 2)), ((3, 2), (2, 1), (1, 0, 0, 1)), ((4, 3), (3, 2), (0, 0, 0, 0)),
    ((2, 5), (1, 3), (1, 1, 0, 2)), ((5, 1), (4, 1), (0, 0, 3, 0)),
])  # fmt: skip
def test_a_folded_input_is_the_same_convolution(channels, kernel, stride, padding):
    config = Config.of(l1=engine(2, 80))
    rng = np.random.default_rng(channels)
    conv = Conv(name="layer", input="image", term="l1", stride=stride, padding=padding,
                weight=rng.integers(0, 256, (2, *kernel, channels)),
                pad_value=rng.integers(0, 256, channels), post=Post(step(2)))
    net = graph(conv, shape=(9, 8, channels))
    folded = fold_input(net, config, 1)
    assert folded.conv is not None
    image = rng.integers(0, 256, (1, 9, 8, channels))
    written = unfold.compute(folded.record, image.astype(np.uint8).tobytes())
    assert sorted(written) == list(range(folded.map.size))
    stored = np.array([written[a] for a in sorted(written)]).reshape(1, *folded.map.shape)
    np.testing.assert_array_equal(accumulators(folded.conv, stored, U8),
                                  accumulators(conv, image, U8))
    INPUT.encode(**folded.record)


def test_an_input_is_folded_only_where_that_fills_more_lanes():
    config = PRESETS["default"]
    image = {"shape": (9, 9, 1)}
    other = l1(1, (5, 5), 1, name="other", padding=(2, 2, 2, 2))
    assert fold_input(graph(l1(1, (5, 5), 1), **image), config, 1).conv is not None
    assert fold_input(graph(l1(1, (1, 5), 1), **image), config, 1).conv is None
    assert fold_input(graph(l1(1, (9, 9), 1), **image), config, 1).conv is None  # one run anyway
    assert fold_input(graph(l1(1, (5, 5), 1, dilation=(2, 1)), **image), config, 1).conv is None
    assert fold_input(graph(l1(1, (2, 2), 5), shape=(9, 9, 5)), config, 1).conv is None
    two = graph(l1(1, (5, 5), 1, padding=(2, 2, 2, 2)), other,
                Concat(name="both", inputs=("layer", "other")), **image)
    assert fold_input(two, config, 1).conv is None


def test_an_input_is_stored_as_it_comes_where_there_is_no_room_to_unfold_it():
    net = graph(l1(2, (5, 5), 1, padding=(2, 2, 2, 2)), shape=(9, 8, 1))
    images = np.random.default_rng(0).integers(0, 256, (1, 9, 8, 1))
    config = PRESETS["tiny"].changed(scratch_bytes=1024)
    folded = agree(net, config, images, 1)
    plain = agree(net, config.changed(scratch_bytes=72 + 2 * 72), images, 1)
    assert folded.input.slot_bytes == 5 * plain.input.slot_bytes == 5 * 72
    assert compile_graph(net, config, 1, fold=False).input == plain.input
    with pytest.raises(CompileError, match="take a configuration with scratch_bytes of at least"):
        compile_graph(net, config.changed(scratch_bytes=72 + 72), 1)


def test_an_input_that_is_also_a_residual_is_not_folded():
    conv = l1(1, (3, 3), 1, padding=(1, 1, 1, 1),
              post=Post(residual_step(1, bias=[200], shift=[2]), residual="image"))
    images = np.random.default_rng(0).integers(0, 40, (3, 5, 6, 1))
    agree(graph(conv, shape=(5, 6, 1)), PRESETS["default"], images)


def test_an_image_may_have_any_number_of_channels():
    net = graph(shift(3, (1, 1), 784, exponent=0, post=Post(step(3, shift=[9] * 3))),
                shape=(1, 1, 784))
    config = CONFIG.changed(weight_words=8192)
    agree(net, config, np.random.default_rng(0).integers(0, 256, (3, 1, 1, 784)))


@pytest.mark.parametrize("fmt", [Format(8), Format(6, True)])
def test_l1_values_exceed_the_accumulators_by_the_constant(fmt):
    rng = np.random.default_rng(4)
    ex, ew = (0, 1) if fmt.width == 8 else (2, 1)
    limit = Format(7, fmt.signed)
    weight = rng.integers(limit.min, limit.max + 1, (4, 3, 2, 3))
    conv = Conv(name="layer", input="image", term="l1", weight=weight, ex=ex, ew=ew,
                post=Post(step(4)))
    engine = EngineConfig(rows=4, lanes=4, code_width=8, acc_width=20)
    taps = [np.arange(18)[k:k + 4] for k in range(0, 18, 4)]
    order = CodeOrder.dense(taps, [range(4)], engine.rows, engine.lanes)
    weights = conv_weights(conv, engine, fmt, order, np.zeros(3, int))
    x = rng.integers(fmt.min, fmt.max + 1, (1, 3, 2, 3))
    offset = 128 if fmt.signed else 0
    vectors = [[(int(v) << ex) + offset for v in x.reshape(-1)[tap]]
               + [offset] * (4 - len(tap)) for tap in taps]
    codes = weights.codes[0].astype(np.int8 if fmt.signed else np.uint8).astype(int)
    operands = ((codes << ew) + offset).tolist()
    values = L1Engine.compute(SimpleNamespace(rows=4), vectors, operands)
    acc = accumulators(conv, x, fmt).reshape(4)
    assert (np.array(values) - weights.constant).tolist() == acc.tolist()


@pytest.mark.parametrize("width", [3, 4, 5])
def test_shift_values_exceed_the_accumulators_by_the_constant(width):
    rng = np.random.default_rng(width)
    code = ShiftCode(width)
    shape = (2, 4, 3, 2, 3)
    conv = Conv(name="layer", input="image", term="shift", sign=rng.integers(-1, 2, shape),
                exponent=rng.integers(0, code.max_exponent + 1, shape), code_width=width,
                post=Post(step(4)))
    engine = EngineConfig(rows=4, lanes=4, code_width=width, acc_width=32)
    taps = [np.arange(18)[k:k + 4] for k in range(0, 18, 4)]
    fmt = Format(8, True)
    order = CodeOrder.dense(taps, [range(4)], engine.rows, engine.lanes)
    weights = conv_weights(conv, engine, fmt, order, np.zeros(3, int))
    x = rng.integers(-128, 128, (1, 3, 2, 3))
    vectors = [[int(v) for v in x.reshape(-1)[tap]] + [0] * (4 - len(tap))
               for tap in taps for _ in range(2)]
    values = ShiftEngine.compute(SimpleNamespace(rows=4, _code=code), vectors,
                                 weights.codes[0].tolist())
    acc = accumulators(conv, x, fmt).reshape(4)
    assert (np.array(values) - weights.constant).tolist() == acc.tolist()


@pytest.mark.parametrize(("load_bits", "width"), [
    (8, 8), (8, 3), (16, 5), (18, 6), (36, 8), (64, 4), (128, 6),
])  # fmt: skip
def test_codes_are_packed_from_bit_0_up(load_bits, width):
    config = CONFIG.changed(l1=replace(CONFIG.engines.get("l1"), code_width=min(width, 8)),
                            load_bits=load_bits)
    codes = np.random.default_rng(1).integers(0, 1 << width, (3, 29)).astype(np.uint8)
    words = pack_words(config, codes, width)
    per_word = load_bits // width
    assert words.shape == (3, -(-29 // per_word), config.weights.load_bytes)
    for number, codes_of_step in enumerate(codes):
        for index, word in enumerate(words[number]):
            part = codes_of_step[index * per_word:(index + 1) * per_word]
            wanted = sum(int(code) << k * width for k, code in enumerate(part))
            assert int.from_bytes(word.tobytes(), "little") == wanted


# Splitting, batches, bursts -----------------------------------------------------------------------


def two_steps(**second):
    return l1(3, (1, 1), 3, post=Post(step(3), second=step(3, **second)))


def test_a_second_step_becomes_a_layer_where_the_hardware_has_none():
    net = graph(two_steps())
    config = CONFIG.changed(second_step=False)
    assert [op.name for op in split_steps(net, CONFIG).ops] == ["image", "layer"]
    assert [op.name for op in split_steps(net, config).ops] == ["image", "layer.first", "layer"]
    agree(net, config, np.arange(180).reshape(3, 4, 5, 3))


def test_two_stored_maps_are_added_by_two_layers():
    first = l1(3, (1, 1), 3, name="a")
    both = l1(3, (1, 1), 3, post=Post(residual_step(3), second=residual_step(3), residual="a",
                                      residual2="image"))
    net = graph(first, both)
    assert [op.name for op in split_steps(net, CONFIG).ops] == [
        "image", "a", "layer.first", "layer"]
    agree(net, CONFIG, np.arange(180).reshape(3, 4, 5, 3))


def test_the_name_of_a_first_half_is_free_and_not_too_long():
    config = CONFIG.changed(second_step=False)
    long = "n" * 64
    post = Post(step(3), second=step(3))
    net = graph(l1(3, (1, 1), 3, name="a.first"),
                Pointwise(name="a", input="a.first", post=post),
                Pointwise(name=long, input="a", post=post))
    names = [op.name for op in verify(split_steps(net, config)).ops]
    assert names == ["image", "a.first", "a.first1", "a", "n" * 58 + ".first", long]


@pytest.mark.parametrize(("batch", "capacity", "slots"), [(1, 3, 1), (3, 3, 1), (4, 6, 2)])
def test_images_are_spread_over_groups(batch, capacity, slots):
    program = compile_graph(graph(l1(3, (1, 1), 3)), CONFIG, batch)
    assert (program.batch, program.groups) == (capacity, 3)
    sizes = {p.name: p.size for p in program.placements}
    assert sizes["image"] == slots * 4 * 5 * 3


@pytest.mark.parametrize("batch", [0, -1, 1.0, "2", None])
def test_a_batch_is_a_positive_integer(batch):
    with pytest.raises(ValueError, match="batch must be a positive integer"):
        compile_graph(graph(l1(3, (1, 1), 3)), CONFIG, batch)


def test_a_graph_that_breaks_a_rule_is_refused():
    bad = Graph("net", (Input(name="image", shape=(1, 1, 1), fmt=U8),
                        l1(1, (1, 1), 1, input="picture")), "layer")
    with pytest.raises(ValueError, match="picture"):
        compile_graph(bad, CONFIG)


def test_bursts_are_full_and_even():
    for positions in range(1, 100):
        burst = burst_length(positions, CONFIG.burst_depth)
        bursts = -(-positions // burst)
        assert burst <= CONFIG.burst_depth
        assert bursts == -(-positions // CONFIG.burst_depth)
        assert burst - (positions - (bursts - 1) * burst) < bursts


# Refusals -----------------------------------------------------------------------------------------


def table(channels=3):
    return Post(step(channels), table=np.arange(256), table_format=U8)


BIG = {"shape": (16, 16, 40)}
REFUSED = {
    "engine": (graph(shift(3, (1, 1), 3)), {"shift": None},
               "layer 'layer': needs the shift engine, which the configuration 'odd' does not "
               "have; take one with it"),
    "l1_codes": (graph(l1(3, (1, 1), 3, value=65)), {"l1": replace(CONFIG.engines.get("l1"),
                                                                   code_width=6)},
                 "layer 'layer': weights from 65 to 65 do not fit the 6-bit codes of the L1 "
                 "engine; quantise to fewer bits or .* wider l1.code_width"),
    "shift_codes": (graph(shift(3, (1, 1), 3, exponent=3)),
                    {"shift": replace(CONFIG.engines.get("shift"), code_width=3)},
                    r"layer 'layer': exponent 3 does not fit the 3-bit codes .*\(0 to 2\); "
                    "take .* wider shift.code_width"),
    "l1_sums": (graph(l1(3, (4, 5), 3)), {"l1": replace(CONFIG.engines.get("l1"), acc_width=13)},
                "layer 'layer': its sums need 14 bits and the l1 engine's accumulators have 13; "
                "take a configuration with l1.acc_width of at least 14"),
    "shift_sums": (graph(shift(3, (4, 5), 3, exponent=6)),
                   {"shift": replace(CONFIG.engines.get("shift"), acc_width=20)},
                   "layer 'layer': its sums need 21 bits and the shift engine's .* have 20; "
                   "take .* shift.acc_width of at least 21"),
    "pool_sums": (graph(Pool(name="layer", input="image", kind="sum", kernel=(4, 5), stride=(1, 1),
                             post=Post(step(3)))), {"pool_acc_width": 12},
                  "layer 'layer': its sums need 14 bits and the pooling accumulators have 12; "
                  "take .* pool_acc_width of at least 14"),
    "index": (graph(Permute(name="layer", input="image", index=range(20))), {"index_entries": 0},
              "layer 'layer': permutes positions .* no index lists; take .* index_entries above 0"),
    "index_size": (graph(Permute(name="layer", input="image", index=range(20))),
                   {"index_entries": 19}, "its index lists take 20 entries and the memory has 19; "
                   "take a configuration with index_entries of at least 20"),
    "residual": (graph(Pointwise(name="layer", input="image",
                                 post=Post(residual_step(3), residual="image"))),
                 {"residual_terms": 0}, "layer 'layer': adds a stored map and the configuration "
                 "has no residual unit; take a configuration with residual_terms of at least 1"),
    "wide": (graph(l1(3, (1, 1), 3, name="a", post=Post(step(3, Format(12, True)))),
                   Pointwise(name="layer", input="a", post=Post(step(3)))),
             {"residual_terms": 0}, "layer 'layer': reads a map of more than 8 bits and .* no "
             "residual unit; take a configuration with residual_terms of at least 1"),
    "wide_residual": (graph(l1(3, (1, 1), 3, name="a", post=Post(step(3, Format(12, True)))),
                            Pointwise(name="layer", input="a", post=Post(step(3)))),
                      {"residual_wide": False}, "layer 'layer': adds or reads a map of more than 8 "
                      "bits .* take a configuration with residual_wide"),
    "exponent": (graph(l1(3, (1, 1), 3, post=Post(step(3, U8, m_exponent=[[11] * 3])))),
                 {"exponent": 10}, "layer 'layer': its multipliers have exponents up to 11 and the "
                 "post-processor's go to 10; take .* of at least 11, or .* --exponent 10"),
    "sums": (graph(l1(3, (1, 1), 3, post=Post(step(3, U8, bias=[0, 1 << 20, 0])))),
             {"sum_bits": 21}, "layer 'layer': its sums take 22 bits and the post-processor's have "
             "21; take a configuration with sum_bits of at least 22, or 0"),
    "table": (graph(l1(3, (1, 1), 3, post=table())), {"tables": 0},
              "layer 'layer': uses a function table and the configuration has none; take .* "
              "tables of at least 1"),
    "tables": (graph(l1(3, (1, 1), 3, name="a", post=table()),
                     Pointwise(name="layer", input="a", post=replace(
                         table(), table=np.arange(255, -1, -1)))), {"tables": 1},
               "its tables take 2 entries and the memory has 1; take .* tables of at least 2"),
    "terms": (graph(l1(3, (1, 1), 3, post=Post(step(
        3, m_sign=[[1, 0, 0], [-1, 0, 1]], m_exponent=[[3, 0, 0], [0, 0, 5]])))), {"terms": 1},
        "layer 'layer': its multipliers have 2 terms and the post-processor takes 1; take .* "
        "terms of at least 2"),
    "residual_terms": (graph(Pointwise(name="layer", input="image", post=Post(step(
        3, r_sign=np.ones((3, 3), int), r_exponent=np.arange(9).reshape(3, 3)), residual="image"))),
        {"residual_terms": 2}, "layer 'layer': its residual's multipliers have 3 terms .* takes 2"),
    "second_terms": (graph(two_steps(m_sign=np.ones((4, 3), int), m_exponent=[[0, 1, 2]] * 4)), {},
                     "layer 'layer': its multipliers have 4 terms .* takes 3"),
    "maximum": (graph(Pool(name="layer", input="image", kind="max", kernel=(2, 2), stride=(2, 2),
                           post=Post(step(3)))), {"pool_max": False},
                "layer 'layer': is a maximum and the pooling unit only adds up; take .* pool_max"),
    "padding": (graph(l1(1, (1, 255), 5, padding=(0, 127, 0, 127)), shape=(1, 3, 5)),
                {"scratch_bytes": 256, "weight_words": 1 << 12},
                "layer 'layer': its padding reaches .* bytes beside a row and the hardware counts"),
    "weights": (graph(l1(40, (3, 3), 40), shape=(5, 5, 40)), {"weight_words": 999},
                r"layer '\(whole program\)': its weights take \d+ entries and the memory has 999; "
                r"take a configuration with weight_words of at least \d+"),
    "records": (graph(l1(40, (1, 1), 3)), {"param_records": 39},
                "its records take 40 entries .* has 39; take .* param_records of at least 40"),
    "program": (graph(*(Pointwise(name=f"p{k + 1}", input=f"p{k}" if k else "image",
                                  post=Post(step(3))) for k in range(9))), {"program_words": 64},
                r"its instructions take \d+ entries .* has 64; take .* program_words"),
    "scratch": (graph(l1(40, (1, 1), 40), **BIG), {},
                "layer 'layer': its map of 10240 bytes ends 4096 bytes beyond the scratchpad of "
                "16384; take a configuration with scratch_bytes of at least 20480"),
    "row": (graph(Pointwise(name="layer", input="image", post=Post(step(2))), shape=(1, 32768, 2)),
            {"scratch_bytes": 1 << 22}, "layer 'image': a row of 65536 bytes is too long; use "
            "images with at most 65535 bytes a row"),
    "field": (graph(Pool(name="layer", input="image", kind="max", kernel=(1, 1), stride=(1, 255),
                         post=Post(step(5000))), shape=(1, 1, 5000)), {"param_records": 5000},
              r"layer 'layer': too large for the instruction set: window.xb_x must be .*; use a "
              "smaller map or kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_layer_reason_and_remedy(case):
    net, changes, message = REFUSED[case]
    with pytest.raises(CompileError, match=message) as caught:
        compile_graph(net, CONFIG.changed(**changes))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("layer '")


def test_the_post_processor_holds_the_largest_sums_that_the_rules_allow():
    sign, exponent = np.ones((4, 1), int), np.full((4, 1), 16)
    extreme = {"m_sign": sign, "m_exponent": exponent, "r_sign": sign, "r_exponent": exponent,
               "bias": [2**31 - 1], "shift": [31]}
    small = CONFIG.changed(groups=1, terms=4, residual_terms=4, shift=None,
                    l1=replace(CONFIG.engines.get("l1"), acc_width=8), pool_acc_width=9)
    wide = Pointwise(name="wide", input="image", post=Post(step(1, Format(16))))
    net = graph(wide, l1(1, (1, 1), 1, post=Post(Step(fmt=U8, **extreme), residual="wide")),
                Pointwise(name="last", input="layer", post=Post(
                    step(1), second=Step(fmt=U8, **extreme), residual2="wide")),
                shape=(3, 3, 1))
    agree(net, small, np.full((1, 3, 3, 1), 255))


# Memory -------------------------------------------------------------------------------------------


def chain(*, fmt=U8, reread=False, wide_residual=False):
    """Return a block of a residual network: two layers beside a map, then one that reads the sum.

    `wide_residual` gives the map a format of two bytes, `reread` lets the last layer add it again.
    """
    stored = Format(12) if wide_residual else U8
    head = Pointwise(name="head", input="image", post=Post(step(3, stored)))
    ops = [
        head,
        l1(3, (3, 3), 3, name="inner", input="image" if wide_residual else "head",
           padding=(1, 1, 1, 1)),
        l1(3, (3, 3), 3, name="sum", input="inner", padding=(1, 1, 1, 1),
           post=Post(residual_step(3, fmt), residual="head")),
    ]
    if fmt.bytes == 1:  # engines read bytes
        ops.append(l1(3, (3, 3), 3, name="end", input="sum", padding=(1, 1, 1, 1),
                      post=Post(residual_step(3), residual="head") if reread else Post(step(3))))
    return graph(*ops, shape=(6, 6, 3))


def places(net, config=CONFIG, batch=1):
    return {p.name: p for p in compile_graph(net, config, batch).placements}


def test_a_sum_takes_the_place_of_its_residual():
    net = chain()
    found = places(net)
    assert found["sum"].replaces == "head"
    assert found["sum"].base == found["head"].base
    assert max(p.base + p.size for p in found.values()) == 2 * 6 * 6 * 3
    agree(net, CONFIG, np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)))


@pytest.mark.parametrize("changes", [
    {"reread": True}, {"wide_residual": True}, {"fmt": Format(12)},
], ids=["read again later", "values of other sizes", "sum of another size"])
def test_a_sum_lies_beside_a_residual_whose_bytes_it_must_not_touch(changes):
    net = chain(**changes)
    found = places(net)
    assert found["sum"].replaces == ""
    low, high = sorted((found["sum"], found["head"]), key=lambda place: place.base)
    assert low.base + low.size <= high.base
    agree(net, CONFIG, np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)))


def test_a_map_is_not_replaced_while_windows_read_it():
    head = Pointwise(name="head", input="image", post=Post(step(3)))
    net = graph(head, l1(3, (3, 3), 3, name="sum", input="head", padding=(1, 1, 1, 1),
                         post=Post(residual_step(3), residual="head")),
                l1(2, (1, 1), 3, name="last", input="sum"))
    assert places(net)["sum"].replaces == ""


def test_the_input_may_be_replaced_and_the_output_may_replace():
    net = graph(l1(3, (1, 1), 3, name="inner"),
                l1(3, (1, 1), 3, name="sum", input="inner",
                   post=Post(residual_step(3), residual="image")))
    found = places(net)
    assert found["sum"].replaces == "image"
    agree(net, CONFIG, np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)))


def test_a_network_of_residual_blocks_needs_two_of_its_largest_maps():
    # The first layer's input is larger than what is free beside a map in order of first use.
    net = load(MODELS / "resnet8_adder.pyhw")
    config = PRESETS["large"].changed(scratch_bytes=2 * 32 * 32 * 16)
    assert places(net, config, 4)["layer1.0.conv2"].replaces
    with pytest.raises(CompileError, match="scratch_bytes of at least 32768"):
        compile_graph(net, config.changed(scratch_bytes=32736), 4)

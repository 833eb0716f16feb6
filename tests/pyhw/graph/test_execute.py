import subprocess
import sys

import numpy as np
import pytest

from pyhw.graph.execute import accumulators, check_images, predict, run, run_layers
from pyhw.graph.infer import formats, shapes
from pyhw.graph.ops import Conv, Graph, Input, MapType, Pointwise, Pool, Post, Step
from pyhw.graph.random import Limits, random_graph
from pyhw.graph.terms.l1 import FLUSH
from pyhw.hdl.formats import Format, apply_terms
from pyhw.hdl.signed_digits import nearest_terms
from tests.support.graph_reference import evaluate

U8, S8, S32 = Format(8), Format(8, True), Format(32, True)
SMALL = Limits(max_side=6, max_channels=9, work=1500)


def step(channels, fmt=S32, shift=0, bias=0, m=1):
    terms = nearest_terms(m)
    sign, exponent = (np.tile(np.array(part)[:, None], channels) for part in zip(*terms))
    return Step(sign, exponent, np.full(channels, bias), np.full(channels, shift), fmt)


def graph_of(*ops):
    return Graph("g", ops, ops[-1].name)


def l1(weight, channels_in=None, fmt=U8, side=4, **fields):
    weight = np.asarray(weight)
    shape = (side, side, channels_in or weight.shape[3])
    conv = Conv(name="c", input="x", term="l1", weight=weight, post=Post(step(len(weight))),
                **fields)  # fmt: skip
    return graph_of(Input(name="x", shape=shape, fmt=fmt), conv)


@pytest.mark.parametrize("seed", range(70))
def test_every_value_of_a_random_network_equals_plain_loops(seed):
    graph, images = random_graph(seed, SMALL)
    equals_plain_loops(graph, images[:2])


def equals_plain_loops(graph, images):
    layers = run_layers(graph, images, compiled=False)
    for n in range(len(images)):
        for name, values in evaluate(graph, images[n], shapes(graph), formats(graph)).items():
            assert {at: int(layers[name][n][at]) for at in values} == values, name


def test_both_steps_may_have_a_residual_each():
    rng = np.random.default_rng(4)
    one = np.ones((1, 3), int)

    def scaled(exponent, fmt):
        return Step(one, one, np.full(3, 9), np.full(3, 2), fmt, -one, one * exponent)

    graph = graph_of(
        Input(name="x", shape=(2, 3, 3), fmt=S8),
        Pointwise(name="y", input="x", post=Post(step(3, Format(16, True), m=77))),
        Pointwise(name="z", input="x", post=Post(
            scaled(0, S8), second=scaled(1, Format(12, True)), residual="x", residual2="y")),
    )  # fmt: skip
    equals_plain_loops(graph, rng.integers(-128, 128, (3, 2, 3, 3)))


def test_a_maximum_leaves_padded_taps_out_even_among_negative_values():
    pool = Pool(name="p", input="x", kind="max", kernel=(3, 2), stride=(2, 1),
                padding=(2, 1, 1, 0), post=Post(step(2)))  # fmt: skip
    graph = graph_of(Input(name="x", shape=(4, 3, 2), fmt=S8), pool)
    images = np.random.default_rng(5).integers(-128, -100, (2, 4, 3, 2))
    equals_plain_loops(graph, images)
    assert run(graph, images).max() < 0


@pytest.mark.parametrize("fmt", [U8, S8, Format(3), Format(4, True)], ids=str)
def test_l1_accumulators_of_long_sums_and_all_block_sizes_equal_the_broadcast_form(fmt):
    rng = np.random.default_rng(1)
    limit = Format(8, fmt.signed)
    x = rng.integers(fmt.min, fmt.max + 1, (37, 3, 2, 50))
    weight = rng.integers(limit.min, limit.max + 1, (19, 3, 2, 50))  # 300 taps: over two flushes
    x[0], weight[0] = fmt.min, limit.max  # the longest distances
    graph = graph_of(
        Input(name="x", shape=(3, 2, 50), fmt=fmt),
        Conv(name="c", input="x", term="l1", weight=weight, post=Post(step(19))),
    )
    expected = -np.abs(x[:, None] - weight[None]).sum(axis=(2, 3, 4))
    np.testing.assert_array_equal(run(graph, x)[:, 0, 0], expected)
    assert x[0].size > FLUSH


def test_the_batch_size_changes_no_result():
    graph, images = random_graph(3)
    whole = run(graph, images)
    for batch in (1, 5, len(images)):
        np.testing.assert_array_equal(run(graph, images, batch=batch), whole)


def test_progress_counts_images():
    graph, images = random_graph(3)
    calls = []
    run(graph, images[:7], batch=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 7), (6, 7), (7, 7)]


def test_run_gives_the_output_of_run_layers():
    graph, images = random_graph(11)
    np.testing.assert_array_equal(run(graph, images), run_layers(graph, images)[graph.output])


def test_ties_of_the_argmax_go_to_the_lowest_index():
    graph = graph_of(
        Input(name="x", shape=(1, 1, 4), fmt=U8),
        Pointwise(name="p", input="x", post=Post(step(4))),
    )
    images = np.array([[1, 9, 9, 0], [5, 5, 5, 5], [0, 1, 2, 3]], np.uint8).reshape(3, 1, 1, 4)
    assert predict(graph, images).tolist() == [1, 0, 3]


@pytest.mark.parametrize("fmt", [U8, S8, Format(5), Format(6, True)], ids=str)
@pytest.mark.parametrize("padded", [False, True])
def test_weights_clipped_to_the_inputs_range_differ_by_a_constant_per_channel(fmt, padded):
    # ALGORITHMS 7.5: what clipping takes off goes to the bias, exactly, for padded taps too.
    rng = np.random.default_rng(2)
    limit = Format(8, fmt.signed)
    weight = rng.integers(limit.min, limit.max + 1, (6, 3, 3, 4)).astype(np.int64)
    if not fmt.signed:
        weight[0] = 0  # all at an end of the range
    clipped = weight.clip(fmt.min, fmt.max)
    constant = np.abs(weight - clipped).sum(axis=(1, 2, 3))
    fields = {}
    if padded:
        pad = rng.integers(fmt.min, fmt.max + 1, 4)
        fields = {"padding": (2, 1, 0, 3), "pad_value": pad}
    images = rng.integers(fmt.min, fmt.max + 1, (5, 4, 4, 4))
    exact = run(l1(weight, fmt=fmt, **fields), images)
    np.testing.assert_array_equal(run(l1(clipped, fmt=fmt, **fields), images) - constant, exact)


def test_a_bias_from_the_quantised_multiplier_keeps_its_error_off_the_mean():
    # L1's mean is large beside its spread; B = round(2^S (beta - m_q mean)) cancels it whatever
    # was rounded off in m, while a bias from the real m would be off by (m_q - m) mean.
    rng = np.random.default_rng(3)
    acc = rng.normal(-20000, 300, 4000).round().astype(np.int64)
    mean, gain, beta, shift = acc.mean(), 0.1017, 20.0, 12
    terms = nearest_terms(gain * 2**shift, 2)
    quantised = apply_terms(1, terms) / 2**shift
    error = abs(quantised - gain)
    assert error > 1e-4
    exact = gain * (acc - mean) + beta
    worst = np.abs(acc - mean).max()

    def result(m):
        bias = round(2**shift * (beta - m * mean))
        return (apply_terms(acc, terms) + bias + 2 ** (shift - 1)) >> shift

    assert np.abs(result(quantised) - exact).max() <= error * worst + 0.5 + 2**-shift
    assert np.abs(result(gain) - exact).mean() > 0.9 * error * abs(mean)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_and_are_reached_by_the_worst_inputs(seed):
    graph, images = random_graph(seed, Limits(max_ops=1, concat=False, permute=False))
    op, fmt, (height, width, channels) = graph.ops[1], graph.input.fmt, graph.input.shape
    operand = MapType((height, width, channels), fmt)
    low, high = op.acc_bounds(operand)
    acc = accumulators(op, images.astype(np.int64), fmt)
    assert (acc >= low).all()
    assert (acc <= high).all()
    least, most = op.partial_bounds(operand)
    assert (least <= np.minimum(low, 0)).all()
    assert (most >= np.maximum(high, 0)).all()
    if isinstance(op, Conv) and op.kernel == (height, width) and not any(op.padding):
        per_tap = np.arange(fmt.min, fmt.max + 1)
        weights = op.weight_values[..., None]
        if op.term == "l1":
            term = -np.abs((per_tap << op.ex) - weights)
        else:
            term = per_tap * weights
        np.testing.assert_array_equal(low, term.min(axis=-1).sum(axis=(1, 2, 3)))
        np.testing.assert_array_equal(high, term.max(axis=-1).sum(axis=(1, 2, 3)))


@pytest.mark.parametrize("signed", [False, True])
def test_l1_bounds_are_exact_for_every_weight_format_and_shift(signed):
    limit = Format(8, signed)
    for width in range(2, 9):
        fmt = Format(width, signed)
        for ex in range(9 - width):
            for ew in (0, 2):
                w = np.arange(limit.min >> ew, (limit.max >> ew) + 1)
                conv = Conv(name="c", input="x", term="l1", weight=w[:, None, None, None], ex=ex,
                            ew=ew, post=Post(step(len(w))))  # fmt: skip
                x = np.arange(fmt.min, fmt.max + 1)
                terms = -np.abs((x << ex) - (w[:, None] << ew))
                low, high = conv.acc_bounds(MapType((1, 1, 1), fmt))
                np.testing.assert_array_equal(low, terms.min(axis=1))
                np.testing.assert_array_equal(high, terms.max(axis=1))


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        (np.zeros((1, 4, 4, 1), np.float32), TypeError, "integer array, not float32"),
        ([[1]], TypeError, "integer array, not list"),
        (np.zeros((4, 4, 1), np.uint8), ValueError, r"shape \(N, 4, 4, 1\).*not \(4, 4, 1\)"),
        (np.zeros((1, 4, 5, 1), np.uint8), ValueError, r"not \(1, 4, 5, 1\)"),
        (np.zeros((0, 4, 4, 1), np.uint8), ValueError, "at least one"),
        (np.full((1, 4, 4, 1), 256), ValueError, r"from 0 to 255 \(u8\), not 256 to 256"),
        (np.full((1, 4, 4, 1), -1), ValueError, "not -1 to -1"),
    ],
)
def test_images_that_do_not_fit_the_input_are_refused_in_one_line(images, error, text):
    graph = l1(np.zeros((1, 1, 1, 1), int))
    with pytest.raises(error, match=text) as caught:
        check_images(graph, images)
    assert "\n" not in str(caught.value)
    with pytest.raises(error, match=text):
        run(graph, images)


def test_the_core_of_the_graph_imports_numpy_and_definitions_alone():
    script = (
        "import sys, pyhw.graph.file, pyhw.graph.execute, pyhw.graph.random, pyhw.graph.summary\n"
        "heavy = {'torch', 'onnx', 'amaranth', 'scipy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "gateware = {m for m in sys.modules if m.startswith('pyhw.hdl')}\n"
        "modules = ('formats', 'signed_digits', 'tokens', 'registry', 'engines', "
        "'engines.registry')\n"
        "gateware -= {f'pyhw.hdl.{name}' for name in modules}\n"
        "assert gateware == {'pyhw.hdl'}, gateware\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

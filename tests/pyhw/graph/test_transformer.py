"""Operations of transformers: against plain loops, the exports, and by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bench import transformer_graphs
from pyhw.cli.main import main
from pyhw.compiler import CompileError, compile_graph
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import from_bytes, save, to_bytes
from pyhw.graph.infer import formats, shapes
from pyhw.graph.ops import (
    Constant,
    Conv,
    Experts,
    Graph,
    Input,
    MapType,
    MatMul,
    Pointwise,
    Route,
    Slice,
    Stats,
    Transpose,
)
from pyhw.graph.post import Post, token_step
from pyhw.graph.random_transformer import random_transformer
from pyhw.graph.summary import summarise
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.tokens import (
    digits_of,
    layer_record,
    max_record,
    normalise,
    reciprocal_table,
    root_table,
    sum_record,
)
from tests.support.graph_reference import evaluate

U8, S8, S16 = Format(8), Format(8, True), Format(16, True)
SEEDS = range(24)


@pytest.fixture(scope="module")
def drawn():
    return [random_transformer(seed) for seed in SEEDS]


def plain(channels, fmt=S8):
    return Post(token_step(channels, fmt))


def by_token(channels, token, fmt=S8, **fields):
    return Post(token_step(channels, fmt), token=token, **fields)


def graph_of(*ops, output=None):
    return Graph("g", ops, output or ops[-1].name)


def norm(shape=(1, 2, 4), fmt=S8, read=None, **fields):
    """Return a graph of a layer norm."""
    fields = {"kind": "layer", "fraction": 5} | fields
    return graph_of(
        Input(name="x", shape=shape, fmt=fmt),
        Stats(name="s", input=read or "x", **fields),
        Pointwise(name="y", input="x", post=by_token(shape[2], "s")),
    )


def product(a, b, form="nt", fmt=S8, **fields):
    """Return a graph of a product of two parts of the images, of shapes a and b of one width."""
    width, channels = a[1], max(a[2], b[2])
    image = Input(name="x", shape=(a[0] + b[0], width, channels), fmt=fmt)
    made = MatMul(name="y", a="a", b="b", form=form, post=plain(1), **fields)
    types = MapType(a, fmt), MapType(b, fmt)
    made = replace(made, post=plain(made.infer(*types).channels, Format(24, True)))
    return graph_of(
        image,
        Slice(name="a", input="x", start=(0, 0, 0), stop=a),
        Slice(name="b", input="x", start=(a[0], 0, 0), stop=(a[0] + b[0], width, b[2])),
        made,
    )


# What is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3, 5, 8, 11, 13])
def test_every_value_equals_plain_loops(drawn, seed):
    graph, images = drawn[seed]
    layers = run_layers(graph, images)
    for name, values in evaluate(graph, images[1], shapes(graph), formats(graph)).items():
        assert {at: int(layers[name][1][at]) for at in values} == values, name


def test_corners_are_drawn(drawn):
    seen = set()
    for graph, images in drawn:
        values, sizes = run_layers(graph, images), shapes(graph)
        for op in graph.ops:
            seen.add(type(op).__name__)
            value = values[op.name]
            if isinstance(op, MatMul):
                tokens = math.prod(sizes[op.a][:2])
                seen |= {op.form, op.term, f"{op.coded} coded", f"{op.digits} digits"}
                seen |= {"heads"} if op.heads > 1 else {"one head"}
                seen |= {"slices"} if op.slices > 1 else set()
                seen |= {"one token"} if tokens == 1 else set()
                seen |= {"odd tokens"} if tokens & (tokens - 1) else set()
                seen |= {"odd channels"} if sizes[op.a][2] % 4 else set()
                if op.form == "nt":
                    share = np.mean((value == op.post.format.max) | (value == op.post.format.min))
                    seen |= {"saturated"} if share > 0.1 else set()
            if isinstance(op, Stats):
                seen |= {op.kind, f"{op.terms} terms"}
                least = 8 + normalise(op.floor, even=True)[1] // 2 - op.fraction
                if op.kind in ("layer", "l2") and (value[..., 2::3] == least).any():
                    seen.add("no variance")
            if isinstance(op, Route) and len(np.unique(value)) == 1:
                seen.add("empty expert")
    wanted = {
        "MatMul", "Stats", "Route", "Experts", "Constant", "Slice", "Transpose", "nt", "nn", "tn",
        "shift", "l1", "a coded", "b coded", "1 digits", "2 digits", "heads", "one head", "slices",
        "one token", "odd tokens", "odd channels", "saturated", "layer", "l2", "max", "sum",
        "1 terms", "2 terms", "3 terms", "4 terms", "no variance", "empty expert",
    }  # fmt: skip
    assert wanted <= seen, wanted - seen


def test_most_values_of_random_networks_vary(drawn):
    constant = total = 0
    for graph, images in drawn:
        for op, value in zip(graph.ops, run_layers(graph, images).values()):
            if op.posts:
                constant += len(np.unique(value)) == 1
                total += 1
    assert constant < total / 10


def test_the_command_compares_all_forms(tmp_path, capsys):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    log = tmp_path / "log.jsonl"
    arguments = ["--count", "1", "--export-every", "0", "--log", str(log)]
    for _ in range(2):  # the second time it goes on with the log
        assert transformer_graphs.main(["--seed", "21", *arguments]) == 0
        assert "1 graphs" in (text := capsys.readouterr().out)
        assert "0 differences" in text
    row = json.loads(log.read_text())
    assert row["values"] > 100
    log.write_text(json.dumps(row | {"onnx": 1}) + "\n")
    assert transformer_graphs.main(["--seed", "21", *arguments]) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_of_the_torch_module_equals_the_executor(drawn, seed):
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    from pyhw.graph.torch_export import IntegerModule

    graph, images = drawn[seed]
    layers = IntegerModule(graph).layers(torch.from_numpy(images))
    for name, expected in run_layers(graph, images).items():
        np.testing.assert_array_equal(layers[name].numpy(), expected, err_msg=name)


@pytest.mark.parametrize("seed", [0, 2, 5, 7])
def test_every_layer_of_the_onnx_model_equals_the_executor(drawn, seed):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    from pyhw.graph.onnx_export import onnx_model

    graph, images = drawn[seed]
    model = onnx_model(graph, layers=True)
    assert {node.domain for node in model.graph.node} == {""}
    session = runtime.InferenceSession(model.SerializeToString())
    dtype = np.int8 if graph.input.fmt.signed else np.uint8
    values = session.run(None, {graph.input.name: images.astype(dtype)})
    expected = run_layers(graph, images)
    for output, value in zip(session.get_outputs(), values, strict=True):
        np.testing.assert_array_equal(value, expected[output.name], err_msg=output.name)


def attention():
    """Return a graph of a norm and softmax attention of a map with itself."""
    table = np.zeros(256, int)
    table[np.arange(-63, 1) & 0xFF] = np.rint(255 * 2.0 ** (np.arange(-63, 1) / 8))
    return graph_of(
        *norm(shape=(2, 3, 4)).ops,
        MatMul(name="scores", a="y", b="y", form="nt", heads=2, post=plain(12)),
        Stats(name="top", input="scores", kind="max", terms=1, heads=2, fraction=3),
        Pointwise(name="exp", input="scores", post=by_token(
            12, "top", table=table, table_format=U8)),
        Stats(name="sum", input="exp", kind="sum", heads=2),
        MatMul(name="z", a="exp", b="y", form="nn", heads=2, post=by_token(4, "sum")),
    )


def test_the_saved_program_takes_a_batch_of_any_size(tmp_path):
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    from pyhw.graph.torch_export import save_torch

    graph = attention()
    images = np.random.default_rng(1).integers(-128, 128, (5, 2, 3, 4))
    save_torch(graph, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    expected = run(graph, images)
    for count in (1, 3, len(images)):
        found = program(torch.from_numpy(images[:count].astype(np.int64)))
        np.testing.assert_array_equal(found, expected[:count])


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_files_hold_them_as_version_4(drawn, seed):
    graph, _ = drawn[seed]
    data = to_bytes(graph)
    assert b'"version":4' in data
    assert from_bytes(data) == graph
    older = data.replace(b'"version":4', b'"version":3')
    with pytest.raises(ValueError, match=r"CRC|damaged"):
        from_bytes(older)


def test_files_without_them_are_as_they_were():
    graph = graph_of(Input(name="x", shape=(1, 1, 2), fmt=U8),
                     Pointwise(name="y", input="x", post=plain(2)))  # fmt: skip
    data = to_bytes(graph)
    assert b'"version":3' in data  # arrays are named again
    assert b"token" not in data


def test_the_compiler_refuses_them_in_one_line(drawn, tmp_path, capsys):
    graph, _ = drawn[0]
    with pytest.raises(CompileError, match="does not run on the accelerator; evaluate or export"):
        compile_graph(graph, PRESETS["default"], 1)
    save(graph, tmp_path / "t.pyhw")
    for command in ("compile", "fit"):
        assert main([command, str(tmp_path / "t.pyhw")]) == 1
        error = capsys.readouterr().err
        assert "does not run on the accelerator" in error
        assert error.count("\n") == 1


# Records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_multipliers_are_the_nearest_of_so_many_digits(terms):
    numbers = {0}
    for _ in range(terms):
        numbers |= {n + s * (1 << e) for n in numbers for s in (-1, 1) for e in range(9)}
    for table, first, wanted in (
        (root_table(terms), 64, lambda i: 256 / math.sqrt((i + 0.5) / 64)),
        (reciprocal_table(terms), 128, lambda i: 256 / ((i + 0.5) / 128)),
    ):
        assert len(table) == 256
        assert not any(table[:first])
        for index in range(first, 256):
            least = min(abs(n - wanted(index)) for n in numbers)
            assert abs(table[index] - wanted(index)) == pytest.approx(least), index


@pytest.mark.parametrize(("terms", "most"), [(2, 0.095), (3, 0.028), (4, 0.01)])
def test_scales_are_as_near_as_the_page_says(terms, most):
    for value in [*range(1, 3000), 2**40 - 1, 2**51 + 12345]:
        for table, even in ((root_table(terms), True), (reciprocal_table(terms), False)):
            index, exponent = normalise(value, even)
            found = table[index] * 2.0 ** -(8 + (exponent // 2 if even else exponent))
            assert abs(found * (math.sqrt(value) if even else value) - 1) <= most


def test_normalisation_finds_the_leading_one():
    assert normalise(1, even=True) == (64, 0)
    assert normalise(3, even=True) == (192, 0)
    assert normalise(4, even=True) == (64, 2)
    assert normalise(20, even=True) == (80, 4)
    assert normalise(471, even=False) == (235, 8)
    assert normalise(2**52 - 1, even=True) == (255, 50)


def test_the_example_of_a_layer_norm_by_hand():
    record = layer_record([1, 2, 3, 4], fraction=5, floor=1, terms=3)
    assert (record.m, record.bias, record.shift) == (4 * 228, -228 * 10, 5)
    made = run(norm(shape=(1, 1, 4)), np.array([1, 2, 3, 4]).reshape(1, 1, 1, 4))
    assert made.reshape(-1).tolist() == [-43, -14, 14, 43]


def test_the_example_of_a_softmax_by_hand():
    assert max_record([5, 12, 9], octave=2) == max_record([12], octave=2)
    assert max_record([5, 13, 9], octave=2).bias == -16
    assert max_record([-5, -7], octave=2).bias == 4
    record = sum_record([72, 255, 144], fraction=0, floor=1, terms=3)
    assert (record.m, record.shift) == (140, 16)
    assert (10140 * record.m + (1 << 15)) >> record.shift == 22


def test_a_row_without_variance_becomes_0():
    images = np.array([7, 7, 7, 7, 0, 0, 0, 0]).reshape(1, 1, 2, 4)
    assert not run(norm(), images).any()
    assert not run(norm(kind="l2"), images * 0).any()


def test_the_extremes_of_a_16_bit_row_are_exact():
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    from pyhw.graph.torch_export import IntegerModule

    # 8-bit images are scaled to 16 bits first.
    channels = 256
    wide = replace(token_step(channels, S16), shift=np.zeros(channels, int),
                   m_exponent=np.full((1, channels), 8))  # fmt: skip
    graph = graph_of(
        Input(name="x", shape=(1, 1, channels), fmt=S8),
        Pointwise(name="w", input="x", post=Post(wide)),
        Stats(name="s", input="w", kind="layer", fraction=3),
        Pointwise(name="y", input="w", post=by_token(channels, "s")),
    )
    images = np.full((4, 1, 1, channels), -128)
    images[1, ..., 1:] = 127
    images[2, ..., ::2] = 127
    images[3] = 127
    made = run(graph, images)
    assert made[1].min() == -128  # clamped: 16 deviations
    assert set(made[2].reshape(-1)) == {-8, 8}
    np.testing.assert_array_equal(IntegerModule(graph)(torch.from_numpy(images)), made)
    small = tuple(int(v) * 256 for v in images[1].reshape(-1))
    record = layer_record(small, 3, 1, 3)
    assert run_layers(graph, images)["s"][1].reshape(-1).tolist() == [
        record.m, record.bias, record.shift]  # fmt: skip


# Products --------------------------------------------------------------------------------------


def test_scores_are_products_of_rows():
    graph = product((1, 2, 2), (1, 2, 2), "nt")
    images = np.array([[[[1, 2], [3, 4]], [[5, 6], [7, -8]]]])
    assert run(graph, images).tolist() == [[[[17, -9], [39, -11]]]]
    graph = product((1, 2, 2), (1, 2, 2), "nt", term="l1", digits=1, code_width=None)
    assert run(graph, images).tolist() == [[[[-8, -16], [-4, -16]]]]


def test_a_memory_is_a_product_of_columns():
    graph = product((1, 2, 2), (1, 2, 2), "tn")
    images = np.array([[[[1, 2], [3, 4]], [[5, 6], [7, -8]]]])
    assert run(graph, images).tolist() == [[[[26, -18], [38, -20]]]]


def test_digits_are_proven_from_the_format_or_the_table():
    verify(product((1, 2, 2), (1, 2, 2), digits=4))
    with pytest.raises(ValueError, match="'y': a value of 'b' takes 4 digits of 5 bits, more tha"):
        verify(product((1, 2, 2), (1, 2, 2), digits=3))
    table = np.zeros(256, int)
    table[3:] = 64
    powers = Pointwise(name="p", input="x", post=Post(token_step(2, S8), table=table,
                                                      table_format=U8))  # fmt: skip
    shift = MatMul(name="y", a="p", b="x", form="nt", post=plain(2), coded="a", digits=1)
    graph = graph_of(Input(name="x", shape=(1, 2, 2), fmt=S8), powers, shift)
    verify(graph)
    low, high = shift.acc_bounds(MapType((1, 2, 2), U8, (0, 64)), MapType((1, 2, 2), S8))
    assert (low.tolist(), high.tolist()) == ([2 * 64 * -128] * 2, [2 * 64 * 127] * 2)
    with pytest.raises(ValueError, match="takes 4 digits"):
        verify(graph_of(*graph.ops[:2], replace(shift, coded="b")))


def test_bounds_hold_for_all_partial_sums():
    types = MapType((1, 3, 2), S8), MapType((1, 3, 2), U8)
    for coded in "ab":
        op = MatMul(name="y", a="a", b="b", form="tn", post=plain(2), coded=coded, digits=5)
        low, high = op.partial_bounds(*types)
        other = types[coded == "a"].fmt
        for value in range(-128 if coded == "a" else 0, 128 if coded == "a" else 256):
            for x in (other.min, other.max):
                parts = [s * (x << e) for s, e in digits_of(value, 14)]
                assert low[0] <= 3 * sum(p for p in parts if p < 0)
                assert high[0] >= 3 * sum(p for p in parts if p > 0)


# Mixtures --------------------------------------------------------------------------------------


def mixture(**changes):
    """Return a graph of two experts: tokens times 1, or times 4."""
    def scaled(name, exponent):
        return Conv(name=name, input="x", term="shift", post=plain(2), code_width=4,
                    sign=np.eye(2, dtype=int).reshape(1, 2, 1, 1, 2),
                    exponent=np.full((1, 2, 1, 1, 2), exponent))  # fmt: skip

    ops = {
        "x": Input(name="x", shape=(1, 3, 2), fmt=S8),
        "r": Route(name="r", input="x"),
        "a": scaled("a", 0),
        "b": scaled("b", 2),
        "y": Experts(name="y", route="r", branches=("a", "b")),
    }
    return graph_of(*(ops | changes).values(), output="y")


def test_a_token_goes_through_its_expert_and_ties_to_the_first():
    images = np.array([[[[5, 2], [3, 3], [1, 9]]]])
    assert run(mixture(), images).tolist() == [[[[5, 2], [3, 3], [4, 36]]]]


def test_terms_of_a_mixture_are_a_range():
    summary = summarise(mixture())
    assert summary.total("terms") == 12 + 12 + 6
    assert summary.routed() == (18, 18)
    assert "a token runs one branch of each mixture: 18 to 18 terms" in summary.text()


# Rules -----------------------------------------------------------------------------------------

OUTSIDE = Pointwise(name="z", input="a", post=plain(2))
RULES = [
    (norm(kind="layer", heads=3), "'s': heads must divide the 4 channels, not 3"),
    (norm(terms=5), "terms must be from 1 to 4, not 5"),
    (norm(kind="max"), "terms must be from 1 to 1, not 3"),
    (norm(fraction=9), "fraction must be from 0 to 8, not 9"),
    (norm(floor=0), "floor must be from 1 to below"),
    (norm(kind="sum"), "a sum must be of unsigned values, not s8"),
    (norm(shape=(1, 1, 2048), floor=2**30, fraction=2), None),
    (graph_of(Input(name="x", shape=(1, 2, 4), fmt=S8), Stats(name="s", input="x", kind="layer")),
     "the output must be a map, not records of tokens"),
    (graph_of(*norm().ops[:2], Pointwise(name="y", input="s", post=plain(3))),
     "'s' are records of tokens, which post-processing alone reads"),
    (graph_of(*norm().ops[:2], Pointwise(name="y", input="x", post=by_token(4, "x"))),
     "token must name records of tokens"),
    (graph_of(*norm().ops[:2], Pointwise(name="y", input="x", post=replace(
        by_token(4, "s"), first=replace(token_step(4, S8), bias=np.ones(4, int))))),
     "the first step's own m must be 1, B and S 0"),
    (product((1, 2, 3), (1, 2, 2)), "channels of a head of a and of b must be as many, not 3 a"),
    (product((1, 2, 3), (1, 2, 3), heads=2), "the 2 heads must divide the 3 channels of a"),
    (product((1, 3, 2), (1, 3, 2), slices=2), "the 2 slices must divide the 3 tokens of a"),
    (product((1, 2, 2), (1, 2, 2), code_width=8), "code_width must be 3, 4 or 5, not 8"),
    (product((1, 2, 2), (1, 2, 2), fmt=S8, term="l1"), "l1 must have 1 digit and no code_width"),
    (graph_of(Input(name="x", shape=(1, 2, 2), fmt=S8),
              Slice(name="y", input="x", start=(0, 1, 0), stop=(1, 3, 1))),
     "must lie in the map"),
    (graph_of(Input(name="x", shape=(1, 2, 2), fmt=S8),
              Constant(name="c", values=np.full((1, 1, 1), 200), fmt=S8),
              Transpose(name="y", input="x")),
     "values must be in the format s8, not 200 to 200"),
    (mixture(y=Experts(name="y", route="r", branches=("a",))), "must have 2 or more branches"),
    (mixture(y=Experts(name="y", route="x", branches=("a", "b"))), "'x' must be a Route over 2"),
    (mixture(b=replace(mixture().ops[3], post=plain(2, Format(7, True)))),
     "branches must have one shape and format"),
    (graph_of(*mixture().ops[:4], OUTSIDE, Experts(name="y", route="r", branches=("a", "b")),
              replace(OUTSIDE, name="w", input="z"), output="w"),
     "branch 'a' must work on positions alone and be read by nothing else"),
    (graph_of(Input(name="x", shape=(1, 2, 1), fmt=S8), Route(name="y", input="x")),
     "logits must be of 2 to 256 experts, not 1"),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "text"), RULES)
def test_rules(graph, text):
    if text is None:
        verify(graph)
        return
    with pytest.raises(ValueError, match=text.replace("(", "\\(").replace(")", "\\)")):
        verify(graph)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: Stats(name="s", input="x", kind="mean"), "Stats.kind must be one of layer, l2, max"),
    (lambda: MatMul(name="m", a="x", b="x", form="tt", post=plain(1)), "MatMul.form must be one"),
    (lambda: Experts(name="e", route="r", branches="ab"), "must be a sequence of names"),
])  # fmt: skip
def test_records_refuse_what_they_do_not_know(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_a_wide_row_is_refused_where_its_bias_does_not_fit():
    def wide(channels):
        step = token_step(channels, S16)
        return graph_of(
            Input(name="x", shape=(1, 1, channels), fmt=S8),
            Pointwise(name="w", input="x", post=Post(step)),
            Stats(name="s", input="w", kind="layer", fraction=5),
            Pointwise(name="y", input="w", post=by_token(channels, "s")),
        )

    verify(wide(256))
    with pytest.raises(ValueError, match="the bias of 512 values of s16 must fit 32 bits"):
        verify(wide(512))

import numpy as np
import pytest

from pyhw.graph.execute import run, run_layers
from pyhw.graph.ops import Conv, Graph, Input, Pointwise, Pool, Post, Step
from pyhw.graph.random import random_graph
from pyhw.graph.windows import output_blocks, window_index
from pyhw.hdl.formats import Format

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

from pyhw.graph.onnx_export import onnx_model, save_onnx  # noqa: E402
from pyhw.graph.torch_export import IntegerModule, save_torch  # noqa: E402

SEEDS = range(18)


def onnx_values(graph, images, *, layers=False):
    model = onnx_model(graph, layers=layers)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    dtype = np.int8 if graph.input.fmt.signed else np.uint8
    values = session.run(None, {graph.input.name: images.astype(dtype)})
    return dict(zip((output.name for output in session.get_outputs()), values))


def extremes():
    """Graph with the largest numbers that the contract allows before the shift, and images."""
    digits, shape = 8, (3, 4, 8, 1)
    exponent = np.full((digits, 2, *shape[:2], 8), 14)
    sign = np.ones_like(exponent)
    sign[:, 1] = -1
    step = Step(np.ones((4, 2), int), np.full((4, 2), 16), np.full(2, 2**31 - 1),
                np.array([0, 31]), Format(32, True))  # fmt: skip
    conv = Conv(name="c", input="x", term="shift", sign=sign, exponent=exponent, code_width=5,
                post=Post(step))  # fmt: skip
    image = Input(name="x", shape=(3, 4, 8), fmt=Format(7, True))
    images = np.zeros((3, 3, 4, 8), np.int64)
    images[1:] = np.array([-64, 63])[:, None, None, None]
    return Graph("g", (image, conv), "c"), images


def whole_range(fmt, out, shift):
    """Graph that rounds and clamps every 8-bit value with multipliers 1 and -3."""
    m = np.tile([[1], [-1]], 2) * np.array([[1, 1], [0, 1]])
    exponent = np.array([[0, 0], [0, 2]])
    step = Step(m, exponent, np.array([5, -7]), np.array([shift, shift]), out)
    image = Input(name="x", shape=(1, 256, 2), fmt=fmt)
    return Graph("g", (image, Pointwise(name="p", input="x", post=Post(step))), "p")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_of_the_torch_module_equals_the_golden_executor(seed):
    graph, images = random_graph(seed)
    layers = IntegerModule(graph).layers(torch.from_numpy(images))
    for name, expected in run_layers(graph, images).items():
        np.testing.assert_array_equal(layers[name].numpy(), expected, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_of_the_onnx_model_equals_the_golden_executor(seed):
    graph, images = random_graph(seed)
    expected = run_layers(graph, images)
    values = onnx_values(graph, images, layers=True)
    assert list(values) == [op.name for op in graph.ops[1:]]
    for name, value in values.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("shift", [0, 1, 2, 31])
@pytest.mark.parametrize("out", [Format(4), Format(4, True), Format(32), Format(32, True)], ids=str)
@pytest.mark.parametrize("signed", [False, True])
def test_rounding_and_clamping_agree_for_every_input(signed, out, shift):
    graph = whole_range(Format(8, signed), out, shift)
    fmt = graph.input.fmt
    images = np.tile(np.arange(fmt.min, fmt.max + 1)[:, None], 2).reshape(1, 1, 256, 2)
    expected = run(graph, images)
    np.testing.assert_array_equal(IntegerModule(graph)(torch.from_numpy(images)), expected)
    np.testing.assert_array_equal(onnx_values(graph, images)["p"], expected)


def test_the_largest_numbers_agree():
    graph, images = extremes()
    expected = run(graph, images)
    assert {-(2**31), 2**31 - 1} <= set(expected.flat)
    np.testing.assert_array_equal(IntegerModule(graph)(torch.from_numpy(images)), expected)
    np.testing.assert_array_equal(onnx_values(graph, images)["c"], expected)


def test_the_torch_module_has_integer_state_only():
    graph, _ = random_graph(0)
    module = IntegerModule(graph)
    assert not list(module.parameters())
    assert all(not b.dtype.is_floating_point for b in module.buffers())


@pytest.mark.parametrize("seed", [2, 7])
def test_the_saved_program_takes_a_batch_of_any_size(seed, tmp_path):
    graph, images = random_graph(seed)
    expected = run(graph, images)
    path = tmp_path / "model.pt2"
    save_torch(graph, path)
    program = torch.export.load(path).module()
    for count in (1, 3, len(images)):
        found = program(torch.from_numpy(images[:count].astype(np.int64)))
        np.testing.assert_array_equal(found, expected[:count])


def test_the_onnx_file_is_the_model(tmp_path):
    graph, images = random_graph(2)
    path = tmp_path / "model.onnx"
    save_onnx(graph, path)
    session = onnxruntime.InferenceSession(path)
    dtype = np.int8 if graph.input.fmt.signed else np.uint8
    (found,) = session.run(None, {graph.input.name: images.astype(dtype)})
    np.testing.assert_array_equal(found, run(graph, images))


def test_the_onnx_model_uses_standard_operators_and_no_single_precision():
    model = onnx_model(random_graph(2)[0])
    assert {node.domain for node in model.graph.node} == {""}
    inexact = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.type.tensor_type.elem_type for value in inferred.value_info}
    assert kinds
    assert not kinds & inexact
    assert not {constant.data_type for constant in model.graph.initializer} & inexact


@pytest.mark.parametrize("export", [IntegerModule, onnx_model])
def test_a_graph_that_breaks_a_rule_is_not_exported(export):
    graph, _ = random_graph(0)
    with pytest.raises(ValueError, match="Graph output"):
        export(Graph(graph.name, graph.ops, "nothing"))


def test_window_indices_point_at_the_taps_and_past_the_map_in_the_border():
    post = Post(Step([[1]], [[0]], [0], [0], Format(8)))
    pool = Pool(name="p", input="x", kind="max", kernel=(1, 2), stride=(1, 2),
                padding=(0, 1, 1, 0), post=post)  # fmt: skip
    assert window_index(pool, (2, 3, 1)).tolist() == [
        [6, 0], [1, 2], [6, 3], [4, 5], [6, 6], [6, 6],
    ]  # fmt: skip
    conv = Conv(name="c", input="x", term="l1", weight=np.zeros((1, 2, 2, 1), int),
                dilation=(1, 2), post=post)  # fmt: skip
    assert window_index(conv, (2, 4, 1)).tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_blocks_of_outputs_cover_every_channel_of_a_group_once():
    for out, groups, taps, positions in ((120, 1, 400, 1), (16, 2, 9, 10000), (7, 7, 1, 5)):
        channels = [c for block in output_blocks(out, groups, positions, taps) for c in
                    range(out // groups)[block]]  # fmt: skip
        assert channels == list(range(out // groups))

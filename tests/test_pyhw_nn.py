import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch
from torch import nn

from pyhw.nn import AdderConv2d, AdderLinear, LeNet5, adder_conv2d, build_model, compiled, plain
from pyhw.nn.reference import adder_forward, adder_gradients

# images, channels, height, width, outputs, kernel, stride, padding
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 0),
    (2, 3, 5, 5, 4, 3, 1, 1),
    (3, 2, 7, 6, 5, 3, 2, 1),  # odd and even rows, one left over by the stride
    (2, 5, 8, 9, 17, 1, 2, 0),  # one lane past a vector, pixels skipped
    (9, 16, 5, 5, 33, 5, 1, 0),  # one position an image, images that do not fill a tile
    (2, 1, 3, 4, 2, 5, 1, 2),  # kernel larger than the image
    (1, 7, 4, 4, 3, 2, 3, 2),  # whole windows of padding
    (19, 20, 1, 1, 12, 1, 1, 0),
]


def _kernel(name):
    if name == "plain":
        return plain
    if compiled.status() != "compiled":
        pytest.skip(f"compiled kernel: {compiled.status()}")
    return compiled


def _operands(shape, dtype=torch.float32):
    images, channels, height, width, outputs, kernel, stride, padding = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def draw(*size):
        return 2 * torch.randn(size, generator=generator).to(dtype)

    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    x = draw(images, channels, height, width)
    weight = draw(outputs, channels, kernel, kernel)
    return x, weight, draw(images, outputs, rows, columns), stride, padding


def _loops(shape):
    """Forward and both gradients by the equations, one scalar at a time."""
    x, weight, gradient, stride, padding = _operands(shape, torch.float64)
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded, weight, gradient = np.pad(x.numpy(), border), weight.numpy(), gradient.numpy()
    y, grad_padded, grad_weight = (np.zeros_like(a) for a in (gradient, padded, weight))
    for n, o, row, column in np.ndindex(y.shape):
        for c, i, j in np.ndindex(weight.shape[1:]):
            place = n, c, row * stride + i, column * stride + j
            difference = padded[place] - weight[o, c, i, j]
            upstream = gradient[n, o, row, column]
            y[n, o, row, column] -= abs(difference)
            grad_weight[o, c, i, j] += difference * upstream
            grad_padded[place] += min(1, max(-1, -difference)) * upstream
    height, width = x.shape[2:]
    grad_x = grad_padded[:, :, padding : padding + height, padding : padding + width]
    return tuple(map(torch.tensor, (y, grad_x, grad_weight)))


@pytest.mark.parametrize("shape", SHAPES)
def test_reference_equals_the_equations_in_loops(shape):
    x, weight, gradient, stride, padding = _operands(shape, torch.float64)
    y, grad_x, grad_weight = _loops(shape)
    torch.testing.assert_close(adder_forward(x, weight, stride, padding), y)
    found = adder_gradients(x, weight, gradient, stride, padding)
    torch.testing.assert_close(found[0], grad_x)
    torch.testing.assert_close(found[1], grad_weight)


@pytest.mark.parametrize("name", ["compiled", "plain"])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_reference(name, shape):
    x, weight, gradient, stride, padding = _operands(shape)
    kernel = _kernel(name)
    y = adder_forward(x, weight, stride, padding)
    grad_x, _ = adder_gradients(x, weight, gradient, stride, padding)
    torch.testing.assert_close(kernel.forward(x, weight, stride, padding, y.shape), y)
    found = kernel.grad_input(x, weight, gradient, stride, padding)
    torch.testing.assert_close(found, grad_x, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_kernel_equals_reference_on_random_shapes(name):
    random = np.random.default_rng(0)
    kernel = _kernel(name)
    for _ in range(40):
        size, padding = int(random.integers(1, 6)), int(random.integers(0, 4))
        side = [int(max(1, size - 2 * padding + n)) for n in random.integers(0, 7, 2)]
        images, channels, outputs = (int(n) for n in random.integers(1, (12, 20, 40)))
        shape = (images, channels, *side, outputs, size, int(random.integers(1, 4)), padding)
        x, weight, gradient, stride, padding = _operands(shape)
        y = adder_forward(x, weight, stride, padding)
        found = kernel.forward(x, weight, stride, padding, y.shape)
        torch.testing.assert_close(found, y, rtol=1e-5, atol=1e-4)
        found = kernel.grad_input(x, weight, gradient, stride, padding)
        expected = adder_gradients(x, weight, gradient, stride, padding)[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_plain_form_splits_a_batch_without_changing_it(monkeypatch):
    x, weight, gradient, stride, padding = _operands(SHAPES[4])
    whole = plain.grad_input(x, weight, gradient, stride, padding)
    monkeypatch.setattr(plain, "CHUNK", 1)
    torch.testing.assert_close(plain.grad_input(x, weight, gradient, stride, padding), whole)
    y = adder_forward(x, weight, stride, padding)
    torch.testing.assert_close(plain.forward(x, weight, stride, padding, y.shape), y)


def test_padded_taps_count_as_zeros():
    weight = torch.tensor([[[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [7.0, 8.0, 9.0]]]])
    x = torch.full((1, 1, 1, 1), 10.0)
    y = adder_conv2d(x, weight, padding=1)
    assert y.item() == -(45 - 5) - abs(10 - 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_gives_the_published_gradients(shape):
    x, weight, gradient, stride, padding = _operands(shape)
    _, grad_x, grad_weight = _loops(shape)
    x.requires_grad_()
    weight.requires_grad_()
    adder_conv2d(x, weight, stride, padding, eta=None).backward(gradient)
    assert weight.grad.dtype == x.grad.dtype == torch.float32
    torch.testing.assert_close(x.grad, grad_x.float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(weight.grad, grad_weight.float(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("layer", [AdderConv2d(3, 5, 3, padding=1), AdderLinear(6, 5)])
def test_weight_gradient_has_root_mean_square_of_eta(layer, scale):
    torch.manual_seed(0)
    x = torch.randn((4, 3, 6, 6) if isinstance(layer, AdderConv2d) else (4, 6))
    layer.zero_grad()
    (scale * layer(x) * torch.randn(layer(x).shape)).sum().backward()
    assert layer.weight.grad.square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-5)


def test_adaptive_step_keeps_the_direction_of_the_gradient():
    x, weight, gradient, stride, padding = _operands(SHAPES[2])
    expected = adder_gradients(x, weight, gradient, stride, padding)[1]
    expected *= 0.7 / expected.square().mean().sqrt()
    weight.requires_grad_()
    adder_conv2d(x, weight, stride, padding, eta=0.7).backward(gradient)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-5)


def test_zero_gradient_stays_zero():
    layer = AdderConv2d(2, 3, 3)
    x = torch.randn(2, 2, 5, 5, requires_grad=True)
    (layer(x) * 0).sum().backward()
    assert not layer.weight.grad.any()
    assert not x.grad.any()


def test_frozen_weight_leaves_the_input_gradient():
    x, weight, gradient, stride, padding = _operands(SHAPES[1])
    adder_conv2d(x.requires_grad_(), weight, stride, padding).backward(gradient)
    assert weight.grad is None
    assert x.grad.any()


def test_memory_layout_of_the_input_does_not_matter():
    x, weight, _, stride, padding = _operands(SHAPES[2])
    y = adder_conv2d(x, weight, stride, padding)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(adder_conv2d(last, weight, stride, padding), y)
    wide = torch.randn(*x.shape[:3], 2 * x.shape[3])[..., ::2].copy_(x)
    assert torch.equal(adder_conv2d(wide, weight, stride, padding), y)


def test_number_of_threads_does_not_change_a_bit():
    x, weight, gradient, stride, padding = _operands((40, 6, 9, 9, 20, 3, 1, 1))
    kernel, threads, results = _kernel("compiled"), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            y = kernel.forward(x, weight, stride, padding, gradient.shape)
            results.append((y, kernel.grad_input(x, weight, gradient, stride, padding)))
    finally:
        torch.set_num_threads(threads)
    for y, grad_x in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(grad_x, results[0][1])


def test_double_precision_runs_on_the_plain_form():
    x, weight, _, stride, padding = _operands(SHAPES[1], torch.float64)
    assert not compiled.usable(x, weight)
    y = adder_conv2d(x, weight, stride, padding)
    torch.testing.assert_close(y, adder_forward(x, weight, stride, padding))


def test_empty_batch_gives_an_empty_output():
    assert AdderConv2d(2, 3, 3)(torch.empty(0, 2, 5, 5)).shape == (0, 3, 3, 3)
    assert AdderLinear(4, 3)(torch.empty(0, 4)).shape == (0, 3)


def test_nan_reaches_the_output():
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = float("nan")
    assert adder_conv2d(x, torch.zeros(1, 1, 3, 3)).isnan().all()


# --- layers


def test_linear_compares_over_the_last_dimension():
    layer = AdderLinear(7, 3)
    x = torch.randn(2, 5, 7)
    expected = -(x[:, :, None] - layer.weight).abs().sum(-1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("layer", [AdderConv2d(2, 3, 1, bias=True), AdderLinear(2, 3, bias=True)])
def test_bias_is_added_per_output(layer):
    x = torch.randn((1, 2, 1, 1) if isinstance(layer, AdderConv2d) else (1, 2))
    y = layer(x)
    bias = layer.bias.detach().clone()
    assert 0 <= bias.min() <= bias.max() <= 1
    with torch.no_grad():
        layer.bias.zero_()
    torch.testing.assert_close((y - layer(x)).flatten(), bias)


def test_weights_start_as_standard_normal():
    torch.manual_seed(0)
    weight = AdderConv2d(40, 50, 5).weight
    assert weight.shape == (50, 40, 5, 5)
    assert weight.mean().item() == pytest.approx(0, abs=0.02)
    assert weight.std().item() == pytest.approx(1, abs=0.02)


def test_parameters_are_named_weight_and_bias():
    assert list(AdderConv2d(1, 1, 1).state_dict()) == ["weight"]
    assert list(AdderLinear(1, 1, bias=True).state_dict()) == ["weight", "bias"]


def test_pairs_of_equal_sizes_are_taken():
    layer = AdderConv2d(1, 1, (3, 3), stride=(2, 2), padding=[1, 1], dilation=(1, 1))
    assert (layer.kernel_size, layer.stride, layer.padding) == (3, 2, 1)


def test_layers_print_their_sizes():
    assert repr(AdderConv2d(1, 2, 3, padding=1)) == (
        "AdderConv2d(1, 2, kernel_size=3, stride=1, padding=1, bias=False, eta=0.2)"
    )
    assert repr(AdderLinear(4, 5)) == "AdderLinear(4, 5, bias=False, eta=0.2)"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"groups": 2}, "groups"),
        ({"dilation": 2}, "dilation"),
        ({"dilation": (1, 2)}, "dilation"),
        ({"kernel_size": (3, 5)}, "kernel_size"),
        ({"stride": (1, 2)}, "stride"),
        ({"padding": (0, 1)}, "padding"),
    ],
)
def test_conv_names_what_it_does_not_support(options, name):
    with pytest.raises(NotImplementedError, match=f"{name} must be .*supported yet"):
        AdderConv2d(4, 4, **{"kernel_size": 3, **options})


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"in_channels": 0}, ValueError, "in_channels"),
        ({"out_channels": -1}, ValueError, "out_channels"),
        ({"kernel_size": 0}, ValueError, "kernel_size"),
        ({"kernel_size": (3, 3, 3)}, ValueError, "kernel_size"),
        ({"stride": 0}, ValueError, "stride"),
        ({"padding": -1}, ValueError, "padding"),
        ({"padding": "same"}, TypeError, "padding"),
        ({"kernel_size": 2.0}, TypeError, "kernel_size"),
        ({"in_channels": True}, TypeError, "in_channels"),
        ({"eta": 0}, ValueError, "eta"),
        ({"eta": float("nan")}, ValueError, "eta"),
    ],
)
def test_conv_refuses_impossible_sizes(options, error, name):
    with pytest.raises(error, match=f"{name} must be"):
        AdderConv2d(**{"in_channels": 1, "out_channels": 1, "kernel_size": 3, **options})


@pytest.mark.parametrize(("options", "name"), [((0, 1), "in_features"), ((1, 0), "out_features")])
def test_linear_refuses_impossible_sizes(options, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        AdderLinear(*options)


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (2, 5, 5), (1, 2, 5, 5, 1)])
def test_conv_refuses_inputs_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"Input must have shape \(images, 2, height, width\)"):
        AdderConv2d(2, 1, 3)(torch.zeros(shape))


def test_conv_refuses_inputs_smaller_than_its_kernel():
    with pytest.raises(ValueError, match="at least 3 pixels"):
        AdderConv2d(1, 1, 5, padding=1)(torch.zeros(1, 1, 2, 9))


def test_linear_refuses_another_number_of_features():
    with pytest.raises(ValueError, match="3 features"):
        AdderLinear(3, 1)(torch.zeros(2, 4))


# --- choosing the kernel


@pytest.fixture
def fresh_kernel(monkeypatch, tmp_path):
    """Let the next use look for a kernel again, in an empty cache."""
    monkeypatch.setenv("PYHW_CACHE", str(tmp_path))
    monkeypatch.delenv("PYHW_KERNEL", raising=False)
    compiled._load.cache_clear()
    yield tmp_path
    compiled._load.cache_clear()


def test_compiled_kernel_goes_to_the_cache_folder(fresh_kernel):
    _kernel("compiled")
    files = [path.name for path in fresh_kernel.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].startswith("adder-")


def test_kernel_in_the_cache_is_not_compiled_again(fresh_kernel, monkeypatch):
    _kernel("compiled")
    compiled._load.cache_clear()
    monkeypatch.setattr(compiled.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert compiled.status() == "compiled"


@pytest.mark.usefixtures("fresh_kernel")
def test_without_a_compiler_the_plain_form_runs(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert compiled.status() == "plain PyTorch (no C++ compiler found (g++, clang++ or c++))"
    x, weight, _, stride, padding = _operands(SHAPES[1])
    y = adder_conv2d(x, weight, stride, padding)
    torch.testing.assert_close(y, adder_forward(x, weight, stride, padding))


@pytest.mark.usefixtures("fresh_kernel")
def test_failing_compiler_leaves_the_plain_form(monkeypatch, tmp_path):
    if compiled.shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    bad = tmp_path / "bad.cpp"
    bad.write_text("not C++")
    monkeypatch.setattr(compiled, "SOURCE", bad)
    assert compiled.status().startswith("plain PyTorch (the C++ compiler failed: ")


@pytest.mark.usefixtures("fresh_kernel")
def test_plain_form_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("PYHW_KERNEL", "plain")
    assert compiled.status() == "plain PyTorch (PYHW_KERNEL=plain)"


# --- networks


@pytest.mark.parametrize(("ops", "adders"), [("adder", ["conv2", "conv3", "fc1"]), ("conv", [])])
def test_lenet5_has_adders_in_its_inner_layers_only(ops, adders):
    model = LeNet5(ops)
    kinds = (AdderConv2d, AdderLinear)
    assert [name for name, layer in model.named_children() if isinstance(layer, kinds)] == adders
    weighted = (*kinds, nn.Conv2d, nn.Linear)
    layers = {n: m for n, m in model.named_children() if isinstance(m, weighted)}
    assert list(layers) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert all(layer.bias is None for layer in layers.values())
    assert sum(layer.weight.numel() for layer in layers.values()) == 61470


@pytest.mark.parametrize("ops", ["adder", "conv"])
def test_lenet5_maps_have_the_classic_sizes(ops):
    x, shapes = torch.rand(2, 1, 28, 28), {}
    for name, layer in LeNet5(ops).named_children():
        x = layer(x)
        shapes[name] = tuple(x.shape[1:])
    assert shapes["conv1"] == (6, 28, 28)
    assert shapes["pool1"] == (6, 14, 14)
    assert shapes["conv2"] == (16, 10, 10)
    assert shapes["pool2"] == (16, 5, 5)
    assert shapes["conv3"] == (120, 1, 1)
    assert shapes["fc1"] == (84,)
    assert shapes["bn5"] == (10,)


def test_unknown_layers_and_models_are_named():
    with pytest.raises(ValueError, match=r"ops must be one of adder, conv, .*, not 'mul'"):
        LeNet5("mul")
    with pytest.raises(ValueError, match=r"Model must be one of lenet5, .*, not 'lenet6'"):
        build_model("lenet6")

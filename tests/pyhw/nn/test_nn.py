"""Adder layers: published gradients, the adaptive step in backward, types, sizes and errors."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import pytest
import torch

from pyhw.nn import AdderConv2d, AdderLinear, adder_conv2d
from pyhw.nn.reference import adder_forward, adder_gradients
from tests.support.adder_cases import CASES, operands


def _layer(case, **options):
    """Return a layer of a case, its weight exact, and input and upstream gradient."""
    x, weight, gradient = operands(case)
    geometry = case.geometry
    layer = AdderConv2d(
        case.channels, case.outputs, case.kernel, geometry.stride, geometry.padding,
        geometry.dilation, geometry.groups, **options,
    )  # fmt: skip
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer, x.requires_grad_(), gradient


@pytest.mark.parametrize("gradient", ["full", "sign"])
@pytest.mark.parametrize("case", CASES)
def test_conv_gives_the_published_gradients(case, gradient):
    layer, x, upstream = _layer(case, eta=None, gradient=gradient)
    y = layer(x)
    y.backward(upstream)
    plain = x.detach(), layer.weight.detach()
    assert torch.equal(y, adder_forward(*plain, case.geometry))
    grad_x, grad_weight = adder_gradients(*plain, upstream, case.geometry, gradient == "sign")
    assert torch.equal(x.grad, grad_x)
    assert torch.equal(layer.weight.grad, grad_weight)


def test_sign_gradient_of_a_linear_layer_is_the_derivative():
    layer, x, upstream = AdderLinear(5, 3, eta=None, gradient="sign"), torch.randn(4, 5), 1.5
    (upstream * layer(x)).sum().backward()
    weight = layer.weight.detach().requires_grad_()
    (-upstream * (x[:, None] - weight).abs()).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_padded_taps_count_as_zeros():
    weight = torch.tensor([[[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [7.0, 8.0, 9.0]]]])
    x = torch.full((1, 1, 1, 1), 10.0)
    y = adder_conv2d(x, weight, padding=1)
    assert y.item() == -(45 - 5) - abs(10 - 5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("gradient", ["full", "sign"])
@pytest.mark.parametrize("kind", [AdderConv2d, AdderLinear])
def test_weight_gradient_has_root_mean_square_of_eta(kind, gradient, scale):
    torch.manual_seed(0)
    conv = kind is AdderConv2d
    layer = kind(3, 5, 3, padding=1, gradient=gradient) if conv else kind(6, 5, gradient=gradient)
    y = layer(torch.randn((4, 3, 6, 6) if conv else (4, 6)))
    (scale * y * torch.randn(y.shape)).sum().backward()
    assert layer.weight.grad.square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-5)


def test_adaptive_step_keeps_the_direction_of_the_gradient():
    layer, x, upstream = _layer(CASES[1], eta=0.7)
    layer(x).backward(upstream)
    expected = adder_gradients(x.detach(), layer.weight.detach(), upstream, CASES[1].geometry)[1]
    expected *= 0.7 / expected.square().mean().sqrt()
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-4, atol=1e-5)


def test_zero_gradient_stays_zero():
    layer = AdderConv2d(2, 3, 3)
    x = torch.randn(2, 2, 5, 5, requires_grad=True)
    (layer(x) * 0).sum().backward()
    assert not layer.weight.grad.any()
    assert not x.grad.any()


def test_frozen_weight_leaves_the_input_gradient():
    layer, x, upstream = _layer(CASES[1])
    layer.weight.requires_grad_(False)
    layer(x).backward(upstream)
    assert layer.weight.grad is None
    assert x.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_floats_are_computed_in_single_precision(dtype):
    case = CASES[3]  # sums that 16 bits do not hold
    layer, x, upstream = _layer(case, eta=None)
    expected = adder_forward(x.detach(), layer.weight.detach(), case.geometry)
    assert torch.equal(layer(x.to(dtype)), expected)  # the wider type of the two
    narrow = layer.to(dtype)
    x.grad = None
    y = narrow(x.to(dtype))
    assert torch.equal(y, expected.to(dtype))
    y.backward(upstream.to(dtype))
    assert narrow.weight.grad.dtype == dtype


@pytest.mark.parametrize("gradient", ["full", "sign"])
@pytest.mark.parametrize("kernel", ["compiled", "plain"])
def test_autocast_changes_no_bit(monkeypatch, kernel, gradient):
    if kernel == "plain":
        monkeypatch.setattr("pyhw.nn.compiled.usable", lambda *_: False)
    layer, x, upstream = _layer(CASES[9], eta=None, gradient=gradient)
    layer(x).backward(upstream)
    expected, layer.weight.grad = layer.weight.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.detach().bfloat16())  # quarters up to 3 fit
        y.backward(upstream)
    assert y.dtype == torch.float32
    assert torch.equal(layer.weight.grad, expected)


def test_operands_that_hold_no_floats_are_named():
    x, weight = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)
    with pytest.raises(TypeError, match="Input must hold floats"):
        adder_conv2d(x.long(), weight)
    with pytest.raises(TypeError, match="weight must hold floats"):
        adder_conv2d(x, weight.byte())


def test_empty_batch_gives_an_empty_output_and_no_gradient():
    layer = AdderConv2d(2, 3, 3)
    y = layer(torch.empty(0, 2, 5, 5))
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert not layer.weight.grad.any()
    assert AdderLinear(4, 3)(torch.empty(0, 4)).shape == (0, 3)


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


def test_sizes_are_kept_as_pairs():
    layer = AdderConv2d(4, 2, 3, stride=(2, 1), padding=[1, 0], dilation=2, groups=2)
    assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (2, 1), (1, 0))
    assert (layer.dilation, layer.groups) == ((2, 2), 2)
    assert layer.weight.shape == (2, 2, 3, 3)


def test_layers_print_their_sizes():
    assert repr(AdderConv2d(1, 2, 3, padding=1)) == (
        "AdderConv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False, eta=0.2)"
    )
    assert "dilation=(2, 2), groups=2" in repr(AdderConv2d(2, 2, 3, dilation=2, groups=2))
    assert repr(AdderLinear(4, 5)) == "AdderLinear(4, 5, bias=False, eta=0.2)"
    assert repr(AdderLinear(4, 5, gradient="sign")).endswith("eta=0.2, gradient=sign)")


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
        ({"dilation": 0}, ValueError, "dilation"),
        ({"groups": 0}, ValueError, "groups"),
        ({"groups": 1.5}, TypeError, "groups"),
        ({"gradient": "half"}, ValueError, "gradient"),
        ({"eta": 0}, ValueError, "eta"),
        ({"eta": float("nan")}, ValueError, "eta"),
    ],
)
def test_conv_refuses_impossible_sizes(options, error, name):
    with pytest.raises(error, match=f"{name} must be"):
        AdderConv2d(**{"in_channels": 1, "out_channels": 1, "kernel_size": 3, **options})


def test_groups_divide_the_channels():
    with pytest.raises(ValueError, match="groups must divide in_channels 4 and out_channels 6"):
        AdderConv2d(4, 6, 3, groups=4)
    with pytest.raises(ValueError, match="groups must divide the 6 output channels, not 4"):
        adder_conv2d(torch.zeros(1, 4, 3, 3), torch.zeros(6, 1, 3, 3), groups=4)
    with pytest.raises(ValueError, match="gradient must be one of full, sign, not 'half'"):
        adder_conv2d(torch.zeros(1, 4, 3, 3), torch.zeros(6, 4, 3, 3), gradient="half")


@pytest.mark.parametrize(("options", "name"), [((0, 1), "in_features"), ((1, 0), "out_features")])
def test_linear_refuses_impossible_sizes(options, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        AdderLinear(*options)


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (3, 5, 5), (1, 2, 5, 5, 1)])
def test_conv_refuses_inputs_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"Input must have shape \(images, 2, height, width\)"):
        AdderConv2d(2, 1, 3)(torch.zeros(shape))


def test_conv_refuses_inputs_smaller_than_its_kernel():
    with pytest.raises(ValueError, match="at least 3 pixels high"):
        AdderConv2d(1, 1, 5, padding=1)(torch.zeros(1, 1, 2, 9))
    with pytest.raises(ValueError, match="at least 5 pixels wide"):
        AdderConv2d(1, 1, 3, dilation=(1, 2))(torch.zeros(1, 1, 9, 4))


def test_linear_refuses_another_number_of_features():
    with pytest.raises(ValueError, match="3 features"):
        AdderLinear(3, 1)(torch.zeros(2, 4))

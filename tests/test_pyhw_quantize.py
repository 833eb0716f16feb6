"""The quantiser: exact identities, the walk, refusals, and integer graphs near their models."""

import os
import re
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch
from torch import nn

from hdl.config import PRESETS
from hdl.formats import Format, apply_terms, round_shift, signed_digits, terms_value
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import to_bytes
from pyhw.graph.ops import Conv, Pointwise, Pool
from pyhw.nn import AdderConv2d, AdderLinear, LeNet5
from pyhw.quantize.affine import affine_step, identity_step, multiplier, snap
from pyhw.quantize.model import quantize_model
from pyhw.quantize.reference import forward
from pyhw.quantize.scales import activation_scale, output_scale
from pyhw.quantize.settings import Settings
from pyhw.quantize.stage import fold_normalisation, normalisation
from pyhw.quantize.walk import walk
from pyhw.quantize.weights import (
    adder_weights,
    clip_weights,
    digit_grid,
    digits_of,
    fit_scales,
    round_to,
)


def _images(count, shape, seed=0):
    """Smooth bytes that use the whole range."""
    generator = np.random.default_rng(seed)
    height, width, channels = shape
    waves = generator.normal(size=(count, 3, 3, channels))
    image = np.repeat(np.repeat(waves, -(-height // 3), 1), -(-width // 3), 2)[:, :height, :width]
    return (128 + 60 * image + generator.normal(size=image.shape) * 10).clip(0, 255).astype("u1")


def _trained(model, shape, seed=0):
    """Give batch norms statistics that fit and every parameter a spread, as training does."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            if layer.affine:
                nn.init.normal_(layer.weight, 1.0, 0.5)  # some negative
                nn.init.normal_(layer.bias, 0.3, 0.5)
            layer.momentum = None
    with torch.no_grad():
        for seed in range(4):
            model.train()(_tensor(_images(32, shape, 100 + seed)))
    return model.eval()


def _tensor(images):
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 255  # (N, H, W, C) -> (N, C, H, W)


def _output(model, images):
    with torch.no_grad():
        y = model(_tensor(images)).double().numpy()
    return y if y.ndim == 2 else np.moveaxis(y, 1, 3)


def _error(model, shape, settings=None, **options):
    """Quantise on some images; error of the outputs on others over the outputs' spread."""
    _trained(model, shape)
    made = quantize_model(model, _images(64, shape, 1), settings, **options)
    other = _images(32, shape, 2)
    wanted = _output(model, other)
    found = run(made.graph, other.astype(np.int64)) * made.layers[-1].scale
    return float(np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2)) / wanted.std()), made


# Weights


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 15), (-128, 127), (-8, 7)])
def test_clipping_adder_weights_changes_no_sum(low, high):
    generator = np.random.default_rng(1)
    weight = generator.integers(-3 * (high + 1), 3 * (high + 1), (4, 3, 3, 2))
    clipped, constant = clip_weights(weight, low, high)
    assert low <= clipped.min()
    assert clipped.max() <= high
    for _ in range(100):
        x = generator.integers(low, high + 1, (1, 3, 3, 2))
        whole = -np.abs(x - weight).sum(axis=(1, 2, 3))
        assert (whole == -np.abs(x - clipped).sum(axis=(1, 2, 3)) + constant).all()


@pytest.mark.parametrize("fmt", ["u8", "u4", "s8", "s5"])
@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_adder_weights_lie_on_the_grid_of_the_input(fmt, bits):
    fmt = Format.parse(fmt)
    weight = np.random.default_rng(2).normal(0, 1, (3, 2, 2, 4))
    grid = adder_weights(weight, 0.01, fmt, bits)
    assert 0 in (grid.ex, grid.ew)
    assert fmt.width + grid.ex - grid.ew == bits
    low, high = fmt.min << grid.ex, fmt.max << grid.ex
    stored = grid.weight << grid.ew
    assert low <= stored.min()
    assert stored.max() <= high
    inside = (weight / grid.step).clip(low, high)
    assert np.abs(stored - inside).max() <= (1 << grid.ew) - (grid.ew == 0) * 0.5


@pytest.mark.parametrize(("digits", "count"), [(1, 15), (2, 77), (3, 183), (4, 247), (5, 255)])
def test_the_digit_grid_holds_what_the_digits_can_write(digits, count):
    grid = digit_grid(8, digits)
    assert len(grid) == count
    assert (grid == -grid[::-1]).all()
    assert max(len(signed_digits(int(v), 6)) for v in grid) == digits


def test_digits_of_weights_are_exact_and_the_fewest():
    weight = np.arange(-127, 128).reshape(5, 3, 17, 1)
    sign, exponent = digits_of(weight)
    assert (sum(s * (1 << e.astype(int)) for s, e in zip(sign, exponent)) == weight).all()
    assert len(sign) == 5
    assert len(digits_of(np.zeros((1, 1, 1, 1), int))[0]) == 1
    assert len(digits_of(np.full((1, 1, 1, 1), 96))[0]) == 2


def test_rounding_to_a_grid_takes_the_nearest():
    grid = np.array([-4, -1, 0, 2, 8])
    assert round_to(np.array([-9, -2.6, -0.4, 0.9, 1.1, 5.1]), grid).tolist() == [
        -4, -4, 0, 0, 2, 8]  # fmt: skip


def test_weight_scales_are_near_the_best_and_one_for_an_empty_channel():
    weight = np.random.default_rng(3).normal(size=(2, 50))
    weight[1] = 0
    grid = digit_grid(4, 5)
    scales = fit_scales(weight, grid)
    assert scales[1] == 1

    def error(s):
        return ((round_to(weight[0] / s, grid) * s - weight[0]) ** 2).sum()

    assert error(scales[0]) <= 1.05 * min(error(s) for s in np.linspace(0.05, 1, 500))


# The affine step


def test_the_line_goes_through_the_anchor_whatever_the_multiplier_lost():
    generator = np.random.default_rng(4)
    for _ in range(200):
        slope = float(generator.normal() * 10 ** generator.uniform(-4, 0))
        mean, out = float(generator.uniform(-50000, 0)), float(generator.uniform(-100, 200))
        terms, bias, shift = multiplier(slope, mean, out, 100.0)
        value = terms_value(terms)
        assert abs((value * mean + bias) / 2**shift - out) <= 2.0**-shift
        # Three terms are within 5 %; where that is a thousandth of an output step, fewer do.
        assert abs(value / 2**shift - slope) <= max(0.05 * abs(slope), 1.1e-3 / 100)
        assert abs(bias) < 1 << 31


def test_batch_norm_in_integers_is_within_a_step_of_batch_norm_in_floats():
    generator = np.random.default_rng(5)
    channels, fmt = 32, Format(8)
    mean, deviation = generator.uniform(-40000, -500, channels), generator.uniform(5, 800, channels)
    gamma, beta = generator.normal(size=channels) * 60, generator.uniform(0, 255, channels)
    step = affine_step(gamma / deviation, mean, beta, deviation, fmt, "bn")
    acc = (mean + deviation * generator.normal(size=(1000, channels))).round().astype(np.int64)
    real = gamma * (acc - mean) / deviation + beta
    u = round_shift(apply_terms(acc, step.m) + step.bias, step.shift.astype(np.int64))
    # Half a step of rounding, and 5 % of the deviation where three terms are worst.
    assert (np.abs(u - real) <= 0.51 + 0.05 * np.abs(real - beta)).all()
    assert np.abs(u - real).mean() < 0.6


def test_a_gamma_of_zero_leaves_beta():
    step = affine_step(*np.array([[0.0], [-1000.0], [17.3], [5.0]]), Format(8), "bn")
    assert (apply_terms(-1234, step.m) + step.bias[0]) >> int(step.shift[0]) == 17


def test_snapped_slopes_are_exact_multipliers():
    for slope in (0.0213, -3.7, 1e-4):
        near = snap(slope)
        terms, _, shift = multiplier(near, 0.0, 0.0, 1e4)
        assert terms_value(terms) / 2**shift == near
        assert abs(near - slope) < 0.05 * abs(slope)


def test_a_channel_that_cannot_be_written_is_named():
    wild = np.array([[1.0, 1e9], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    with pytest.raises(UserError, match=r"layer 'features\.bn', channel 1: its batch norm"):
        affine_step(*wild, Format(8), "features.bn")


def test_identity_steps_keep_values_and_divide_sums():
    values = np.arange(256)
    same = identity_step(1, Format(8))
    assert (apply_terms(values, [(s[0], e[0]) for s, e in same.m]) == values).all()
    assert (same.shift[0], same.bias[0]) == (0, 0)
    for taps in (2, 3, 4, 9, 49):
        step = identity_step(1, Format(8), taps)
        sums = np.arange(255 * taps + 1)
        m = [(s[0], e[0]) for s, e in step.m]
        mean = round_shift(apply_terms(sums, m), int(step.shift[0]))
        factor = taps * terms_value(m) / 2 ** int(step.shift[0])
        assert np.abs(mean - factor * sums / taps).max() <= 0.5
        assert abs(factor - 1) <= (0 if taps & (taps - 1) == 0 else 0.03)


# Scales


def test_activation_scales_clip_outliers_but_not_uniform_values():
    fmt = Format(4)
    uniform = np.linspace(0, 1, 20000)
    assert activation_scale(uniform, fmt) == pytest.approx(1 / 15, rel=0.05)
    assert activation_scale(np.append(uniform, 3.0), fmt) < 1.5 / 15
    assert activation_scale(np.zeros(5), fmt) == 1 / 15


def test_an_adder_layers_weights_have_a_say_in_the_scale():
    generator = np.random.default_rng(6)
    values, weight = np.abs(generator.normal(size=5000)), generator.normal(size=500)
    fmt = Format(4)
    assert activation_scale(values, fmt, weight) <= activation_scale(values, fmt)


def test_output_scales_are_powers_of_two_with_room():
    scale = output_scale(np.array([-3.0, 5.0]), Format(24, True), 1e-4)
    assert np.log2(scale) % 1 == 0
    assert 2 <= scale * 2**23 / 5 <= 4
    assert output_scale(np.zeros(3), Format(24, True), 1e-4) > 0


def test_output_scales_are_not_much_finer_than_an_accumulators_unit():
    assert output_scale(np.array([5.0]), Format(24, True), 2.0) == 2.0 / 1024


# The walk


def _small(*layers):
    return nn.Sequential(*layers)


def test_the_stages_compute_what_the_model_computes():
    torch.manual_seed(0)
    shape = (9, 11, 2)
    model = _small(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.Dropout(), AdderConv2d(4, 6, 3, padding=1, bias=True)),
        nn.MaxPool2d(2, padding=1),
        nn.BatchNorm2d(6, affine=False),
        nn.Conv2d(6, 5, 3, padding="same", dilation=(1, 2)),
        nn.Identity(),
        nn.ReLU(),
        nn.AvgPool2d((2, 3), stride=1),
        nn.Flatten(),
        nn.Linear(2 * 4 * 5, 7),
        nn.BatchNorm1d(7),
    )
    _trained(model, shape)
    images = _images(5, shape)
    found = forward(walk(model, shape), images / 255)
    assert np.allclose(found.reshape(5, 7), _output(model, images), atol=1e-4)


@pytest.mark.parametrize("linear", [nn.Linear, AdderLinear])
def test_a_linear_layer_after_a_map_reads_it_in_pytorchs_order(linear):
    torch.manual_seed(1)
    shape = (2, 3, 4)
    model = _small(nn.Flatten(), linear(24, 5)).eval()
    images = _images(6, shape)
    stages = walk(model, shape)
    assert stages[0].weight.shape == (5, 2, 3, 4)
    weight = model[1].weight.detach().numpy()
    assert stages[0].weight[1, 1, 2, 3] == weight[1, 3 * 6 + 1 * 3 + 2]  # (c, y, x) flattened
    assert np.allclose(forward(stages, images / 255)[:, 0, 0], _output(model, images), atol=1e-4)


def test_one_report_names_every_layer_that_cannot_be_quantised():
    class Own(nn.Module):
        def forward(self, x):
            return x

    model = nn.Sequential()
    model.add_module("stem", _small(nn.Conv2d(1, 4, 3), nn.GELU()))
    model.add_module("odd", Own())
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("head", _small(nn.Flatten(), nn.Linear(4, 2), nn.Softmax(1)))
    with pytest.raises(UserError) as refused:
        walk(model, (8, 8, 1))
    text = str(refused.value)
    assert text.startswith("4 layers cannot be quantised: stem.1 (GELU): use ReLU; odd (Own): use ")
    assert "pool (AdaptiveAvgPool2d): use AvgPool2d with the map's size" in text
    assert "head.2 (Softmax): leave it out" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")], "padding_mode must be 'zeros'"),
        ([nn.Conv2d(3, 2, 3)], "it takes 3 channels and gets 1"),
        ([nn.Conv2d(1, 2, 9)], "its kernel does not fit the 8x8 map"),
        ([nn.Flatten(), nn.Conv2d(1, 2, 3)], "it follows a Flatten"),
        ([nn.Flatten(), nn.MaxPool2d(2)], "it follows a Flatten"),
        ([nn.Flatten(2)], "only start_dim=1"),
        ([nn.Linear(8, 2)], "it must follow a Flatten"),
        ([nn.Flatten(), nn.Linear(63, 2)], "it takes 63 features and gets 8x8x1"),
        ([nn.MaxPool2d(3, ceil_mode=True)], "ceil_mode"),
        ([nn.MaxPool2d(3, dilation=2)], "dilation and return_indices"),
        ([nn.AvgPool2d(3, divisor_override=2)], "divisor_override"),
        ([nn.AvgPool2d(3, padding=1, count_include_pad=False)], "count_include_pad=True"),
        ([nn.BatchNorm2d(1, track_running_stats=False)], "track_running_stats=True"),
        ([nn.Flatten(), nn.BatchNorm1d(64)], "put it before the Flatten"),
        ([nn.BatchNorm2d(3)], "3 features for a map of 8x8x1"),
    ],
)
def test_settings_that_cannot_be_quantised_are_refused_by_name(layers, text):
    with pytest.raises(UserError, match=f"^1 layer cannot be quantised: .*{text}"):
        walk(_small(*layers), (8, 8, 1))


def test_a_model_that_is_no_sequence_or_has_no_weights_is_refused():
    with pytest.raises(UserError, match=r"\(the model itself\) \(Softplus\): use ReLU"):
        walk(nn.Softplus(), (8, 8, 1))
    with pytest.raises(UserError, match="no convolution or linear layer"):
        walk(_small(nn.MaxPool2d(2), nn.ReLU()), (8, 8, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv2.weight", "bn3.running_var"])
def test_values_that_are_no_numbers_are_refused_by_layer(name, value):
    model = LeNet5()
    model.state_dict()[name].view(-1)[1] = value
    path, tensor = name.split(".")
    with pytest.raises(UserError, match=f"layer '{path}': its {tensor} holds NaN or infinite"):
        walk(model, (28, 28, 1))


# Whole models


def test_lenet5_becomes_the_operations_it_should():
    error, made = _error(LeNet5(), (28, 28, 1))
    assert error < 0.05
    ops = made.graph.ops
    kinds = [getattr(op, "term", getattr(op, "kind", None)) for op in ops]
    assert kinds == [None, "shift", "max", "l1", "max", "l1", "l1", "shift"]
    assert ",".join(op.name for op in ops[1:]) == "conv1,pool1,conv2,pool2,conv3,fc1,fc2"
    assert ops[3].weight.min() >= 0  # clipped to what the inputs can be
    assert [layer.fmt for layer in made.layers] == ["u8"] * 6 + ["s24"]
    assert made.graph.meta["scales"]["conv2"] == made.layers[2].scale
    program = compile_graph(made.graph, PRESETS["default"], 8)
    assert len(program.layers) == 7


@pytest.mark.parametrize("ops", ["adder", "conv"])
@pytest.mark.parametrize(("bits", "most"), [(4, 0.45), (5, 0.25), (6, 0.12), (7, 0.08)])
def test_fewer_bits_lose_more_but_work(ops, bits, most):
    torch.manual_seed(3)
    layer = AdderConv2d if ops == "adder" else nn.Conv2d
    model = _small(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        layer(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 6 * 6, 3),
    )  # fmt: skip
    error, made = _error(model, (10, 10, 1), Settings(bits=bits))
    assert error < most
    assert made.layers[1].fmt == f"u{bits}"
    assert made.layers[1].weight_bits == bits
    assert made.layers[0].weight_bits == made.layers[2].weight_bits == 8


RANDOM_LAYERS = {
    "signed adder input": lambda: [nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), AdderConv2d(5, 4, 3)],
    "adder first": lambda: [AdderConv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()],
    "average": lambda: [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AvgPool2d(3, padding=1)],
    "average last": lambda: [nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.AvgPool2d(7)],
    "pool, norm": lambda: [nn.Conv2d(2, 5, 3), nn.MaxPool2d(2), nn.BatchNorm2d(5), nn.ReLU()],
    "relu, norm": lambda: [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)],
    "relu after pool": lambda: [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()],
    "norm, average": lambda: [nn.BatchNorm2d(2), nn.AvgPool2d(2), nn.Conv2d(2, 3, 3)],
    "norm first": lambda: [nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 5, 3)],
    "groups": lambda: [nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4)],
    "no square": lambda: [nn.Conv2d(2, 3, (1, 5), (2, 1)), nn.ReLU(), nn.Conv2d(3, 3, (3, 1))],
}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", RANDOM_LAYERS)
def test_small_networks_of_every_kind_are_near_their_models(case, seed):
    torch.manual_seed(seed)
    error, _ = _error(_small(*RANDOM_LAYERS[case]()), (9, 9, 2))
    assert error < 0.05


def test_fewer_digits_are_kept_to():
    torch.manual_seed(0)
    model = _small(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3))
    errors = []
    for digits in (1, 2, 3, 5):
        error, made = _error(model, (9, 9, 2), Settings(digits=digits))
        assert {layer.digits for layer in made.layers} <= set(range(1, digits + 1))
        assert all(op.digits <= digits for op in made.graph.ops[1:])
        errors.append(error)
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.03


def test_wider_weights_than_activations_shift_the_inputs():
    torch.manual_seed(0)
    model = _small(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), AdderConv2d(5, 4, 3))
    model.append(nn.BatchNorm2d(4))
    _, made = _error(model, (9, 9, 2), Settings(bits=4, weight_bits=6))
    assert (made.graph.ops[2].ex, made.graph.ops[2].ew) == (2, 0)
    _, made = _error(model, (9, 9, 2), Settings(bits=6, weight_bits=4))
    assert (made.graph.ops[2].ex, made.graph.ops[2].ew) == (0, 2)


def test_pools_keep_format_and_scale():
    torch.manual_seed(0)
    model = _small(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Conv2d(5, 3, 1)
    )
    _, made = _error(model, (10, 10, 2))
    assert [type(op) for op in made.graph.ops[1:]] == [Conv, Pool, Pool, Conv]
    assert len({layer.scale for layer in made.layers[:3]}) == 1
    assert len({layer.fmt for layer in made.layers[:3]}) == 1
    values = run_layers(made.graph, _images(4, (10, 10, 2)).astype(np.int64))
    tall = values["0"] if "0" in values else values[made.graph.ops[1].name]
    pooled = tall.reshape(4, 4, 2, 4, 2, 5).max(axis=(2, 4))
    assert (values[made.graph.ops[2].name] == pooled).all()


def test_a_normalisation_folds_into_the_first_convolution_with_its_padding():
    torch.manual_seed(0)
    shape, mean, deviation = (9, 9, 2), np.array([0.4, 0.5]), np.array([0.2, 0.25])
    inner = _small(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 3)).eval()
    images = _images(32, shape)
    made = quantize_model(inner, images, normalise=(mean, deviation))
    first = made.graph.ops[1]
    assert isinstance(first, Conv)
    assert first.pad_value.tolist() == [102, 128]
    with torch.no_grad():
        wanted = inner(_tensor(images).sub(torch.tensor(mean)[:, None, None])
                       .div(torch.tensor(deviation)[:, None, None]).float())  # fmt: skip
    wanted = np.moveaxis(wanted.numpy(), 1, 3)
    found = run(made.graph, images.astype(np.int64)) * made.layers[-1].scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.03 * wanted.std()


def test_a_normalisation_that_does_not_fold_stands_alone():
    model = _small(nn.Conv2d(2, 4, 3, padding=1)).eval()
    point = normalisation(np.array([-0.5, 0.1]), np.ones(2))  # its zero is no pixel
    stages = [point, *walk(model, (5, 5, 2))]
    assert fold_normalisation(stages) == stages
    assert fold_normalisation(stages[:1]) == stages[:1]
    adder = [normalisation(np.zeros(2), np.ones(2)), *walk(_small(AdderConv2d(2, 3, 1)), (5, 5, 2))]
    assert fold_normalisation(adder) == adder
    made = quantize_model(model, _images(8, (5, 5, 2)), normalise=(point.mean, np.ones(2)))
    assert isinstance(made.graph.ops[1], Pointwise)


@pytest.mark.parametrize("normalise", [
    ([0.5], [0.2]), ([0.5, 0.5], [0.2, 0.0]), ([0.5, float("nan")], [0.2, 0.2]),
])  # fmt: skip
def test_a_normalisation_that_is_none_is_refused(normalise):
    with pytest.raises(UserError, match=r"normalise must be 2 mean\(s\)"):
        quantize_model(_small(nn.Conv2d(2, 1, 3)), _images(2, (5, 5, 2)), normalise=normalise)


def test_rounding_errors_do_not_move_the_means():
    torch.manual_seed(0)
    model = _small(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), AdderConv2d(5, 4, 3))
    model.append(nn.BatchNorm2d(4))
    shape = (9, 9, 2)
    _trained(model, shape)
    images = _images(64, shape, 1)
    made = quantize_model(model, images, Settings(bits=4))
    found = run(made.graph, images.astype(np.int64)) * made.layers[-1].scale
    gap = found.mean(axis=(0, 1, 2)) - _output(model, images).mean(axis=(0, 1, 2))
    assert np.abs(gap).max() < 1e-3


def test_equal_inputs_give_equal_files():
    model, images = LeNet5().eval(), _images(16, (28, 28, 1))
    first, second = (to_bytes(quantize_model(model, images).graph) for _ in range(2))
    assert first == second


def test_progress_is_told_layer_by_layer():
    told = []
    model = _small(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    quantize_model(model, _images(2, (8, 8, 1))[..., 0], progress=lambda *a: told.append(a))
    assert told == [(0, 2, "0"), (1, 2, "2")]


@pytest.mark.parametrize(("field", "value"), [
    ("bits", 3), ("bits", 9), ("bits", 8.0), ("weight_bits", 1), ("digits", 0), ("digits", 6),
    ("output_width", 33),
])  # fmt: skip
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=f"^{field} must be a whole number from"):
        Settings(**{field: value})


@pytest.mark.parametrize(("images", "text"), [
    (np.zeros((2, 8, 8, 1)), "unsigned bytes"),
    ([1, 2], "unsigned bytes .* not list"),
    (np.zeros((0, 8, 8, 1), np.uint8), "at least one image"),
    (np.zeros((8, 8), np.uint8), "at least one image"),
])  # fmt: skip
def test_calibration_images_of_another_kind_are_refused(images, text):
    with pytest.raises(UserError, match=text):
        quantize_model(_small(nn.Conv2d(1, 2, 3)), images)


def test_the_examples_and_the_digit_table_of_the_page_are_true():
    text = (Path(__file__).parents[1] / "docs" / "quantization.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "quantization.md", "exec"), {})
    for digits in range(1, 6):
        grid = digit_grid(8, digits)
        written = set(grid[grid >= 0].tolist())
        reach = next(v for v in range(129) if v not in written) - 1
        assert f"| {digits} | {len(written)} | {reach} |" in text

"""Whole models: integer graphs near their float models, formats, refusals."""

import os
import re

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch
from torch import nn

from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import to_bytes
from pyhw.graph.ops import Conv, Pointwise, Pool
from pyhw.hdl.presets import PRESETS
from pyhw.nn import AdderConv2d, LeNet5
from pyhw.quantizer.model import quantize_model
from pyhw.quantizer.normalisation import fold_normalisation
from pyhw.quantizer.reading import read
from pyhw.quantizer.settings import Settings
from pyhw.quantizer.weights import (
    digit_grid,
)
from tests.support import ROOT
from tests.support.small_models import (
    model_output,
    quantised_error,
    sequence,
    smooth_images,
    to_tensor,
    trained,
)


def test_lenet5_becomes_the_operations_it_should():
    torch.manual_seed(0)
    error, made = quantised_error(LeNet5(), (28, 28, 1))
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
    model = sequence(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        layer(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 6 * 6, 3),
    )  # fmt: skip
    error, made = quantised_error(model, (10, 10, 1), Settings(bits=bits))
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
    error, _ = quantised_error(sequence(*RANDOM_LAYERS[case]()), (9, 9, 2))
    assert error < 0.05


def test_fewer_digits_are_kept_to():
    torch.manual_seed(0)
    model = sequence(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3))
    errors = []
    for digits in (1, 2, 3, 5):
        error, made = quantised_error(model, (9, 9, 2), Settings(digits=digits))
        assert {layer.digits for layer in made.layers} <= set(range(1, digits + 1))
        assert all(op.digits <= digits for op in made.graph.ops[1:])
        errors.append(error)
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.03


def test_wider_weights_than_activations_shift_the_inputs():
    torch.manual_seed(0)
    model = sequence(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), AdderConv2d(5, 4, 3))
    model.append(nn.BatchNorm2d(4))
    _, made = quantised_error(model, (9, 9, 2), Settings(bits=4, weight_bits=6))
    assert (made.graph.ops[2].ex, made.graph.ops[2].ew) == (2, 0)
    _, made = quantised_error(model, (9, 9, 2), Settings(bits=6, weight_bits=4))
    assert (made.graph.ops[2].ex, made.graph.ops[2].ew) == (0, 2)


def test_adder_layers_keep_groups_dilation_and_rectangles():
    torch.manual_seed(0)
    model = sequence(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        AdderConv2d(4, 4, (3, 2), (1, 2), (1, 0), (2, 1), groups=4), nn.BatchNorm2d(4), nn.ReLU(),
        AdderConv2d(4, 6, (1, 3), groups=2), nn.BatchNorm2d(6),
    )  # fmt: skip
    error, made = quantised_error(model, (11, 12, 2))
    assert error < 0.1
    depthwise, grouped = made.graph.ops[2:]
    assert (depthwise.groups, depthwise.dilation, depthwise.stride) == (4, (2, 1), (1, 2))
    assert (depthwise.padding, depthwise.weight.shape) == ((1, 0, 1, 0), (4, 3, 2, 1))
    assert (grouped.groups, grouped.weight.shape) == (2, (6, 1, 3, 2))


def test_pools_keep_format_and_scale():
    torch.manual_seed(0)
    model = sequence(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Conv2d(5, 3, 1)
    )
    _, made = quantised_error(model, (10, 10, 2))
    assert [type(op) for op in made.graph.ops[1:]] == [Conv, Pool, Pool, Conv]
    assert len({layer.scale for layer in made.layers[:3]}) == 1
    assert len({layer.fmt for layer in made.layers[:3]}) == 1
    values = run_layers(made.graph, smooth_images(4, (10, 10, 2)).astype(np.int64))
    tall = values["0"] if "0" in values else values[made.graph.ops[1].name]
    pooled = tall.reshape(4, 4, 2, 4, 2, 5).max(axis=(2, 4))
    assert (values[made.graph.ops[2].name] == pooled).all()


def test_a_normalisation_folds_into_the_first_convolution_with_its_padding():
    torch.manual_seed(0)
    shape, mean, deviation = (9, 9, 2), np.array([0.4, 0.5]), np.array([0.2, 0.25])
    inner = sequence(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 3)).eval()
    images = smooth_images(32, shape)
    made = quantize_model(inner, images, normalise=(mean, deviation))
    first = made.graph.ops[1]
    assert isinstance(first, Conv)
    assert first.pad_value.tolist() == [102, 128]
    with torch.no_grad():
        wanted = inner(to_tensor(images).sub(torch.tensor(mean)[:, None, None])
                       .div(torch.tensor(deviation)[:, None, None]).float())  # fmt: skip
    wanted = np.moveaxis(wanted.numpy(), 1, 3)
    found = run(made.graph, images.astype(np.int64)) * made.layers[-1].scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.03 * wanted.std()


def test_a_normalisation_that_does_not_fold_stands_alone():
    model = sequence(nn.Conv2d(2, 4, 3, padding=1)).eval()
    mean = np.array([-0.5, 0.1])  # its zero is no pixel
    stages = read(model, (5, 5, 2), None, (mean, np.ones(2))).stages
    assert fold_normalisation(stages) == stages
    assert fold_normalisation(stages[:1]) == stages[:1]
    plain = np.zeros(2), np.ones(2)
    adder = read(sequence(AdderConv2d(2, 3, 1)), (5, 5, 2), None, plain).stages
    assert fold_normalisation(adder) == adder
    made = quantize_model(model, smooth_images(8, (5, 5, 2)), normalise=(mean, np.ones(2)))
    assert isinstance(made.graph.ops[1], Pointwise)


@pytest.mark.parametrize("normalise", [
    ([0.5], [0.2]), ([0.5, 0.5], [0.2, 0.0]), ([0.5, float("nan")], [0.2, 0.2]),
])  # fmt: skip
def test_a_normalisation_that_is_none_is_refused(normalise):
    with pytest.raises(UserError, match=r"normalise must be 2 mean\(s\)"):
        quantize_model(
            sequence(nn.Conv2d(2, 1, 3)), smooth_images(2, (5, 5, 2)), normalise=normalise
        )


def test_rounding_errors_do_not_move_the_means():
    torch.manual_seed(0)
    model = sequence(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), AdderConv2d(5, 4, 3))
    model.append(nn.BatchNorm2d(4))
    shape = (9, 9, 2)
    trained(model, shape)
    images = smooth_images(64, shape, 1)
    made = quantize_model(model, images, Settings(bits=4))
    found = run(made.graph, images.astype(np.int64)) * made.layers[-1].scale
    gap = found.mean(axis=(0, 1, 2)) - model_output(model, images).mean(axis=(0, 1, 2))
    assert np.abs(gap).max() < 1e-3


def test_equal_inputs_give_equal_files():
    model, images = LeNet5().eval(), smooth_images(16, (28, 28, 1))
    first, second = (to_bytes(quantize_model(model, images).graph) for _ in range(2))
    assert first == second


def test_progress_is_told_layer_by_layer():
    told = []
    model = sequence(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    quantize_model(model, smooth_images(2, (8, 8, 1))[..., 0], progress=lambda *a: told.append(a))
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
        quantize_model(sequence(nn.Conv2d(1, 2, 3)), images)


def test_the_examples_and_the_digit_table_of_the_page_are_true():
    text = (ROOT / "docs" / "quantization.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    page = {}  # later examples go on from earlier ones
    for block in blocks:
        exec(compile(block, "quantization.md", "exec"), page)
    for digits in range(1, 6):
        grid = digit_grid(8, digits)
        written = set(grid[grid >= 0].tolist())
        reach = next(v for v in range(129) if v not in written) - 1
        assert f"| {digits} | {len(written)} | {reach} |" in text

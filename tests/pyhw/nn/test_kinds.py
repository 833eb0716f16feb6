"""A kind of layers of one's own: what is registered is all that there is to do."""

import numpy as np
import pytest
import torch
from torch import nn

from pyhw.graph.execute import run_layers
from pyhw.graph.ops import Conv
from pyhw.hdl.registry import Registry
from pyhw.nn import build_model, convert, parameter_groups
from pyhw.nn.kinds import KINDS, OPS, Counts, Kind, LayerClass, kind, layer_class, plain
from pyhw.quantizer.forms import Quantised, weight_form
from pyhw.quantizer.forms.products import Products
from pyhw.quantizer.model import quantize_model
from pyhw.training.layers import layer_sizes
from pyhw.training.methods import defaults, used_by


class Ternary:
    """Weights -1, 0 and 1, by the sign of what is trained."""

    def ternary(self):
        return torch.where(self.weight.abs() < 0.02, 0.0, self.weight.sign())


class TernaryConv2d(Ternary, nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.ternary(), self.bias)


class TernaryLinear(Ternary, nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.ternary(), self.bias)


class TernaryForm(Products):
    name = "ternary"

    def quantise(self, stage, scale, fmt, wanted, bits, settings):
        fields = {"term": "shift", "sign": stage.weight[None].astype(np.int8), "code_width": 3}
        fields["exponent"] = np.zeros_like(fields["sign"])
        return Quantised(fields=fields, slope=np.full(stage.channels, scale), digits=1)


@pytest.fixture
def ternary():
    before = Registry.saved()
    weight_form(TernaryForm)
    layer_class(LayerClass(
        classes=(TernaryConv2d, TernaryLinear), form="ternary",
        weight=lambda layer: layer.ternary(),
        counts=lambda layer, pairs: Counts(additions=pairs),
        increased=lambda layer: (layer.weight,),
    ))  # fmt: skip
    kind(Kind(name="ternary", conv=plain(TernaryConv2d), linear=plain(TernaryLinear), epochs=70,
              recipe={"lr": 0.02}, options=("gradient",)))  # fmt: skip
    yield
    Registry.restore(before)


def test_a_network_of_a_registered_kind_is_quantised_and_counted(ternary):
    torch.manual_seed(1)
    model = build_model("lenet5", "ternary").eval()
    images = np.random.default_rng(2).integers(0, 256, (16, 28, 28, 1)).astype(np.uint8)
    graph = quantize_model(model, images).graph
    convs = [op for op in graph.ops if isinstance(op, Conv)]
    assert len(convs) == 5
    first = next(m for m in model.modules() if isinstance(m, Ternary)).ternary().detach()
    assert np.array_equal(convs[0].weight_values[..., 0], first.numpy()[:, 0])
    assert all(set(np.unique(op.weight_values)) <= {-1, 0, 1} for op in convs)
    output = run_layers(graph, images.astype(np.int64))[graph.output].reshape(16, 10)
    with torch.no_grad():
        real = model(torch.tensor(images).permute(0, 3, 1, 2) / 255).numpy()
    assert np.corrcoef(output.ravel(), real.ravel())[0, 1] > 0.95
    sizes = layer_sizes(model)
    assert sum(s.products + s.shifts + s.differences for s in sizes) == 0
    assert sum(s.additions for s in sizes) == sum(s.sums for s in sizes) > 100_000


def test_converter_optimiser_and_recipe_ask_the_kind(ternary):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    assert {c.after for c in convert(model, "ternary")} == {"TernaryConv2d", "TernaryLinear"}
    groups = parameter_groups(model, 0.0, increase=3.0)
    assert [len(group["params"]) for group in groups] == [2, 2]
    assert defaults("cifar10", "ternary")["epochs"] == 70
    assert defaults("digits", "ternary")["lr"] == 0.02
    assert used_by()["gradient"] == ("adder", "shiftadd", "ternary")


def test_names_and_classes_are_registered_once(ternary):
    with pytest.raises(ValueError, match="Kind name 'adder' is taken"):
        kind(KINDS["adder"])
    with pytest.raises(ValueError, match="Layer class Conv2d is taken"):
        layer_class(LayerClass(classes=(nn.Conv2d,), form="conv", weight=id, counts=id))
    with pytest.raises(ValueError, match="Weight form 'ternary' is taken"):
        weight_form(TernaryForm)


def test_the_kinds_that_users_ask_for_are_the_published_ones():
    assert OPS == ("adder", "conv", "shift-ps", "shift-q", "shiftadd", "pemn")

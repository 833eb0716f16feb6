import pytest
import torch
from torch import nn

from pyhw.nn import AdderConv2d, AdderLinear, LeNet5, build_model


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
    with pytest.raises(ValueError, match="ops must be one of adder, conv, not 'mul'"):
        LeNet5("mul")
    with pytest.raises(ValueError, match="Model must be one of lenet5, not 'lenet6'"):
        build_model("lenet6")

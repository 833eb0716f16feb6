"""Networks that are no sequences: residuals, concatenation, tables, coded weights, cascades."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests


import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyhw.compiler import CompileError, compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run_layers
from pyhw.graph.ops import Concat, Conv, Pool
from pyhw.graph.torch_export import IntegerModule
from pyhw.hdl.formats import Format
from pyhw.hdl.presets import PRESETS
from pyhw.nn import AdderConv2d
from pyhw.nn.coded import CodedWeight
from pyhw.quantizer.forms.powers import codes_of
from pyhw.quantizer.reading import read
from tests.support.small_models import quantised_error, sequence, smooth_images


class ShiftConv2d(CodedWeight, nn.Conv2d):
    """Weights of one power of two each, from 2^-6 to 1; small ones are 0."""

    def codes(self):
        size = self.weight.detach().abs() / self.weight.detach().abs().max()
        exponent = size.clamp(min=2.0**-6).log2().round()
        sign = torch.where(size < 2.0**-6, 0, self.weight.detach().sign())
        return sign[None].to(torch.int8), torch.where(sign == 0, 0, exponent)[None].to(torch.int8)

    def effective_weight(self):
        sign, exponent = self.codes()
        return (sign * 2.0 ** exponent.float()).sum(0)

    def forward(self, x):
        return self._conv_forward(x, self.effective_weight(), self.bias)


class MaskedLinear(CodedWeight, nn.Linear):
    """Weights of -1/8, 0 and 1/8."""

    def codes(self):
        sign = self.weight.detach().sign() * (self.weight.detach().abs() > 0.1)
        return sign[None].to(torch.int8), (-3 * sign.abs())[None].to(torch.int8)

    def effective_weight(self):
        return self.codes()[0][0] / 8

    def forward(self, x):
        return F.linear(x, self.effective_weight(), self.bias)


class Block(nn.Module):
    """A residual block of a CIFAR ResNet."""

    def __init__(self, channels, out, stride=1, conv=AdderConv2d):
        super().__init__()
        self.conv1 = conv(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            self.downsample = sequence(conv(channels, out, 1, stride=stride), nn.BatchNorm2d(out))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, conv=AdderConv2d):
        super().__init__()
        self.stem = sequence(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.layer1, self.layer2 = Block(6, 6, conv=conv), Block(6, 8, 2, conv)
        self.pool, self.fc, self.bn = nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.pool(self.layer2(self.layer1(self.stem(x))))
        return self.bn(self.fc(x)).view(x.size(0), -1)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Function(nn.Module):
    """A forward given as a function of the layers in `inner` and x."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.inner, self.compute = nn.ModuleList(layers), forward

    def forward(self, x):
        return self.compute(self.inner, x)


def conv_mixer(conv=nn.Conv2d, linear=nn.Linear, act=nn.GELU):
    width = 8
    return sequence(
        conv(2, width, 2, stride=2, bias=False), act(), nn.BatchNorm2d(width),
        sequence(
            Residual(sequence(
                conv(width, width, 3, padding=1, groups=width, bias=False), act(),
                nn.BatchNorm2d(width),
            )),
            conv(width, width, 1, bias=False), act(), nn.BatchNorm2d(width),
        ),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), linear(width, 3, bias=False),
    )  # fmt: skip


def cascade():
    """ShiftAddNet: shift convolution and adder convolution with nothing between."""
    return sequence(
        ShiftConv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        sequence(
            ShiftConv2d(6, 8, 3, stride=2, padding=1, bias=False),
            AdderConv2d(8, 8, 3, padding=1),
        ),
        nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(5), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def branches(layers, x):
    stem, b, c = layers
    x = stem(x)
    joined = torch.cat([x, F.max_pool2d(x, 3, 1, 1), b(x)], dim=1)
    return torch.flatten(F.adaptive_avg_pool2d(F.relu(c(joined)), 1), 1)


def dense(layers, x):
    for layer in layers:
        x = torch.cat((x, F.relu(layer(x))), 1)
    return x.mean((2, 3))


NETWORKS = {
    "adder resnet": (ResNet, 0.12),
    "resnet": (lambda: ResNet(nn.Conv2d), 0.06),
    "shift resnet": (lambda: ResNet(ShiftConv2d), 0.06),
    "cascade": (cascade, 0.06),
    "convmixer": (conv_mixer, 0.25),
    "masked convmixer": (lambda: conv_mixer(ShiftConv2d, MaskedLinear), 0.25),
    "hardswish": (lambda: conv_mixer(act=nn.Hardswish), 0.25),
    "silu": (lambda: sequence(nn.Conv2d(2, 5, 3), nn.SiLU(), AdderConv2d(5, 3, 3)), 0.05),
    "relu, residual": (
        lambda: sequence(nn.Conv2d(2, 5, 3), Residual(sequence(nn.Conv2d(5, 5, 1), nn.ReLU())),
                         nn.ReLU(), nn.Conv2d(5, 3, 1)), 0.05),
    "two residuals": (
        lambda: Function(lambda m, x: m[3](F.relu(m[2](m[1](y := m[0](x)) + y) + y)),
                         nn.Conv2d(2, 5, 3), nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5),
                         nn.Conv2d(5, 3, 1)), 0.05),
    "sum without a layer": (
        lambda: Function(lambda m, x: m[2](m[1]((y := m[0](x)) + F.relu(y))),
                         nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), AdderConv2d(5, 3, 3)), 0.05),
    "twice itself": (lambda: Function(lambda m, x: m[1]((y := m[0](x)) + y),
                                      nn.Conv2d(2, 5, 3), nn.Conv2d(5, 3, 1)), 0.05),
    "table last": (lambda: sequence(nn.Conv2d(2, 5, 3), nn.GELU()), 0.05),
    "norm after table last": (
        lambda: sequence(nn.Conv2d(2, 5, 3), nn.GELU(), nn.BatchNorm2d(5)), 0.05),
    "residual last": (lambda: sequence(nn.Conv2d(2, 5, 3), Residual(nn.Conv2d(5, 5, 1))), 0.05),
    "images added": (lambda: sequence(Residual(nn.Conv2d(2, 2, 3, padding=1)), nn.ReLU(),
                                      nn.Conv2d(2, 3, 1)), 0.05),
    "branches": (
        lambda: Function(branches, sequence(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
                         nn.Conv2d(4, 3, 3, padding=1),
                         sequence(AdderConv2d(11, 4, 3), nn.BatchNorm2d(4))), 0.05),
    "dense": (lambda: Function(dense, nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 4, 1)), 0.05),
    "a layer twice": (lambda: Function(lambda m, x: m[1](m[1](m[0](x).relu()).relu()),
                                       nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)), 0.05),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_of_every_kind_are_near_their_models_and_compile(case):
    make, most = NETWORKS[case]
    torch.manual_seed(0)
    error, made = quantised_error(make(), (10, 10, 2))
    assert error < most
    images = smooth_images(3, (10, 10, 2), 5).astype(np.int64)
    layers = IntegerModule(made.graph).layers(torch.from_numpy(images))
    for name, expected in run_layers(made.graph, images).items():
        np.testing.assert_array_equal(layers[name].numpy(), expected, err_msg=name)
    config = PRESETS["default"].changed(tables=4)  # one for each layer with a function
    assert compile_graph(made.graph, config, 1).layers


def quantised(model):
    torch.manual_seed(0)
    return quantised_error(model, (10, 10, 2))[1].graph


def test_a_sum_of_two_branches_is_one_step_of_the_later_one():
    graph = quantised(ResNet())
    names = [op.name for op in graph.ops[1:]]
    assert names == ["stem.0", "layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2",
                     "layer2.downsample.0", "pool", "fc"]  # fmt: skip
    assert graph.op("layer1.conv2").post.residual == "stem.0"
    assert graph.op("layer2.downsample.0").post.residual == "layer2.conv2"
    assert graph.op("layer2.conv2").post.format == Format(8, True)
    assert graph.op("layer1.conv2").post.format == Format(8)
    r = graph.op("layer1.conv2").post.first.r
    assert len({int(v) for v in sum(s << e for s, e in r)}) <= 8


def test_norms_and_residuals_after_a_table_are_its_second_step():
    graph = quantised(conv_mixer())
    first, deep = graph.ops[1], graph.ops[2]
    assert first.post.table is not None
    assert first.post.second is not None
    assert deep.post.residual2 == first.name
    assert isinstance(graph.ops[4], Pool)
    assert len(graph.ops) == 6


def test_joined_maps_share_format_and_step():
    graph = quantised(NETWORKS["branches"][0]())
    concat = next(op for op in graph.ops if isinstance(op, Concat))
    assert len({graph.meta["scales"][name] for name in (*concat.inputs, concat.name)}) == 1
    assert graph.op(concat.inputs[0]).post.table is not None  # a ReLU into a signed format


def test_coded_weights_are_exported_as_they_are():
    torch.manual_seed(0)
    model = cascade()
    _, made = quantised_error(model, (10, 10, 2))
    for op, layer in ((made.graph.ops[1], model[0]), (made.graph.ops[2], model[3][0])):
        assert isinstance(op, Conv)
        weight = layer.effective_weight().detach().numpy().transpose(0, 2, 3, 1)
        ratio = op.weight_values[weight != 0] / weight[weight != 0]
        assert set(np.log2(ratio) % 1) == {0.0}
        assert ((op.weight_values == 0) == (weight == 0)).all()
    cascaded = made.graph.ops[3]
    assert cascaded.term == "l1"
    assert made.graph.op(cascaded.input).post.format == Format(8, True)
    assert cascaded.weight.min() < 0


def test_codes_move_to_exponents_from_zero_per_channel():
    sign = np.array([1, -1, 0, 1, 0, 0]).reshape(1, 3, 1, 1, 2)
    exponent = np.array([-6, -2, 0, -9, 0, 0]).reshape(1, 3, 1, 1, 2)
    moved, unit, width = codes_of(sign, exponent)
    assert moved.ravel().tolist() == [0, 4, 0, 0, 0, 0]
    assert unit.tolist() == [2.0**-6, 2.0**-9, 1.0]
    assert width == 4


def test_wide_shift_codes_need_a_wide_engine():
    class Wide(ShiftConv2d):
        def codes(self):
            sign, exponent = super().codes()
            return sign, torch.where(sign == 0, 0, exponent * 2).to(torch.int8)

    graph = quantised(sequence(Wide(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)))
    assert graph.ops[1].code_width == 5
    with pytest.raises(CompileError, match=r"wider shift\.code_width"):
        compile_graph(graph, PRESETS["default"], 1)


class Far(MaskedLinear):
    def codes(self):
        sign = torch.ones(1, *self.weight.shape)
        exponent = torch.zeros_like(sign)
        exponent[0, 0, 0] = -15
        return sign.to(torch.int8), exponent.to(torch.int8)

    def effective_weight(self):
        sign, exponent = self.codes()
        return (sign * 2.0 ** exponent.float()).sum(0)


class Liar(MaskedLinear):
    def effective_weight(self):
        return self.codes()[0][0] / 8 + 1


@pytest.mark.parametrize(("forward", "layers", "text"), [
    (lambda m, x: torch.flatten(torch.sin(m[0](x)), 1), [nn.Conv2d(2, 3, 1)], r"sin \(function\)"),
    (lambda m, x: m[0](x) * m[0](x), [nn.Conv2d(2, 3, 1)], "only the sum is supported"),
    (lambda m, x: 1 / m[0](x), [nn.Conv2d(2, 3, 1)], "only be divided by constants"),
    (lambda m, x: m[0](x) + torch.ones(3, 10, 10), [nn.Conv2d(2, 3, 1)], "not one number per"),
    (lambda m, x: torch.add(m[0](x), x, alpha=2), [nn.Conv2d(2, 2, 1)], "alpha=1"),
    (lambda m, x: m[0](x)[:, [1, 0]], [nn.Conv2d(2, 2, 1)], "only slices and numbers"),
    (lambda m, x: m[0](x)[:, 0], [nn.Conv2d(2, 2, 1)], "only flattening to"),
    (lambda m, x: F.dropout(m[0](x)), [nn.Conv2d(2, 2, 1)], "training=self.training"),
    (lambda m, x: F.pad(m[0](x), (1, 1), "reflect"), [nn.Conv2d(2, 2, 1)], "use ZeroPad2d"),
    (lambda m, x: F.pad(m[0](x), (0, 0, 0, 0, 1, 1)), [nn.Conv2d(2, 2, 1)], "height and width"),
    (lambda m, x: m[0](x).T, [nn.Conv2d(2, 2, 1)], "attribute 'T' cannot be read"),
    (lambda m, x: m[0](x).flatten(1).view(-1, 100), [nn.Conv2d(2, 2, 1)], "use x.flatten"),
    (lambda m, x: m[0](x).sum(0, True), [nn.Conv2d(2, 2, 1)], "use Conv2d"),
    (lambda m, x: m[0](x) + m[1](x), [nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3)],
     "adds maps of 10x10x3 and 8x8x3"),
    (lambda m, x: torch.cat([m[0](x), x], 2), [nn.Conv2d(2, 2, 1)], "over their channels"),
    (lambda m, x: torch.cat([m[0](x), x], 1), [nn.Conv2d(2, 2, 3)], "joins maps of different"),
    (lambda m, x: torch.cat([m[0](x).flatten(1), x.flatten(1)], 1), [nn.Conv2d(2, 2, 1)],
     "join the maps, then use Flatten"),
    (lambda m, x: m[0](x).view(-1, 3, 100), [nn.Conv2d(2, 3, 1)], "only flattening to"),
    (lambda m, x: m[0](x).mean(1), [nn.Conv2d(2, 3, 1)], "only the mean over height and width"),
    (lambda m, x: F.adaptive_avg_pool2d(m[0](x), 4), [nn.Conv2d(2, 3, 1)], "that divides 10"),
    (lambda m, x: F.avg_pool2d(m[0](x), 3, 2, 0, True), [nn.Conv2d(2, 3, 1)], "ceil_mode"),
    (lambda m, x: m[0](x).mean((2, 3), False, 3), [nn.Conv2d(2, 3, 1)], "its arguments are not"),
    (lambda m, x: m[0](x.flatten(1)), [Far(200, 3)], "span 15, more than the 14"),
    (lambda m, x: m[0](x.flatten(1)), [Liar(200, 3)], "its codes are not its weights"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(forward, layers, text):
    with pytest.raises(UserError, match=f"^1 layer cannot be quantised: .*{text}"):
        read(Function(forward, *layers), (10, 10, 2))


@pytest.mark.parametrize(("forward", "text"), [
    (lambda m, x: m[0](x) if x.sum() > 0 else x, "the model cannot be read: .*whatever the values"),
    (lambda m, x: (m[0](x), x), "must return one tensor"),
])  # fmt: skip
def test_models_of_another_form_are_refused(forward, text):
    with pytest.raises(UserError, match=text):
        read(Function(forward, nn.Conv2d(2, 2, 1)), (10, 10, 2))


def test_models_of_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(UserError, match="one tensor of images, not 2 inputs"):
        read(Two(), (10, 10, 2))

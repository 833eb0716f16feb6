"""Networks that are no sequences: residuals, concatenation, tables, coded weights, cascades."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch
from small_models import quantised_error, sequence, smooth_images
from torch import nn
from torch.nn import functional as F

from hdl.config import PRESETS
from pyhw.compiler import compile_graph
from pyhw.graph.execute import run_layers
from pyhw.graph.torch_export import IntegerModule
from pyhw.nn import AdderConv2d
from pyhw.nn.coded import CodedWeight


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
    "convmixer": (conv_mixer, 0.06),
    "masked convmixer": (lambda: conv_mixer(ShiftConv2d, MaskedLinear), 0.06),
    "hardswish": (lambda: conv_mixer(act=nn.Hardswish), 0.06),
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
    print(case, error, [(r.name, r.kind, r.fmt, round(r.error, 4)) for r in made.layers])
    assert error < most
    images = smooth_images(3, (10, 10, 2), 5).astype(np.int64)
    layers = IntegerModule(made.graph).layers(torch.from_numpy(images))
    for name, expected in run_layers(made.graph, images).items():
        np.testing.assert_array_equal(layers[name].numpy(), expected, err_msg=name)
    assert compile_graph(made.graph, PRESETS["default"], 1).layers

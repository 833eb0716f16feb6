"""Ordinary code of PyTorch users is read as it is."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from pyhw.errors import UserError
from pyhw.graph.execute import run
from pyhw.graph.ops import Conv, Pointwise, Pool
from pyhw.quantizer import advice
from pyhw.quantizer.activations import TABLES
from pyhw.quantizer.layers import take_of
from pyhw.quantizer.model import quantize_model
from pyhw.quantizer.report import QuantisationWarning
from tests.support.small_models import model_output, sequence, smooth_images, trained

SHAPE = (8, 8, 2)
IMAGES = smooth_images(24, SHAPE)


class Function(nn.Module):
    """A forward given as a function of the layers in `m` and x."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.m, self.compute = nn.ModuleList(layers), forward
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).view(1, 2, 1, 1))
        self.deviation = nn.Parameter(torch.tensor([0.2, 0.25]))

    def forward(self, x):
        return self.compute(self, x)


def near(model, most=0.05, images=IMAGES, **options):
    """Require integers near the model's own results, and return what was made."""
    made = quantize_model(model.eval(), images, **options)
    wanted = model_output(model, images)
    found = run(made.graph, images.astype(np.int64)).reshape(wanted.shape) * made.layers[-1].scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < most * wanted.std()
    return made


def head(features=144):
    return nn.Flatten(), nn.Linear(features, 3)


def network(*tail):
    torch.manual_seed(0)
    return sequence(nn.Conv2d(2, 4, 3), nn.ReLU(), *tail)


def function(forward, *layers):
    torch.manual_seed(0)
    return Function(forward, *(layers or (nn.Conv2d(2, 4, 3), nn.Linear(144, 3))))


def test_every_function_of_one_value_is_a_table():
    made = {nn.Threshold: lambda: nn.Threshold(0.1, -0.2), nn.RReLU: lambda: nn.RReLU(0.1, 0.2)}
    for kind in TABLES:
        layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), made.get(kind, kind)(), *head()
        near(trained(sequence(*layers), SHAPE))


@pytest.mark.parametrize("call", [
    lambda x: F.leaky_relu(x, 0.1), lambda x: F.elu(x, inplace=True), F.mish, F.softplus,
    lambda x: F.hardtanh(x, -0.5, 0.5), lambda x: F.prelu(x, torch.tensor([0.2])), F.celu,
    F.selu, F.softsign, F.logsigmoid, lambda x: F.threshold(x, 0.1, -0.2), torch.sigmoid,
    lambda x: x.clamp(-0.3, 0.4), lambda x: torch.clip(x, max=0.2), lambda x: x.clamp_(min=0),
    lambda x: x.clamp_min(0), lambda x: x.tanh_(),
])  # fmt: skip
def test_functions_are_tables_too(call):
    near(function(lambda s, x: s.m[1](call(s.m[0](x)).flatten(1))))


LAYERS = {
    "zero pad, stride": lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 3, 3, stride=2)],
    "zero pad, padding": lambda: [nn.ZeroPad2d((1, 0, 0, 2)), nn.ZeroPad2d(1),
                                  nn.Conv2d(4, 3, 3, padding=1)],
    "zero pad, maximum": lambda: [nn.ZeroPad2d(1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 3, 1)],
    "zero pad, average": lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(3, 2),
                                  nn.Conv2d(4, 3, 1)],
    "zero pad, nothing": lambda: [nn.ZeroPad2d(0), *head()],
    "ceil_mode, the same": lambda: [nn.MaxPool2d(2, 2, ceil_mode=True), *head(36)],
    "ceil_mode, more": lambda: [nn.MaxPool2d(3, 2, ceil_mode=True), *head(36)],
    "ceil_mode, padding": lambda: [nn.MaxPool2d(3, 2, 1, ceil_mode=True), *head(64)],
    "ceil_mode, average": lambda: [nn.AvgPool2d(2, 2, ceil_mode=True), *head(36)],
    "no pad counted, none there": lambda: [nn.AvgPool2d(2, count_include_pad=False), *head(36)],
    "no pad counted, one window": lambda: [nn.AvgPool2d(6, 6, 1, count_include_pad=False),
                                           *head(4)],
    "no pad counted, alike": lambda: [nn.AvgPool2d(4, 4, 1, count_include_pad=False), *head(16)],
    "divisor": lambda: [nn.AvgPool2d(2, divisor_override=3), *head(36)],
    "adaptive, nothing": lambda: [nn.AdaptiveAvgPool2d(6), *head()],
    "adaptive, windows": lambda: [nn.AdaptiveAvgPool2d(2), *head(16)],
    "adaptive, overlap": lambda: [nn.AdaptiveAvgPool2d((5, None)), *head(120)],
    "adaptive maximum": lambda: [nn.AdaptiveMaxPool2d(3), *head(36)],
    "norm of features": lambda: [nn.Flatten(), nn.BatchNorm1d(144), nn.Dropout(),
                                 nn.Linear(144, 3)],
    "norms of features": lambda: [nn.Flatten(), nn.BatchNorm1d(144),
                                  nn.BatchNorm1d(144, affine=False),
                                  nn.Linear(144, 3, bias=False), nn.BatchNorm1d(3)],
    "unflatten": lambda: [nn.Flatten(), nn.Unflatten(1, (4, 6, 6)), nn.Conv2d(4, 3, 3)],
    "sync batch norm": lambda: [nn.SyncBatchNorm(4), *head()],
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_layers_are_what_they_are_in_pytorch(case):
    model = network(*LAYERS[case]())
    if "sync" not in case:
        trained(model, SHAPE)
    near(model, 0.2 if case == "norms of features" else 0.05)  # weights of very different sizes


SIZES = {
    "x.size()[3]": lambda x: F.avg_pool2d(x, x.size()[3]),
    "x.shape[2]": lambda x: F.avg_pool2d(x, x.shape[2]),
    "x.size()[2:]": lambda x: F.avg_pool2d(x, x.size()[2:]),
    "both": lambda x: F.avg_pool2d(x, (x.size(2), x.size(3))),
    "maximum": lambda x: F.max_pool2d(x, x.shape[-2:]),
    "int": lambda x: F.avg_pool2d(x, int(x.shape[2])),
    "unpacked": lambda x: F.avg_pool2d(x, (lambda n, c, h, w: (h, w))(*x.shape)),
    "None": lambda x: F.adaptive_avg_pool2d(x, (1, None)).mean((2, 3), keepdim=True),
}


@pytest.mark.parametrize("case", SIZES)
def test_the_sizes_of_a_pool_may_come_of_the_map(case):
    made = near(function(lambda s, x: s.m[1](SIZES[case](s.m[0](x).relu()).flatten(1)),
                         nn.Conv2d(2, 4, 3), nn.Linear(4, 3)))  # fmt: skip
    assert any(isinstance(op, Pool) for op in made.graph.ops)


SHAPES = {
    "squeeze": lambda x: x.squeeze(-1).squeeze(-1),
    "squeeze all": lambda x: x.squeeze(),
    "index": lambda x: x[:, :, 0, 0],
    "view": lambda x: x.view(x.size(0), -1),
    "reshape": lambda x: torch.reshape(x, (len(x), 4)),
    "there and back": lambda x: x.flatten(1).unsqueeze(-1).unsqueeze(-1)[..., 0, 0],
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_map_of_one_position_may_lose_its_sides_in_any_way(case):
    near(function(lambda s, x: s.m[1](SHAPES[case](F.adaptive_avg_pool2d(s.m[0](x), 1))),
                  nn.Conv2d(2, 4, 3), nn.Linear(4, 3)))  # fmt: skip


NORMALISATIONS = {
    "x * 2 - 1": lambda s, x: x * 2 - 1,
    "1 - x": lambda s, x: 1 - x,
    "-x": lambda s, x: -x,
    "buffers": lambda s, x: (x - s.mean) / s.deviation[None, :, None, None],
    "functions": lambda s, x: torch.div(torch.sub(x, 0.5), 0.25),
    "in place": lambda s, x: x.clone().sub_(s.mean).div_(s.deviation.view(2, 1, 1)),
    "255": lambda s, x: (x * 255).sub(127.5).mul(1 / 127.5),
    "made there": lambda s, x: x - torch.tensor([0.1, 0.2]).reshape(2, 1, 1),
}


@pytest.mark.parametrize("case", NORMALISATIONS)
def test_arithmetic_on_the_images_is_the_normalisation(case):
    normalisation = NORMALISATIONS[case]
    made = near(function(lambda s, x: s.m[1](F.relu(s.m[0](normalisation(s, x))).flatten(1))))
    assert [type(op) for op in made.graph.ops[1:]] == [Conv, Conv]  # it went into the weights


def test_arithmetic_within_the_network_is_part_of_the_operation_before():
    made = near(function(lambda s, x: s.m[1]((1 - 2 * s.m[0](x).relu()).flatten(1) * s.scale)
                         if hasattr(s, "scale") else s.m[1]((1 - 2 * s.m[0](x)).flatten(1))))
    assert len(made.graph.ops) == 3
    per_feature = torch.linspace(0.5, 2, 144)
    near(function(lambda s, x: s.m[1](s.m[0](x).flatten(1) * per_feature + 1)))


# The normalisation of a data loader

MEAN, DEVIATION = np.array([0.4, 0.5]), np.array([0.2, 0.25])


def loader(model, images):
    """Return the model with the normalisation of its data loader before it."""
    scale = torch.tensor(1 / DEVIATION).float()[:, None, None]
    return Function(lambda s, x: s.m[0]((x - torch.tensor(MEAN).float()[:, None, None]) * scale),
                    model).eval()  # fmt: skip


FIRST = {
    "relu": lambda: (sequence(nn.ReLU(), nn.Conv2d(2, 4, 3, padding=1)), Pointwise),
    "pool, relu": lambda: (sequence(nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(2, 4, 3)), None),
    "joined": lambda: (function(lambda s, x: s.m[0](F.relu(torch.cat([x, x], 1))),
                                nn.Conv2d(4, 3, 3)), None),
    "skip": lambda: (function(lambda s, x: s.m[1](F.relu(s.m[0](x) + x)),
                              nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 3, 3)), Pointwise),
    "batch norm": lambda: (sequence(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3)), Conv),
}  # fmt: skip


@pytest.mark.parametrize("case", FIRST)
def test_what_reads_normalised_images_reads_them_with_their_signs(case):
    torch.manual_seed(0)
    model, first = FIRST[case]()
    made = quantize_model(model.eval(), IMAGES, normalise=(MEAN, DEVIATION))
    wanted = model_output(loader(model, IMAGES), IMAGES)
    found = run(made.graph, IMAGES.astype(np.int64)) * made.layers[-1].scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.05 * wanted.std()
    assert first is None or type(made.graph.ops[1]) is first


def test_a_skip_around_a_first_convolution_after_a_batch_norm_is_read():
    model = function(lambda s, x: s.m[2](F.relu(s.m[1](x := s.m[0](x)) + x)),
                     nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 3, 3))
    near(trained(model, SHAPE))


# Signatures and wrappers


class Options(Function):
    def forward(self, x, mask=None, *, features=False, scale: float = 2.0):
        assert x.shape[1] == 2, "two channels"
        assert mask is None
        if x.dim() != 4 or x.ndim != 4 or x.numel() == 0 or not x.is_floating_point():
            raise ValueError("four dimensions")
        if features:
            return self.m[0](x)
        return self.m[1](torch.flatten(self.m[0](x.to(x.device, x.dtype)) * scale, 1))


def test_arguments_with_defaults_and_asserts_of_shapes_do_no_harm():
    torch.manual_seed(0)
    near(Options(None, nn.Conv2d(2, 4, 3), nn.Linear(144, 3)))
    with pytest.raises(UserError, match="two channels"):
        quantize_model(Options(None, nn.Conv2d(2, 4, 3)), smooth_images(4, (8, 8, 3)))


class Shadow(nn.Module):
    """An average of weights as training scripts write it."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


@pytest.mark.parametrize("wrap", [
    nn.DataParallel, AveragedModel, Shadow, lambda m: Shadow(nn.DataParallel(m)), torch.compile,
    lambda m: sequence(nn.DataParallel(m[:2]), m[2:]),
], ids=["parallel", "averaged", "own", "two", "compiled", "a part"])  # fmt: skip
def test_wrappers_are_looked_through(wrap):
    model = network(*head()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what `torch.compile` imports
        made = quantize_model(wrap(model), IMAGES)
    plain = quantize_model(model, IMAGES)
    images = IMAGES.astype(np.int64)
    assert np.array_equal(run(made.graph, images), run(plain.graph, images))


def test_a_wrapper_that_computes_something_is_read_with_it():
    class Twice(Shadow):
        def forward(self, *args):
            return self.module(*args) * 2

    model = network(*head())
    near(Twice(model))


# The last layer


@pytest.mark.parametrize("last", [
    nn.LogSoftmax(1), nn.Softmax(-1), lambda x: F.log_softmax(x, dim=1), lambda x: x.softmax(-1),
], ids=["layer", "softmax", "function", "method"])  # fmt: skip
def test_a_last_softmax_is_left_out_and_named(last):
    torch.manual_seed(0)
    inner = network(*head()).eval()
    layers = (inner, last) if isinstance(last, nn.Module) else (inner,)
    model = function(lambda s, x: last(s.m[0](x)), *layers)
    made = quantize_model(model, IMAGES)
    assert re.fullmatch(r"\S+ \((Log)?Softmax\) is left out: the class is the same without it",
                        made.notes[0])  # fmt: skip
    assert made.graph.meta["notes"] == list(made.notes)
    found, wanted = (run(made.graph, IMAGES.astype(np.int64)).reshape(24, 3),
                     model_output(inner, IMAGES))  # fmt: skip
    error = found * made.layers[-1].scale - wanted
    assert np.sqrt(np.mean(error**2)) < 0.05 * wanted.std()
    with pytest.raises(UserError, match="it reads a softmax, which can only be the last"):
        quantize_model(sequence(model, nn.Linear(3, 2)), IMAGES)


# Averages of the whole map


@pytest.mark.parametrize("bits", [4, 8])
def test_an_average_over_the_map_is_as_exact_whatever_it_is_called(bits):
    from pyhw.quantizer.settings import Settings

    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Linear(4, 3)
    pools = [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(6), nn.AvgPool2d(6, 1), nn.AvgPool2d((6, 6), 9)]
    results = []
    for pool in pools:
        model = sequence(*layers[:2], pool, nn.Flatten(), layers[2]).eval()
        graph = quantize_model(model, IMAGES, Settings(bits=bits)).graph
        results.append(run(graph, IMAGES.astype(np.int64)))
    assert all(np.array_equal(result, results[0]) for result in results)


# Images and their scale


@pytest.mark.parametrize(("images", "text"), [
    ((IMAGES > 99).astype(np.uint8), "all pixels are 0 or 1"),
    (IMAGES * 0, "every pixel of them is 0"),
    (np.repeat(IMAGES[:1], 5, 0), "all 5 are the same"),
    (IMAGES / 255, r"not float64: pixels from 0 to 255, so \(255 \* images\)"),
    (IMAGES > 99, "not bool: pixels from 0 to 255"),
    (IMAGES.astype(np.int64), "not int64$"),
    (torch.tensor(IMAGES), r"not a tensor: use images\.numpy\(\)"),
])  # fmt: skip
def test_images_of_another_scale_or_kind_are_refused(images, text):
    with pytest.raises(UserError, match=text):
        quantize_model(network(*head()).eval(), images)


@pytest.mark.parametrize("normalise", [
    (np.array([33.3, 30]), np.array([78.6, 70])), (np.array([0.4, 0.4]), np.array([64.0, 0.2])),
])  # fmt: skip
def test_a_normalisation_in_other_units_is_refused(normalise):
    with pytest.raises(UserError, match=r"normalise must be in units of pixels / 255: .*divide"):
        quantize_model(network(*head()).eval(), IMAGES, normalise=normalise)


def test_dark_images_and_integers_that_lose_much_are_said():
    with pytest.warns(QuantisationWarning, match="brightest pixel of all calibration images is 15"):
        quantize_model(network(*head()).eval(), IMAGES // 17)
    torch.manual_seed(0)
    model = sequence(nn.Conv2d(2, 4, 1), nn.Hardtanh(-1000, 1000), nn.Conv2d(4, 3, 1)).eval()
    with torch.no_grad():
        model[0].bias += 500  # the values' spread is below their step
    with pytest.warns(QuantisationWarning, match=r"integers lose [0-9]+% of the spread"):
        made = quantize_model(model, IMAGES)
    assert "lose" in made.notes[-1]


# Advice


def test_what_a_refusal_advises_is_accepted():
    text = " ".join([*advice._INSTEAD, advice.SUPPORTED.replace("1d/2d", "2d")])
    names = set(re.findall(r"\b[A-Z]\w+\b", text))
    known = {name: getattr(nn, name) for name in names if hasattr(nn, name)}
    assert {"Conv2d", "ZeroPad2d", "BatchNorm2d", "Dropout"} <= set(known)
    sizes = {"Conv2d": (1, 1, 1), "Linear": (1, 1), "BatchNorm2d": (1,), "ZeroPad2d": (1,),
             "MaxPool2d": (2,), "AvgPool2d": (2,), "AdaptiveAvgPool2d": (1,),
             "AdaptiveMaxPool2d": (1,), "LayerNorm": (1,)}  # fmt: skip
    for name, kind in known.items():
        assert take_of(kind(*sizes.get(name, ()))) is not None, name
    refused = {name for names in advice._INSTEAD.values() for name in names.split()}
    assert not refused & {kind.__name__ for kind in (*TABLES, *known.values())}

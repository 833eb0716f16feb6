"""A quantised network is the user's network, or it is refused."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from pyhw.errors import UserError
from pyhw.graph.execute import run
from pyhw.nn.models import build_model
from pyhw.quantizer import guard
from pyhw.quantizer.images import PROBES
from pyhw.quantizer.model import quantize_model
from pyhw.quantizer.stage import Affine
from tests.support.small_models import model_output, sequence, smooth_images, trained

SHAPE = (8, 8, 2)
IMAGES = smooth_images(24, SHAPE)


def near(model, most=0.05, **options):
    """Require integers near the model's own results, and return what was made."""
    made = quantize_model(model, IMAGES, **options)
    wanted = model_output(model, IMAGES)
    found = run(made.graph, IMAGES.astype(np.int64)).reshape(wanted.shape) * made.layers[-1].scale
    assert np.sqrt(np.mean((found - wanted) ** 2)) < most * wanted.std()
    return made


class Function(nn.Module):
    """A forward given as a function of the layers in `m` and x."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.m, self.compute = nn.ModuleList(layers), forward

    def forward(self, x):
        return self.compute(self.m, x)


def small():
    torch.manual_seed(0)
    return sequence(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


# Weights that something computes before each pass


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


def old_spectral_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.spectral_norm(layer)


@pytest.mark.parametrize("change", [
    lambda layer: prune.l1_unstructured(layer, "weight", 0.5), old_weight_norm, old_spectral_norm,
    parametrizations.weight_norm, parametrizations.spectral_norm,
], ids=["prune", "weight_norm", "spectral_norm", "new weight_norm", "new spectral"])  # fmt: skip
def test_weights_that_are_computed_are_those_after_loading(change):
    trained_one, fresh = small(), small()
    for model in (trained_one, fresh):
        for layer in (model[0], model[3]):
            change(layer)
    with torch.no_grad():
        for parameter in trained_one.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn_like(parameter))
    fresh.load_state_dict(trained_one.state_dict())
    fresh.eval()
    near(fresh)  # without any pass between


# Hooks


def test_hooks_that_change_nothing_are_let_be():
    model, seen = small(), []
    model[0].register_forward_hook(lambda layer, inputs, result: seen.append(result.shape))
    near(model)
    assert seen


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_hook_that_changes_a_result_is_refused_where_it_is(place):
    model = small()
    model[place].register_forward_hook(lambda layer, inputs, result: 2 * result)
    with pytest.raises(UserError, match=f"values part at layer '{place}'"):
        quantize_model(model, IMAGES)


def test_a_hook_of_the_model_itself_is_read_as_part_of_it():
    model = small()
    model.register_forward_pre_hook(lambda layer, inputs: (inputs[0] * 2 - 1,))
    near(model)


# Changes in place


def after_identity(norm):
    return Function(lambda m, x: m[2](F.relu_(norm(y := m[0](x)))) + y,
                    nn.Conv2d(2, 4, 3, padding=1), norm, nn.Conv2d(4, 4, 3, padding=1))  # fmt: skip


def kept(m, x):
    x = m[0](x)
    both = [x]
    x += m[1](x)
    return m[2](torch.cat([x, both[0]], 1))


def scaled(m, x):
    y = m[0](x)
    z = y.detach()
    y *= 0.5
    y -= 0.1
    y /= 2
    return m[1](z)


@pytest.mark.parametrize("make", [
    lambda: after_identity(nn.Identity()),
    lambda: after_identity(nn.Dropout()),
    lambda: after_identity(nn.BatchNorm2d(4)),
    lambda: Function(lambda m, x: (y := m[0](x)) + F.relu(y, inplace=True), nn.Conv2d(2, 4, 3)),
    lambda: Function(kept, nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 3, 1)),
    lambda: Function(scaled, nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 1)),
    lambda: Function(lambda m, x: m[0](F.relu_(x - 0.5)) + m[0](x), nn.Conv2d(2, 4, 1)),
], ids=["identity", "dropout", "batch norm", "itself", "kept", "arithmetic", "plain"])  # fmt: skip
def test_a_change_in_place_reaches_every_name_of_the_tensor(make):
    torch.manual_seed(0)
    near(make().eval())


def test_a_part_of_what_is_changed_in_place_is_refused():
    def forward(m, x):
        y = m[0](x)
        flat = y.flatten(1)
        y[:, 0] = 0
        return m[1](flat)

    with pytest.raises(UserError, match="another form of what setitem changes in place"):
        quantize_model(Function(forward, nn.Conv2d(2, 2, 1), nn.Linear(128, 2)), IMAGES)


# Kinds that the reading does not see


class Counts(nn.Module):
    """Computes something else each time."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        self.count += 1
        return x * self.count


STRANGE = {
    "state": (lambda: sequence(nn.Conv2d(2, 3, 3), Counts()), "at layer '1.mul'"),
    "the batch": (lambda: Function(lambda m, x: m[0](x) / len(x), nn.Conv2d(2, 3, 3)), "last"),
    "its type": (lambda: Function(lambda m, x: m[0](x if isinstance(x, torch.Tensor) else -x),
                                  nn.Conv2d(2, 3, 3)), "layer 'm.0'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_what_tracing_does_not_see_is_refused(kind):
    make, place = STRANGE[kind]
    with pytest.raises(UserError, match=f"does not compute what quantisation reads.*({place})"):
        quantize_model(make(), IMAGES)


@pytest.mark.parametrize("fault", ["weight", "activation", "residual", "stride"])
def test_any_misreading_of_a_stage_is_refused_at_that_stage(fault, monkeypatch):
    torch.manual_seed(0)
    model = Function(lambda m, x: m[3](F.relu(m[2](y := F.relu(m[1](m[0](x)))) + y)),
                     nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1),
                     nn.Conv2d(4, 3, 1))  # fmt: skip
    trained(model, SHAPE)
    read = guard.read

    def misread(*args, **options):
        reading = read(*args, **options)
        if options:
            return reading  # the one to find the layer with
        stage = copy.copy(reading.stages[1])
        change = {"weight": {"weight": stage.weight * 1.01}, "activation": {"activation": None},
                  "residual": {"first": Affine()}, "stride": {"padding": (2, 2, 0, 0)}}  # fmt: skip
        for name, value in change[fault].items():
            object.__setattr__(stage, name, value)
        reading.stages[1] = stage
        return reading

    quantize_model(model, IMAGES)
    monkeypatch.setattr(guard, "read", misread)
    with pytest.raises(UserError, match=r"part between layer 'm\.2' and 'relu' \(by .* spread"):
        quantize_model(model, IMAGES)


def test_a_result_that_splits_images_or_is_no_tensor_is_refused():
    with pytest.raises(UserError, match=r"makes a tensor \(6, 2\) of 3 images"):
        quantize_model(Function(lambda m, x: m[0](x).mean((2, 3)).view(-1, 2),
                                nn.Conv2d(2, 4, 3)), IMAGES)  # fmt: skip
    with pytest.raises(UserError, match="must return one tensor, not a tuple"):
        quantize_model(Function(lambda m, x: (m[0](x), x), nn.Conv2d(2, 4, 3)), IMAGES)


def test_a_model_stays_as_it_was():
    model = trained(sequence(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout()), SHAPE)
    model.train()
    model[1].eval()  # frozen, as in fine-tuning
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = set(dir(model))
    quantize_model(model, IMAGES)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(dir(model)) == names


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_other_types_are_compared_too(dtype):
    quantize_model(small().to(dtype), IMAGES)
    with pytest.raises(UserError, match="does not compute what"):
        quantize_model(sequence(small(), Counts()).to(dtype), IMAGES)


def test_the_guard_runs_the_model_on_a_few_images_however_many_there_are(monkeypatch):
    seen = []
    run = guard._run
    monkeypatch.setattr(guard, "_run", lambda model, x: seen.append(len(x)) or run(model, x))
    model = build_model("resnet8", ops="adder").eval()
    guard.read_network(model, smooth_images(40, (32, 32, 3)))
    assert seen == [PROBES]
    assert PROBES <= 8

"""Reading torch models: stages that compute the same, and what is refused."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.hdl.registry import Registry
from pyhw.nn import AdderConv2d, AdderLinear, LeNet5
from pyhw.quantizer.extend import with_norm
from pyhw.quantizer.layers import join_kind, layer_kind
from pyhw.quantizer.reading import read
from pyhw.quantizer.reference import forward
from pyhw.quantizer.stage import Norm
from tests.support.small_models import model_output, sequence, smooth_images, trained


def test_the_stages_compute_what_the_model_computes():
    torch.manual_seed(0)
    shape = (9, 11, 2)
    model = sequence(
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
    trained(model, shape)
    images = smooth_images(5, shape)
    found = forward(read(model, shape).stages, images / 255)
    assert np.allclose(found.reshape(5, 7), model_output(model, images), atol=1e-4)


@pytest.mark.parametrize("linear", [nn.Linear, AdderLinear])
def test_a_linear_layer_after_a_map_reads_it_in_pytorchs_order(linear):
    torch.manual_seed(1)
    shape = (2, 3, 4)
    model = sequence(nn.Flatten(), linear(24, 5)).eval()
    images = smooth_images(6, shape)
    stages = read(model, shape).stages
    assert stages[0].weight.shape == (5, 2, 3, 4)
    weight = model[1].weight.detach().numpy()
    assert stages[0].weight[1, 1, 2, 3] == weight[1, 3 * 6 + 1 * 3 + 2]  # (c, y, x) flattened
    assert np.allclose(
        forward(stages, images / 255)[:, 0, 0], model_output(model, images), atol=1e-4
    )


def test_one_report_names_every_layer_that_cannot_be_quantised():
    class Own(nn.Module):
        def forward(self, x):
            return torch.sin(x)

    model = nn.Sequential()
    model.add_module("stem", sequence(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)))
    model.add_module("odd", Own())
    model.add_module("pool", nn.LPPool2d(2, 6))
    model.add_module("head", sequence(nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2)))
    with pytest.raises(UserError) as refused:
        read(model, (8, 8, 1))
    text = str(refused.value)
    assert text.startswith("4 layers cannot be quantised: stem.1 (GroupNorm): use BatchNorm2d; odd")
    assert "pool (LPPool2d): use AvgPool2d or MaxPool2d" in text
    assert "head.1 (LayerNorm): use BatchNorm2d" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")], "padding_mode must be 'zeros'"),
        ([nn.Conv2d(3, 2, 3)], "it takes 3 channels and gets 1"),
        ([nn.Conv2d(1, 2, 9)], "its kernel does not fit the 8x8 map"),
        ([nn.Flatten(), nn.Conv2d(1, 2, 3)], "it follows a Flatten"),
        ([nn.Flatten(), nn.MaxPool2d(2)], "it follows a Flatten"),
        ([nn.Flatten(2)], "only flattening to"),
        ([nn.Linear(8, 2)], "it must follow a Flatten"),
        ([nn.Flatten(), nn.Linear(63, 2)], "it takes 63 features and gets 8x8x1"),
        ([nn.AvgPool2d(3, ceil_mode=True)], "ceil_mode=False"),
        ([nn.AdaptiveAvgPool2d(3)], "divides 8"),
        ([nn.AdaptiveMaxPool2d(16)], "divides 8"),
        ([nn.MaxPool2d(9)], "its kernel does not fit the map"),
        ([nn.AdaptiveMaxPool2d(1, return_indices=True)], "return_indices=False"),
        ([nn.PReLU(1), nn.Conv2d(1, 2, 1), nn.PReLU(2)], "one slope"),
        ([nn.ZeroPad2d(1)], "it reads a padded map"),
        ([nn.ZeroPad2d(1), nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)], "it reads a padded map"),
        ([nn.Conv2d(1, 2, 3), nn.ZeroPad2d(1), nn.MaxPool2d(2)], "may be negative"),
        ([nn.ZeroPad2d(-1), nn.Conv2d(1, 2, 3)], "padding with zeros"),
        ([nn.ConstantPad2d(1, 0.5), nn.Conv2d(1, 2, 3)], "padding with zeros"),
        ([nn.Conv2d(1, 2, 3), nn.Softmax(2)], "dim=1"),
        ([nn.Flatten(), nn.BatchNorm1d(64), AdderLinear(64, 2)], "as BatchNorm2d"),
        ([nn.MaxPool2d(3, dilation=2)], "dilation and return_indices"),
        ([nn.AvgPool2d(3, padding=1, count_include_pad=False)], "count_include_pad=True"),
        ([nn.BatchNorm2d(1, track_running_stats=False)], "track_running_stats=True"),
        ([nn.Flatten(), nn.BatchNorm1d(64)], "put the batch norm before the Flatten"),
        ([nn.BatchNorm2d(3)], "3 features for a map of 8x8x1"),
    ],
)
def test_settings_that_cannot_be_quantised_are_refused_by_name(layers, text):
    with pytest.raises(UserError, match=f"^1 layer cannot be quantised: .*{text}"):
        read(sequence(*layers), (8, 8, 1))


def test_a_model_that_is_no_sequence_or_has_no_weights_is_refused():
    with pytest.raises(UserError, match=r"\(the model itself\) \(RMSNorm\): use BatchNorm2d"):
        read(nn.RMSNorm(8), (8, 8, 1))
    with pytest.raises(UserError, match="no convolution or linear layer"):
        read(sequence(nn.MaxPool2d(2), nn.ReLU()), (8, 8, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv2.weight", "bn3.running_var"])
def test_values_that_are_no_numbers_are_refused_by_layer(name, value):
    model = LeNet5()
    model.state_dict()[name].view(-1)[1] = value
    path, tensor = name.split(".")
    with pytest.raises(UserError, match=f"layer '{path}': its {tensor} holds NaN or infinite"):
        read(model, (28, 28, 1))


class Doubled(nn.Module):
    """A layer of one's own that tracing cannot look through."""

    def forward(self, x):
        return 2 * x if x.sum() > -1e9 else x


def test_a_layer_of_ones_own_is_one_registered_function():
    saved = Registry.saved()
    shape, model = (5, 6, 2), sequence(nn.Conv2d(2, 3, 3), Doubled(), nn.ReLU())
    images = smooth_images(4, shape)
    with pytest.raises(UserError, match="must compute the same layers whatever the values are"):
        read(model, shape)
    try:

        @layer_kind(Doubled)
        def _doubled(site, layer, ref):
            norm = Norm(*(np.full(ref.shape[2], number) for number in (2.0, 0.0, 0.0)))
            return site.build.extended(site.path, ref, lambda stage: with_norm(stage, norm))

        stages = read(model, shape).stages
        with pytest.raises(ValueError, match="Layer class Doubled is taken"):
            layer_kind(Doubled)(_doubled)
        with pytest.raises(ValueError, match="Join name 'add' is taken"):
            join_kind("add")(_doubled)
    finally:
        Registry.restore(saved)
    assert len(stages) == 1
    assert np.allclose(forward(stages, images / 255), model_output(model, images), atol=1e-5)

"""Networks of reference implementations that pyhw has for their checkpoints alone."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.nn.models import MODELS
from pyhw.quantizer import run as quantize_run
from pyhw.quantizer.model import quantize_model
from pyhw.training.checkpoint import load_checkpoint, read_content
from pyhw.training.data import Dataset
from pyhw.training.importer import import_checkpoint
from tests.support.their_states import (
    adder,
    cascade,
    fixed_cascade,
    image_resnet,
    plain,
    plain_resnet,
    resnet,
    shift,
    vgg19,
)

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def _import(tmp_path, state, source, model, **options):
    torch.save(state, tmp_path / "their.pth")
    found = import_checkpoint(tmp_path / "their.pth", source, model, tmp_path / "a.pt", **options)
    return found, load_checkpoint(tmp_path / "a.pt")[0]


def _narrow(monkeypatch, name, **sizes):
    """Give a network of the registry few channels, with everything else as it is."""
    network = MODELS[name]
    monkeypatch.setitem(MODELS, name, replace(network, build=partial(network.build, **sizes)))


def _power_weights(state, name):
    """The weights that DeepShift's layers compute with."""
    return state[f"{name}.sign"].round().sign() * 2 ** state[f"{name}.shift"].round()


def _forward(state, x, blocks, stages):
    """The published forward pass of a network with option-A shortcuts, in evaluation."""

    def norm(y, name):
        return F.batch_norm(y, *(state[f"{name}.{part}"] for part in
                                 ("running_mean", "running_var", "weight", "bias")))  # fmt: skip

    y = F.relu(norm(F.conv2d(x, _power_weights(state, "conv1"), padding=1), "bn1"))
    for stage in range(1, stages + 1):
        for block in range(blocks):
            base, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            z = F.conv2d(y, _power_weights(state, f"{base}.conv1"), stride=stride, padding=1)
            z = F.conv2d(F.relu(norm(z, f"{base}.bn1")), _power_weights(state, f"{base}.conv2"),
                         padding=1)  # fmt: skip
            if stride == 2:
                side = y.shape[1] // 2
                y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, side, side))
            y = F.relu(norm(z, f"{base}.bn2") + y)
    return F.linear(y.mean((2, 3)), _power_weights(state, "linear"), state["linear.bias"])


@pytest.mark.parametrize(("depth", "blocks", "width", "stages"),
                         [(20, 3, 16, 3), (32, 5, 16, 3), (18, 2, 8, 4)])  # fmt: skip
def test_cifar_networks_of_deepshift_compute_what_theirs_do(
    tmp_path, monkeypatch, depth, blocks, width, stages
):
    torch.manual_seed(0)
    if depth == 18:
        _narrow(monkeypatch, "resnet18-a", width=width)
    state = plain_resnet(shift, blocks, width, stages)
    found, model = _import(tmp_path, state, "deepshift", f"resnet{depth}")
    assert (found.recipe.model, found.recipe.ops) == (f"resnet{depth}-a", "shift-ps")
    assert len(found.matched) == len(state)
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(model(images), _forward(state, images, blocks, stages), rtol=1e-3)


def test_option_a_shortcuts_reach_the_graph_without_rounding(tmp_path):
    torch.manual_seed(0)
    _import(tmp_path, plain_resnet(shift, 3), "deepshift", "resnet20")
    model, meta = load_checkpoint(tmp_path / "a.pt")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    graph = quantize_model(model, images, normalise=meta.origin.normalise).graph
    shortcut = next(op for op in graph.ops if op.name == "layer2.0.shortcut")
    ones = np.zeros((32, 1, 1, 16), bool)
    ones[range(8, 24), 0, 0, range(16)] = True
    assert np.array_equal(shortcut.sign[0] == 1, ones)
    assert not shortcut.exponent.any()


@pytest.mark.parametrize(("model", "shapes"), [
    ("mnist-linear", {"fc1": (512, 784), "fc2": (512, 512), "fc3": (10, 512)}),
    ("mnist-conv", {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800),
                    "fc2": (10, 500)}),
])  # fmt: skip
def test_digit_networks_of_deepshift(tmp_path, model, shapes):
    state = {}
    for name, shape in shapes.items():
        shift(state, name, shape)
        state[f"{name}.bias"] = torch.randn(shape[0])
    found, ours = _import(tmp_path, state, "deepshift", model)
    assert len(found.matched) == 3 * len(shapes)
    assert (found.origin.mean, found.origin.deviation) == ((0.1307,), (0.3081,))
    name = list(shapes)[-1]
    assert torch.equal(ours.get_submodule(name).bias, state[f"{name}.bias"])


@pytest.mark.parametrize(("depth", "kernels", "blocks", "expansion"), [
    (18, (3, 3), (2, 2, 2, 2), 1), (50, (1, 3, 1), (3, 4, 6, 3), 4),
])  # fmt: skip
def test_torchvision_networks_of_deepshift(tmp_path, monkeypatch, depth, kernels, blocks,
                                           expansion):  # fmt: skip
    _narrow(monkeypatch, f"resnet{depth}-fc", width=4)
    state = image_resnet(plain, plain, kernels, blocks, 4, expansion, 1000, last_norm=False)
    found, ours = _import(tmp_path, state, "deepshift", f"resnet{depth}", bits=4)
    assert (found.recipe.model, found.recipe.ops) == (f"resnet{depth}-fc", "shift-q")
    assert len(found.matched) == len(state)
    assert torch.equal(ours.fc.weight.flatten(1), state["fc.weight"])
    assert found.origin.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("inner", [cascade, fixed_cascade])
def test_a_shiftaddnet_resnet50_has_nested_shortcuts(tmp_path, monkeypatch, inner):
    _narrow(monkeypatch, "resnet50", width=4)
    state = image_resnet(inner, shift, (1, 3, 1), (3, 4, 6, 3), 4, 4, 100)
    if inner is fixed_cascade:
        state["conv1.weight"] = _power_weights(state, "conv1")
        state["fc.weight"] = _power_weights(state, "fc")
        for name in ("conv1.shift", "conv1.sign", "fc.shift", "fc.sign"):
            del state[name]
    found, ours = _import(tmp_path, state, "shiftaddnet", "resnet50", classes=100)
    base = "layer3.0.downsample"
    assert torch.equal(ours.layer3[0].downsample[0][1].weight, state[f"{base}.0.1.adder"])
    assert torch.equal(ours.layer3[0].downsample[1].weight, state[f"{base}.1.weight"])
    assert found.recipe.layers.frozen is (inner is fixed_cascade)
    assert ours.fc.out_channels == found.origin.classes == 100


def test_shiftaddnets_resnet18_begins_its_blocks_with_a_1x1_convolution(tmp_path, monkeypatch):
    _narrow(monkeypatch, "resnet18-1x1", width=4)
    state = image_resnet(cascade, shift, (1, 3), (2, 2, 2, 2), 4, 1, 1000)
    found, ours = _import(tmp_path, state, "shiftaddnet", "resnet18")
    assert found.recipe.model == "resnet18-1x1"
    block = ours.eval().layer2[0]
    x = torch.rand(1, 4, 6, 6)
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())).relu()
    assert torch.equal(block(x), (y + block.downsample(x)).relu())


def test_a_shiftaddnet_vgg19_keeps_ordinary_linear_layers(tmp_path, monkeypatch):
    _narrow(monkeypatch, "vgg19-small", shrink=16)
    state = vgg19(cascade, 16, classes=100)
    found, ours = _import(tmp_path, state, "shiftaddnet", "vgg19-small", classes=100)
    assert len(found.matched) == len(state)
    assert torch.equal(ours.features[49][1].weight, state["features.49.1.adder"])
    assert torch.equal(ours.classifier[2].weight, state["classifier.2.weight"])
    assert ours(torch.rand(1, 3, 32, 32)).shape == (1, 100)


def test_a_fix8_network_of_cifar100_leaves_its_ranges_out(tmp_path):
    state = resnet(cascade, shift, 2)
    state["fc.shift"], state["fc.sign"] = torch.zeros(100, 64, 1, 1), torch.ones(100, 64, 1, 1)
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"bn2.{part}"] = torch.ones(100)
    for name in [name for name in state if name.endswith(".adder")]:
        for part in ("running_zero_point", "running_range"):
            place = name.replace("adder", f"quantize_input_fw.{part}")
            state[place] = torch.ones(1, 1, 1, 1)
    found, ours = _import(tmp_path, state, "shiftaddnet", "resnet8", classes=100)
    assert len(found.ignored) == 2 * 8
    assert (found.origin.mean, found.origin.deviation) == CIFAR
    assert ours.bn2.num_features == 100
    with pytest.raises(UserError, match=r"of other shapes: fc\.shift \(100, 64, 1, 1\), not \(10"):
        _import(tmp_path, state, "shiftaddnet", "resnet8")


@pytest.fixture
def few(monkeypatch):
    """Sixteen images of noise in place of CIFAR-10."""
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(16) % 10
    dataset = Dataset(name="cifar10", train_images=images, train_labels=labels,
                      test_images=images, test_labels=labels)  # fmt: skip
    monkeypatch.setattr(quantize_run, "load_dataset", lambda name, folder=None: dataset)
    return dataset


# Its weights are drawn: results hardly differ, and integers lose all of that.
@pytest.mark.filterwarnings("ignore::pyhw.quantizer.report.QuantisationWarning")
def test_the_normalisation_of_the_training_is_in_the_graph(tmp_path, few):
    torch.manual_seed(0)
    _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8")
    outcome = quantize_run.quantize_checkpoint(tmp_path / "a.pt", calibration=16)
    model, meta = load_checkpoint(tmp_path / "a.pt")
    assert (meta.origin.mean, meta.origin.deviation) == CIFAR
    mean, deviation = (np.array(part) for part in CIFAR)
    expected = quantize_model(model, few.train_images, normalise=(mean, deviation)).graph
    assert outcome.graph.ops == expected.ops
    assert outcome.graph.meta["normalise"] == {"mean": list(CIFAR[0]), "deviation": list(CIFAR[1])}
    seen = torch.tensor((few.test_images / 255 - mean) / deviation).permute(0, 3, 1, 2).float()
    right = (model(seen).argmax(1).numpy() == few.test_labels).mean()
    assert outcome.float_accuracy == 100 * right
    assert torch.allclose(meta.on_pixels(model)(torch.tensor(few.test_images / 255).permute(
        0, 3, 1, 2).float()), model(seen), rtol=1e-3, atol=1e-3)  # fmt: skip


def test_info_and_simulate_show_the_normalisation(tmp_path, few, capsys):
    _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8", normalise=([0.5], [0.25]))
    shown = "(pixels / 255 - (0.5, 0.5, 0.5)) / (0.25, 0.25, 0.25)"
    checkpoint = str(tmp_path / "a.pt")
    assert main(["quantize", checkpoint, "--calibration", "4", "--test-images", "5"]) == 0
    told = capsys.readouterr().out
    assert f"the graph takes in {shown}" in told
    assert "accuracy over 5 test images of cifar10" in told
    for name in ("a.pt", "a.pyhw"):
        assert main(["info", str(tmp_path / name)]) == 0
        assert shown in capsys.readouterr().out


def test_images_of_ones_own_calibrate_without_a_test(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8")
    np.save("own.npy", np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8))
    assert main(["quantize", "a.pt", "--data", "own.npy"]) == 0
    assert "calibrated with own.npy; not tested" in capsys.readouterr().out
    np.save("flat.npy", np.zeros(4, np.uint8))
    assert main(["quantize", "a.pt", "--data", "flat.npy"]) == 1
    assert "flat.npy must hold images (N, H, W)" in capsys.readouterr().err
    assert main(["quantize", "a.pt", "--data", "own.npy", "--test-images", "3"]) == 1
    assert "test-images must be a whole number from 0 to 0, not 3" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "words"), [
    ({"classes": 1}, "classes must be a whole number from 2"),
    ({"normalise": ([0.5, 0.5], [1.0, 1.0])}, r"must have 3 number\(s\) for resnet8, not 2"),
    ({"normalise": ([0.5], [0.0])}, "deviations above 0"),
    ({"normalise": ([float("nan")], [1.0])}, "one finite number for each channel"),
])  # fmt: skip
def test_what_cannot_be_a_normalisation_or_a_number_of_classes_is_refused(
    tmp_path, options, words
):
    with pytest.raises(UserError, match=words):
        _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8", **options)


def test_zero_and_one_are_no_normalisation(tmp_path):
    found, _ = _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8",
                       normalise=([0.0], [1.0]))  # fmt: skip
    assert found.origin.normalise is None


def test_a_damaged_origin_is_refused(tmp_path):
    _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet8")
    content = read_content(tmp_path / "a.pt")
    assert content["version"] == 2
    for change in ({"classes": "x"}, {"mean": 3}, {"mean": [0.1]}, {"extra": 1}):
        torch.save(content | {"origin": content["origin"] | change}, tmp_path / "b.pt")
        with pytest.raises(UserError, match=r"b\.pt is damaged: "):
            load_checkpoint(tmp_path / "b.pt")

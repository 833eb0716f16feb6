"""Checkpoints of reference implementations: documented names and shapes become pyhw's."""

import re

import pytest
import torch

from pyhw.cli import names
from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.nn.models import build_model
from pyhw.nn.options import LayerOptions
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.importer import import_checkpoint
from pyhw.training.keys import sources
from tests.support.their_states import (
    adder,
    cascade,
    fixed,
    fixed_cascade,
    plain,
    resnet,
    shift,
)


def _import(tmp_path, state, source, model="resnet8", **options):
    torch.save(state, tmp_path / "their.pth")
    found = import_checkpoint(tmp_path / "their.pth", source, model, tmp_path / "a.pt", **options)
    return found, load_checkpoint(tmp_path / "a.pt")[0].state_dict()


def test_the_command_line_offers_every_source():
    assert set(names.SOURCES) == set(sources())


@pytest.mark.parametrize(("prefix", "entry"), [
    ("module.", ""), ("module.", "state_dict"), ("_orig_mod.", "model_state_dict"),
    ("_orig_mod.module.", "model"), ("", "net"),
])  # fmt: skip
def test_an_adder_resnet20_is_read_whole(tmp_path, prefix, entry):
    state = resnet(adder, plain, 1, blocks=3)
    assert sum(t.numel() for name, t in state.items() if name.endswith("adder")) == 269_824
    saved = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    saved = {"epoch": 3, entry: saved, "best_prec1": 91.8} if entry else saved
    found, ours = _import(tmp_path, saved, "addernet", "resnet20")
    assert len(found.matched) == len(state) == len(ours)
    assert torch.equal(ours["layer2.0.conv1.weight"], state["layer2.0.conv1.adder"])
    assert torch.equal(ours["layer3.0.downsample.0.weight"], state["layer3.0.downsample.0.adder"])
    assert torch.equal(ours["bn2.weight"], state["bn2.weight"])
    assert ours["bn2.num_batches_tracked"] == 7


def test_a_shiftaddnet_cascade_is_read_and_its_ranges_left_out(tmp_path):
    state = resnet(cascade, shift, 2)
    state["layer1.0.conv1.1.quantize_input_fw.running_range"] = torch.ones(1, 1, 1, 1)
    found, ours = _import(tmp_path, {"state_dict": state}, "shiftaddnet")
    assert found.ignored == ("layer1.0.conv1.1.quantize_input_fw.running_range",)
    assert torch.equal(ours["layer2.0.downsample.0.1.weight"], state["layer2.0.downsample.1.adder"])
    assert torch.equal(ours["layer2.0.downsample.0.0.sign"], state["layer2.0.downsample.0.sign"])
    assert torch.equal(ours["layer2.0.downsample.1.bias"], state["layer2.0.downsample.2.bias"])
    old = {re.sub("adder$", "weight", name): tensor for name, tensor in state.items()}
    again = _import(tmp_path, old, "shiftaddnet")[1]
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.items())


def test_fixed_shift_layers_become_frozen_ones_with_the_same_weights(tmp_path):
    state = resnet(fixed_cascade, fixed, 2)
    found, _ = _import(tmp_path, state, "shiftaddnet")
    assert found.recipe.layers.frozen
    model = load_checkpoint(tmp_path / "a.pt")[0]
    for name in ("conv1", "layer2.0.conv1.0"):
        weight = model.get_submodule(name).effective_weight()
        assert torch.equal(weight, state[f"{name}.weight"])
    state["conv1.weight"][0, 0, 0, 0] = 0.3
    with pytest.raises(UserError, match=r"'conv1\.weight' must hold 0 and powers of two only"):
        _import(tmp_path, state, "shiftaddnet")


@pytest.mark.parametrize(("kind", "form"), [("shift-ps", shift), ("shift-q", plain)])
def test_deepshift_is_told_by_its_tensors(tmp_path, kind, form):
    def inner(state, name, shape, shortcut=False):
        form(state, f"{name}{'.0' * shortcut}", shape)

    state = resnet(inner, form, 1)
    for name in [name for name in state if name.startswith("fc.")]:
        state[name] = state[name][:, :, 0, 0]  # a linear layer there
    found, ours = _import(tmp_path, state, "deepshift", bits=4)
    assert found.recipe.ops == kind
    assert found.recipe.layers == LayerOptions(bits=4)
    assert torch.equal(ours["fc.sign" if kind == "shift-ps" else "fc.weight"].flatten(1),
                       state["fc.sign" if kind == "shift-ps" else "fc.weight"])  # fmt: skip


def test_another_network_is_refused_by_what_differs(tmp_path):
    state = resnet(adder, plain, 1)
    for name in [name for name in state if name.startswith("bn2.")]:
        del state[name]
    state["extra.adder"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(100, 64, 1, 1)
    with pytest.raises(UserError) as refusal:
        _import(tmp_path, state, "addernet")
    text = str(refusal.value)
    assert "their.pth is not resnet8 with adder layers; it lacks: bn2.weight, bn2.bias" in text
    assert (
        "it has besides: extra.adder; of other shapes: fc.weight (100, 64, 1, 1), not (10" in text
    )
    with pytest.raises(UserError, match=r"it lacks: layer1\.1\.conv1\.weight, .* and \d+ more"):
        _import(tmp_path, resnet(adder, plain, 1), "addernet", "resnet20")
    assert not (tmp_path / "a.pt").exists()


def test_what_cannot_be_imported_says_why(tmp_path):
    with pytest.raises(UserError, match="pemn cannot be imported: its networks have GELU before"):
        _import(tmp_path, {}, "pemn", "convmixer-256-6")
    with pytest.raises(UserError, match="source must be one of addernet"):
        _import(tmp_path, {}, "caffe")
    with pytest.raises(UserError, match="holds no table of tensors"):
        _import(tmp_path, [1], "addernet")
    with pytest.raises(UserError, match="no tensors under state_dict, model_state_dict, model"):
        _import(tmp_path, {"epoch": 1}, "addernet")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickled.pth")
    with pytest.raises(UserError, match="holds Python objects"):
        import_checkpoint(tmp_path / "pickled.pth", "addernet", "resnet8", tmp_path / "a.pt")


def test_files_of_old_pytorch_are_read(tmp_path):
    state = build_model("lenet5", "adder").state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = import_checkpoint(tmp_path / "old.pth", "addernet", "lenet5", tmp_path / "a.pt")
    assert len(found.matched) == len(state)


def test_the_command_lists_the_tensors_and_keeps_existing_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(resnet(adder, plain, 1), "their.pth")
    command = ["import", "their.pth", "--from", "addernet", "--model", "resnet8"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "layer1.0.conv1.adder -> layer1.0.conv1.weight\n" in printed
    assert printed.endswith("resnet8-addernet.pt: resnet8, adder layers, 60 tensors taken over, "
                            "0 left out\n")  # fmt: skip
    assert main(command) == 1
    assert "resnet8-addernet.pt exists: remove it" in capsys.readouterr().err

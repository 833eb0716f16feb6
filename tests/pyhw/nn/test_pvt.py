import pytest
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.nn import MODELS, LayerOptions, ShiftLinear, build_model
from pyhw.nn.attention import BinaryLinearAttention, SoftmaxAttention
from pyhw.nn.mixture import Mixture
from pyhw.nn.transfer import transfer
from pyhw.training.layers import layer_sizes


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def made(name, device="cpu", **options):
    with torch.device(device):
        return build_model(name, layers=LayerOptions(**options))


@pytest.mark.parametrize(
    ("name", "total"),
    [("pvtv2-b0", 3_666_760), ("pvtv2-b1", 14_009_000), ("pvt-tiny", 13_229_288),
     ("deit-tiny", 5_717_416)],
)  # fmt: skip
def test_parameters_are_the_published_ones(name, total):
    assert parameters(made(name, "meta")) == total


CLASS_TOKEN = 2 * (12 * 512**2 + 2 * 512 * (50**2 - 49**2))
"""Of two blocks of the last stage, which the published figure leaves out."""
KEYS = sum(2 * n * d * d for n, d in ((3136, 32), (784, 64), (196, 160)))
"""Projections of keys, which queries share in the authors' code."""


@pytest.mark.parametrize(
    ("name", "attention", "total", "beside"),
    [("pvtv2-b0", "softmax", 0.566, 0), ("pvtv2-b1", "softmax", 2.108, 0),
     ("pvt-tiny", "softmax", 1.926, CLASS_TOKEN), ("pvtv2-b0", "linear", 0.551, KEYS)],
)  # fmt: skip
def test_terms_are_the_published_ones(name, attention, total, beside):
    model = made(name, "meta", attention=attention).eval()
    sizes = layer_sizes(model, (3, 224, 224))
    terms = sum(size.products + size.sums for size in sizes)
    assert (terms - beside) / 1e9 == pytest.approx(total, abs=5e-4)


def test_each_form_counts_what_it_does():
    counted = {}
    for form in MODELS["shiftaddvit-mnist"].attention:
        model = made("shiftaddvit-mnist", "meta", attention=form).eval()
        for size in layer_sizes(model, (1, 28, 28)):
            if size.name.startswith("block1.0.attn") and size.name.rpartition(".")[2] in (
                "scores", "weighing", "context", "reading"
            ):  # fmt: skip
                kinds = (size.products, size.differences, size.shifts, size.sums)
                counted.setdefault(form, []).append(kinds)
    pairs = 49 * 49 * 32
    assert counted["softmax"] == counted["msa"] == [(pairs, 0, 0, 0)] * 2
    assert counted["log2"] == [(pairs, 0, 0, 0), (0, 0, pairs, 0)]
    assert counted["adder"] == [(0, pairs, 0, 0), (pairs, 0, 0, 0)]
    assert counted["binary"] == [(0, 0, 0, pairs), (pairs, 0, 0, 0)]
    assert counted["linear"] == counted["shiftadd"] == [(0, 0, 0, 49 * 32 * 32)] * 2


def test_the_forms_of_pvtv2_have_the_parameters_of_their_layers():
    # q, kv, sr and norm become one layer of the same size as q and kv, and a filter a head
    dims, heads, ratios = (32, 64, 160), (1, 2, 5), (8, 4, 2)
    reduction = sum(2 * (d * d * r * r + d + 2 * d) for d, r in zip(dims, ratios, strict=True))
    linear = 3_666_760 - reduction + sum(2 * 9 * h for h in heads)
    assert parameters(made("pvtv2-b0", "meta", attention="linear")) == linear
    # a shift layer has two latents a weight
    shift = linear + sum(2 * 4 * d * d for d in dims)
    assert parameters(made("pvtv2-b0", "meta", attention="shiftadd")) == shift
    mlps = sum(2 * 2 * d * d * r for d, r in zip((32, 64, 160, 256), (8, 8, 4, 4), strict=True))
    found = parameters(made("pvtv2-b0", "meta", attention="shiftadd", mlp="shift"))
    assert found == shift + mlps


def test_the_last_stage_of_pvtv2_keeps_softmax_attention():
    model = made("pvtv2-b0", "meta", attention="shiftadd", mlp="moe")
    for stage in (model.block1, model.block2, model.block3):
        assert type(stage[0].attn) is BinaryLinearAttention
        assert type(stage[0].attn.qkv) is ShiftLinear
    assert type(model.block4[0].attn) is SoftmaxAttention
    assert type(model.block4[0].attn.qkv) is nn.Linear
    assert type(model.block4[0].mlp.fc1) is Mixture


def test_the_whole_mlp_of_pvt_is_an_expert():
    mlp = made("pvt-tiny", "meta", mlp="moe").block1[0].mlp
    assert type(mlp) is Mixture
    assert [type(expert.fc1) for expert in mlp.experts] == [nn.Linear, ShiftLinear]


@pytest.mark.parametrize("name", ["shiftaddvit-mnist", "shiftaddvit-cifar"])
@pytest.mark.parametrize(
    ("attention", "mlp"),
    [("softmax", "dense"), ("linear", "dense"), ("shiftadd", "shift"), ("shiftadd", "moe")],
)
def test_each_form_gives_logits_and_gradients(name, attention, mlp):
    torch.manual_seed(0)
    model = made(name, attention=attention, mlp=mlp)
    y = model(torch.rand(3, *MODELS[name].input_shape))
    assert y.shape == (3, 10)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_network_with_a_class_token_classifies_it():
    torch.manual_seed(0)
    model = made("pvt-tiny").eval()
    model.cls_token.token.data.normal_()
    with torch.no_grad():
        y = model(torch.rand(1, 3, 224, 224))
    assert y.shape == (1, 1000)
    assert model.pos_embed4.embedding.shape == (1, 50, 512)


# --- from one form to the next


def test_each_step_takes_over_what_it_has_in_common():
    torch.manual_seed(0)
    first = made("shiftaddvit-mnist")
    second = made("shiftaddvit-mnist", attention="linear")
    report = {entry.path: entry for entry in transfer(second, first)}
    assert torch.equal(second.block1[0].attn.qkv.weight, first.block1[0].attn.qkv.weight)
    assert torch.equal(second.head.weight, first.head.weight)
    assert report["block1.0.attn.dconv.1"].note == "fresh"
    assert report["block1.0.attn.qkv"].note == "taken over"

    third = made("shiftaddvit-mnist", attention="shiftadd")
    transfer(third, second)
    attn = third.block1[0].attn
    old = second.block1[0].attn.qkv
    assert torch.equal(attn.qkv.bias, old.bias)
    ratio = attn.qkv.effective_weight() / old.weight
    assert ((ratio > 0.66) & (ratio < 1.42))[old.weight.abs() > 2**-13].all()
    assert torch.equal(attn.dconv[1].weight, second.block1[0].attn.dconv[1].weight)
    assert torch.equal(attn.binarise_q.threshold, second.block1[0].attn.binarise_q.threshold)

    fourth = made("shiftaddvit-mnist", attention="shiftadd", mlp="moe")
    transfer(fourth, third)
    experts = fourth.block2[0].mlp.fc1.experts
    assert torch.equal(experts[0].weight, third.block2[0].mlp.fc1.weight)
    assert torch.equal(experts[1].bias, third.block2[0].mlp.fc1.bias)
    assert torch.equal(fourth.block1[0].attn.qkv.shift, attn.qkv.shift)

    back = made("shiftaddvit-mnist", attention="shiftadd")
    transfer(back, fourth)
    assert torch.equal(back.block2[0].mlp.fc1.weight, experts[0].weight)


def test_separate_projections_are_joined():
    first, second = made("pvtv2-b0"), made("pvtv2-b0", attention="linear")
    transfer(second, first)
    old, new = first.block2[1].attn, second.block2[1].attn
    assert torch.equal(new.qkv.weight, torch.cat((old.q.weight, old.kv.weight)))
    assert torch.equal(new.qkv.bias, torch.cat((old.q.bias, old.kv.bias)))
    assert torch.equal(second.block4[0].attn.qkv.weight[256:], first.block4[0].attn.kv.weight)


def test_another_network_is_refused():
    with pytest.raises(UserError, match=r"patch_embed1.proj.weight must have shape \(32, 1, 7"):
        transfer(made("shiftaddvit-mnist"), made("shiftaddvit-cifar"))
    with pytest.raises(UserError, match="no part in common"):
        transfer(made("shiftaddvit-mnist"), nn.Sequential(nn.Linear(2, 2)))

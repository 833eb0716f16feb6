import math

import pytest
import torch
from torch import nn

from pyhw.nn.attention import (
    Binarise,
    BinaryLinearAttention,
    Distances,
    HeadNorm,
    Log2Softmax,
    ReducedAttention,
    SoftmaxAttention,
    TokenConvolution,
)
from pyhw.nn.kinds import Layers
from pyhw.nn.tokens import ToMap, ToTokens


def test_distances_are_sums_of_absolute_differences():
    q, k = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    scores = Distances(2, 3, 0.5)(q, k)
    assert scores.shape == (2, 3, 2, 2, 2)
    for piece in range(3):
        for head in range(2):
            part, wide = slice(2 * piece, 2 * piece + 2), slice(4 * head, 4 * head + 4)
            gaps = (q[:, part, None, wide] - k[:, None, part, wide]).abs().sum(-1)
            torch.testing.assert_close(scores[:, piece, head], -0.5 * gaps)


def test_log2_softmax_has_powers_of_two_over_their_sum():
    torch.manual_seed(0)
    x = 3 * torch.randn(4, 20)
    weights = Log2Softmax(8).eval()(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4))
    for row, values in zip(weights, x, strict=True):
        steps = values / math.log(2)
        steps = (steps - steps.max().ceil()).round()
        terms = torch.where(steps > -8, 2.0**steps, 0.0)
        torch.testing.assert_close(row, terms / terms.sum())
        exponents = (row[row > 0] / row[row > 0].min()).log2()
        torch.testing.assert_close(exponents, exponents.round())
    assert (weights == 0).any()


def test_log2_softmax_is_near_softmax_and_has_its_gradient():
    x = torch.randn(3, 49, requires_grad=True)
    layer = Log2Softmax(16).train()
    goal = torch.randn(3, 49)
    (gradient,) = torch.autograd.grad((layer(x) * goal).sum(), x)
    (soft,) = torch.autograd.grad((x.softmax(-1) * goal).sum(), x)
    torch.testing.assert_close(gradient, soft)
    error = (layer(x) - x.softmax(-1)).norm() / x.softmax(-1).norm()
    assert error < 0.3


def test_log2_softmax_of_equal_scores_is_even():
    assert torch.equal(Log2Softmax()(torch.full((2, 4), 300.0)), torch.full((2, 4), 0.25))


def test_thresholds_are_means_of_heads_measured_in_training_and_fixed_after():
    torch.manual_seed(0)
    layer = Binarise(2)
    layer.norm.momentum = None
    x = torch.randn(3, 5, 8) + torch.tensor([1.0] * 4 + [-2.0] * 4)
    trained = layer(x)
    means = torch.stack((x[..., :4].mean(), x[..., 4:].mean()))
    torch.testing.assert_close(layer.threshold, means)
    assert torch.equal(trained, torch.where(x > means.repeat_interleave(4), 1.0, -1.0))
    layer.eval()
    one = layer(x[:1])
    assert torch.equal(one, trained[:1])  # an image's codes do not depend on the others


def test_the_gradient_of_a_sign_passes_near_the_threshold_only():
    layer = Binarise(1).eval().train()
    x = torch.tensor([[[-3.0, -0.1, 0.1, 3.0]]], requires_grad=True)
    layer(x).backward(torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]))
    assert x.grad.abs().sum() > 0
    far = torch.tensor([[[-3.0, -0.1, 0.1, 3.0]]], requires_grad=True)
    layer(far).backward(torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]))
    assert torch.equal(far.grad, torch.zeros(1, 1, 4))


@pytest.mark.parametrize("along", [False, True])
def test_binary_linear_attention_computes_its_equation(along):
    torch.manual_seed(0)
    layer = BinaryLinearAttention(Layers("conv"), 8, 2, None if along else 3).eval()
    for part in (layer.binarise_q, layer.binarise_k):
        part.norm.running_mean.copy_(torch.tensor([0.1, -0.2]))
    x = torch.randn(2, 9, 8)
    q, k, v = layer.qkv(x).split(8, -1)
    y = torch.empty_like(v)
    for head, threshold in enumerate((0.1, -0.2)):
        part = slice(4 * head, 4 * head + 4)
        a = torch.where(q[..., part] > threshold, 1.0, -1.0)
        b = torch.where(k[..., part] > threshold, 1.0, -1.0)
        # Every pair of tokens, by the similarity of signs of length 1.
        alike = (a @ b.mT) / 4
        y[..., part] = 0.5 * v[..., part] + alike @ v[..., part] / math.pi
        y[..., part] /= y[..., part].norm(dim=-1, keepdim=True)
    torch.testing.assert_close(layer(x), layer.proj(y + layer.dconv(v)))


def test_a_filter_along_tokens_is_shared_by_the_channels_of_a_head():
    layer = TokenConvolution(2, 3)
    x = torch.randn(2, 5, 8)
    y = layer(x)
    padded = nn.functional.pad(x, (0, 0, 1, 1))
    for channel in range(8):
        taps = layer.weight[channel // 4].flatten()
        wanted = sum(taps[t] * padded[:, t : t + 5, channel] for t in range(3))
        torch.testing.assert_close(y[..., channel], wanted)
    assert layer.weight.shape == (2, 1, 3, 1)


def test_zero_heads_stay_zero():
    assert torch.equal(HeadNorm(2)(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def test_reduced_attention_sees_a_smaller_map():
    torch.manual_seed(0)
    layer = ReducedAttention(Layers("conv"), 8, 2, 4, ratio=2)
    x = torch.randn(2, 16, 8)
    small = layer.norm(layer.sr(x.mT.reshape(2, 8, 4, 4)).flatten(2).mT)
    k, v = layer.kv(small).split(8, -1)
    q, y = layer.q(x), torch.empty(2, 16, 8)
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[..., part] @ k[..., part].mT / 2).softmax(-1)
        y[..., part] = weights @ v[..., part]
    torch.testing.assert_close(layer(x), layer.proj(y))


@pytest.mark.parametrize("form", ["log2", "adder", "binary"])
def test_each_form_of_attention_learns(form):
    torch.manual_seed(0)
    layer = SoftmaxAttention(Layers("conv"), 8, 2, 6, form=form)
    layer(torch.randn(4, 6, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert layer.qkv.weight.grad[:16].abs().sum() > 0


def test_maps_become_tokens_row_by_row():
    x = torch.arange(12.0).reshape(1, 2, 2, 3)
    tokens = ToTokens()(x)
    assert tokens[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(ToMap(2, 3)(tokens), x)


def test_octaves_below_one_are_refused():
    with pytest.raises(ValueError, match="octaves must be at least 1, not 0"):
        Log2Softmax(0)

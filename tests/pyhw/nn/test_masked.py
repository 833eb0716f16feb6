import copy
import io
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.nn import (
    CompactMasks,
    LayerOptions,
    MaskedConv2d,
    MaskedLinear,
    build_model,
    compact,
    restore,
    share_prototypes,
)
from pyhw.nn.masked import random_powers
from pyhw.nn.powers import power, powers_of
from pyhw.nn.prototypes import SHARING, masked_layers

SHARINGS = [("dense", 1.0), ("one-layer", 1.0), ("mp", 1.0), ("rp", 0.1), ("rp", 1e-3)]


def network(sharing="dense", fraction=1.0, seed=0, sparsity=0.5):
    torch.manual_seed(seed)
    options = LayerOptions(sharing=sharing, fraction=fraction, sparsity=sparsity)
    return build_model("lenet5", "pemn", layers=options)


def mixer(sharing, fraction=1.0):
    torch.manual_seed(0)
    options = LayerOptions(sharing=sharing, fraction=fraction)
    return build_model("convmixer-256-6", "pemn", layers=options)


# --- layers


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_random_weights_are_powers_of_two_of_the_asked_width(bits):
    torch.manual_seed(0)
    drawn = random_powers(4000, 100, bits)
    sign, exponent = powers_of(drawn)
    assert (sign != 0).all()
    assert exponent.max() - exponent.min() <= max(0, 2 ** (bits - 1) - 2)
    assert abs(sign.float().mean()) < 0.05
    if bits > 2:
        assert 0.8 < drawn.std() / math.sqrt(2 / 100) < 1.25


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_mask_drops_the_smallest_scores_of_its_layer(sparsity):
    layer = MaskedConv2d(3, 5, 3, sparsity=sparsity)
    mask, scores = layer.mask(), layer.scores.abs()
    assert (mask == 0).sum() == int(sparsity * 135)
    if sparsity:
        assert scores[mask == 0].max() <= scores[mask == 1].min()


@pytest.mark.parametrize(("sharing", "fraction"), SHARINGS)
def test_codes_are_the_weights_bit_for_bit(sharing, fraction):
    for layer in masked_layers(network(sharing, fraction)).values():
        sign, exponent = layer.codes()
        assert sign.dtype == exponent.dtype == torch.int8
        assert sign.shape == exponent.shape == (1, *layer.weight_shape)
        assert not exponent[sign == 0].any()
        assert torch.equal((sign * power(exponent)).sum(0), layer.effective_weight())
        assert (sign == 0).sum() == layer.dropped


def test_gradient_of_the_scores_is_the_published_one():
    torch.manual_seed(0)
    layer = MaskedConv2d(4, 6, 3, groups=2)
    upstream = torch.randn(layer.weight_shape)
    layer.effective_weight().backward(upstream)
    fixed = layer.prototype.view(layer.weight_shape)
    torch.testing.assert_close(layer.scores.grad, layer.scores.sign() * fixed * upstream)


def test_layers_compute_with_the_effective_weights_and_train_scores_only():
    layer = MaskedConv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=True)
    x = torch.randn(2, 4, 7, 9)
    wanted = F.conv2d(x, layer.effective_weight(), layer.bias, (2, 1), (1, 0), (1, 2), 2)
    assert torch.equal(layer(x), wanted)
    assert {name for name, _ in layer.named_parameters()} == {"scores", "bias"}
    linear = MaskedLinear(9, 5)
    assert torch.equal(linear(x), F.linear(x, linear.effective_weight()))
    assert set(linear.state_dict()) == {"scores", "prototype"}


def test_a_mask_learns():
    torch.manual_seed(0)
    x = torch.randn(128, 32)
    layer = MaskedLinear(32, 1)
    hidden = torch.zeros(32).index_fill(0, torch.randperm(32)[:16], 1)
    target = x @ (layer.prototype * hidden)[:, None]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    first = None
    for _ in range(300):
        loss = F.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.1 * first


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="sparsity must be from 0 to below 1, not 1"):
        MaskedLinear(2, 2, sparsity=1)
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 8, not 1"):
        MaskedLinear(2, 2, bits=1)
    with pytest.raises(ValueError, match="signed powers of two"):
        MaskedLinear(2, 2).set_prototype(torch.tensor([3.0]))
    with pytest.raises(ValueError, match=r"must be a vector, not of shape \(0,\)"):
        MaskedLinear(2, 2).set_prototype(torch.empty(0))
    with pytest.raises(ValueError, match=r"sharing must be one of dense, .*, not 'all'"):
        share_prototypes(nn.Sequential(), "all")
    with pytest.raises(ValueError, match="fraction must be above 0 and at most 1, not 0"):
        share_prototypes(nn.Sequential(), "rp", 0)
    assert SHARING == ("dense", "one-layer", "mp", "rp")


# --- sharing


def test_dense_layers_have_weights_of_their_own():
    layers = masked_layers(network())
    assert [len(layer.prototype) for layer in layers.values()] == [150, 2400, 48000, 10080, 840]


def test_one_layer_shares_among_convolutions_of_a_shape():
    layers = masked_layers(mixer("one-layer"))
    vectors = {id(layer.prototype): layer.size for layer in layers.values()}
    assert sorted(vectors.values()) == [2560, 3072, 6400, 65536]  # head, patches, both kinds
    assert layers["8.1"].prototype is layers["3.1"].prototype


def test_max_layer_padding_takes_the_first_weights_of_the_largest_layer():
    layers = masked_layers(network("mp"))
    vector = layers["conv3"].prototype
    assert len(vector) == 48000
    for layer in layers.values():
        assert layer.prototype is vector
        fixed = layer._spread(vector).flatten()
        assert torch.equal(fixed, vector[: layer.size])


@pytest.mark.parametrize(("fraction", "length"), [(0.1, 4801), (1e-3, 49), (1e-5, 1), (1.0, 48000)])
def test_random_vector_is_short_and_repeated(fraction, length):
    layers = masked_layers(network("rp", fraction))
    vector = layers["conv3"].prototype
    assert len(vector) == length
    for layer in layers.values():
        assert layer.prototype is vector
        fixed = layer._spread(vector).flatten()
        assert torch.equal(fixed, vector[torch.arange(layer.size) % length])


def test_seed_decides_the_prototypes():
    models = [network(seed=seed) for seed in (1, 2)]
    for model in models:
        share_prototypes(model, "rp", 0.01, seed=7)
    first, second = (masked_layers(model)["conv2"].prototype for model in models)
    assert torch.equal(first, second)
    share_prototypes(models[0], "rp", 0.01, seed=8)
    assert not torch.equal(masked_layers(models[0])["conv2"].prototype, second)


def test_sharing_leaves_other_layers_alone():
    model = nn.Sequential(nn.Linear(2, 2))
    before = model[0].weight.clone()
    share_prototypes(model, "mp")
    assert torch.equal(model[0].weight, before)


# --- compact form


@pytest.mark.parametrize(("sharing", "fraction"), SHARINGS)
@pytest.mark.parametrize("sparsity", [0.5, 0.3])
def test_compact_form_gives_the_same_network_back(sharing, fraction, sparsity):
    model = network(sharing, fraction, sparsity=sparsity)
    x = torch.rand(4, 1, 28, 28)
    model(x)  # batch norms see something
    model.eval()
    file = io.BytesIO()
    torch.save(compact(model).state(), file)
    file.seek(0)
    masks = CompactMasks.from_state(torch.load(file, weights_only=True))
    other = network(seed=1, sparsity=sparsity).eval()
    assert not torch.equal(other(x), model(x))
    restore(other, masks)
    assert torch.equal(other(x), model(x))
    for path, layer in masked_layers(other).items():
        assert torch.equal(layer.effective_weight(), masked_layers(model)[path].effective_weight())
    assert len({id(layer.prototype) for layer in masked_layers(other).values()}) == (
        5 if sharing in ("dense", "one-layer") else 1
    )


@pytest.mark.parametrize(
    ("sharing", "fraction", "values"),
    [
        ("dense", 1.0, 437_248),
        ("one-layer", 1.0, 77_568),
        ("mp", 1.0, 65_536),
        ("rp", 1e-1, 6_554),
        ("rp", 1e-2, 656),
        ("rp", 1e-3, 66),
        ("rp", 1e-4, 7),
        ("rp", 1e-5, 1),
    ],
)
def test_stored_bytes_of_convmixer(sharing, fraction, values):
    masks = compact(mixer(sharing, fraction))
    assert masks.values == values
    assert masks.mask_bytes == 54_656
    assert masks.stored_bytes == values + 54_656
    counters = 13 * 8  # num_batches_tracked
    assert masks.rest_bytes == 53_248 + counters


def test_state_round_trip_keeps_sharing():
    model, other = network("rp", 0.01), network("rp", 0.01, seed=3)
    other.load_state_dict(model.state_dict())
    for path, layer in masked_layers(other).items():
        assert torch.equal(layer.effective_weight(), masked_layers(model)[path].effective_weight())
    assert len({id(layer.prototype) for layer in masked_layers(other).values()}) == 1
    copied = masked_layers(copy.deepcopy(model)).values()
    assert len({id(layer.prototype) for layer in copied}) == 1


def test_compact_form_that_does_not_fit_is_refused():
    masks = compact(network())
    with pytest.raises(UserError, match=r"layer '.*' is in one only"):
        restore(mixer("dense"), masks)
    with pytest.raises(UserError, match="layer 'conv1' has 150 weights and drops 45"):
        restore(network(sparsity=0.3), masks)
    with pytest.raises(UserError, match="no compact masked network"):
        CompactMasks.from_state({"format": "other"})
    with pytest.raises(UserError, match="version 2, not 1"):
        CompactMasks.from_state(masks.state() | {"version": 2})
    wrong = CompactMasks(vectors=masks.vectors, layers=masks.layers, rest={})
    with pytest.raises(UserError, match=r"'bn1\.bias' is in one only"):
        restore(network(), wrong)


def test_prototypes_of_all_exponents_survive():
    layer = MaskedLinear(4, 1, sparsity=0)
    layer.set_prototype(torch.tensor([2.0**-60, -(2.0**60), 1.0, 0.0]))
    masks = compact(layer)
    other = MaskedLinear(4, 1, sparsity=0)
    restore(other, masks)
    assert torch.equal(other.effective_weight(), layer.effective_weight())
    layer.set_prototype(torch.tensor([2.0**-70, 2.0**70]))
    with pytest.raises(ValueError, match="span at most 126"):
        compact(layer)

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyhw.nn import (
    AdderConv2d,
    AdderLinear,
    ShiftAddConv2d,
    ShiftAddLinear,
    ShiftConv2d,
    ShiftLinear,
    parameter_groups,
)
from pyhw.nn.powers import HIGHEST, LOWEST, exponent_range, power, powers_of, round_to_powers, value

OPTIONS = [
    {"mode": mode, "bits": bits, "terms": terms}
    for mode in ("ps", "q")
    for bits in (2, 3, 4, 5, 8)
    for terms in (1, 2)
    if terms == 1 or bits <= 5
]


def sums(layer):
    """The weights by their codes, in double precision and Python's powers."""
    sign, exponent = layer.codes()
    assert sign.dtype == exponent.dtype == torch.int8
    assert sign.shape == exponent.shape == (layer.terms, *layer.weight_shape)
    assert set(sign.unique().tolist()) <= {-1, 0, 1}
    assert not exponent[sign == 0].any()
    powers = torch.tensor([2.0**e for e in exponent.flatten().tolist()], dtype=torch.float64)
    return (sign * powers.view(sign.shape)).sum(0)


def make(**options):
    torch.manual_seed(0)
    return ShiftConv2d(6, 8, (3, 5), groups=2, **options)


# --- powers of two


def test_power_is_exact_over_the_whole_range_of_float32():
    exponents = torch.arange(LOWEST, HIGHEST + 1)
    assert power(exponents).tolist() == [2.0**e for e in exponents.tolist()]


def test_numbers_are_rounded_in_the_logarithmic_domain():
    edge = 2**-2.5  # between 1/8 and 1/4; their mean is 0.1875
    numbers = torch.tensor([0.0, edge - 1e-6, edge + 1e-6, -0.3, 5.0, 1e-9, -1e-9])
    sign, exponent = round_to_powers(numbers, -14, 0)
    assert value(sign, exponent).tolist() == [
        0, 0.125, 0.25, -0.25, 1, 2**-14, -(2**-14)
    ]  # fmt: skip


def test_second_term_takes_what_the_first_leaves_over():
    numbers = torch.tensor([0.75, -0.6, 0.5, 0.0, 1.0])
    sign, exponent = round_to_powers(numbers, -7, 0, terms=2)
    assert sign.tolist() == [[1, -1, 1, 0, 1], [-1, -1, 0, 0, 0]]
    assert exponent.tolist() == [[0, -1, -1, 0, 0], [-2, -3, 0, 0, 0]]


def test_two_terms_are_never_worse_than_one():
    numbers = torch.linspace(-1, 1, 4001)
    errors = [(value(*round_to_powers(numbers, -15, 0, terms)) - numbers).abs() for terms in (1, 2)]
    assert (errors[1] <= errors[0]).all()
    assert errors[1].mean() < 0.2 * errors[0].mean()


def test_powers_are_taken_apart_exactly_and_others_refused():
    numbers = torch.tensor([2.0**e for e in range(-126, 127)] + [0.0])
    for factor in (1, -1):
        sign, exponent = powers_of(factor * numbers)
        assert torch.equal(sign * power(exponent), factor * numbers)
    assert powers_of(torch.zeros(1))[1].item() == 0
    with pytest.raises(ValueError, match="signed powers of two"):
        powers_of(torch.tensor([0.75]))


@pytest.mark.parametrize(("mode", "lows"), [("ps", [0, -2, -6, -14]), ("q", [-1, -3, -7, -15])])
def test_exponent_ranges_are_the_published_ones(mode, lows):
    assert [exponent_range(mode, bits) for bits in (2, 3, 4, 5)] == [(low, 0) for low in lows]


# --- weights and codes


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_codes_are_the_weights_bit_for_bit(options, training):
    layer = make(**options).train(training)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3)  # beyond the range on purpose
            parameter.view(-1)[::7] = 0
    assert torch.equal(sums(layer), layer.effective_weight().detach().double())
    layer(torch.rand(1, 6, 5, 5))
    assert torch.equal(sums(layer), layer.effective_weight().detach().double())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_exponents_stay_in_range(options):
    layer = make(**options)
    low, high = exponent_range(options["mode"], options["bits"])
    sign, exponent = layer.codes()
    assert exponent.min() >= low
    assert exponent.max() <= high
    assert sign.any()


def test_weights_by_shift_and_sign_follow_the_equation():
    layer = ShiftLinear(6, 1)
    with torch.no_grad():
        layer.shift.copy_(torch.tensor([[-0.4, -1.6, -2.5, -3.5, -20.0, 1.0]]))
        layer.sign.copy_(torch.tensor([[0.6, -0.6, 0.51, -0.5, 1.0, -7.0]]))
    wanted = [[1.0, -0.25, 0.25, 0.0, 2**-14, -1.0]]
    assert layer.effective_weight().tolist() == wanted
    layer(torch.zeros(1, 6))  # latents are brought into their range, weights stay
    assert layer.effective_weight().tolist() == wanted
    assert layer.shift.min() == -14
    assert layer.shift.max() == 0


def test_about_half_of_the_weights_start_at_zero_by_shift_and_sign():
    torch.manual_seed(0)
    zero = (ShiftConv2d(32, 32, 3).effective_weight() == 0).float().mean()
    assert 0.45 < zero < 0.55


def test_first_exponents_of_convolutions_are_told_by_first():
    torch.manual_seed(0)
    assert ShiftConv2d(32, 32, 3).shift.min() > -10.001
    assert ShiftConv2d(32, 32, 3, first=None).shift.min() < -13
    assert ShiftLinear(32, 99).shift.min() < -13


def test_tiny_weights_go_up_and_zeros_stay_in_mode_q():
    layer = ShiftLinear(4, 1, mode="q", bits=4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-9, -1e-9, 0.0, 3.0]]))
    assert layer.effective_weight().tolist() == [[2**-7, -(2**-7), 0, 1]]
    layer(torch.zeros(1, 4))
    assert layer.weight.tolist() == [[2**-7, -(2**-7), 0, 1]]


def test_evaluation_leaves_the_latents_alone():
    layer = ShiftLinear(4, 2).eval()
    with torch.no_grad():
        layer.shift.fill_(3)
    layer(torch.zeros(1, 4))
    assert (layer.shift == 3).all()


# --- gradients


@pytest.mark.parametrize("terms", [1, 2])
def test_gradients_by_shift_and_sign_are_the_published_ones(terms):
    layer = make(terms=terms)
    upstream = torch.randn(layer.weight_shape)
    layer.effective_weight().backward(upstream)
    sign, exponent = layer.codes()
    each = (sign * power(exponent)).view(layer.shift.shape)
    torch.testing.assert_close(layer.shift.grad, upstream * each * math.log(2))
    torch.testing.assert_close(layer.sign.grad, upstream.expand_as(layer.sign))


@pytest.mark.parametrize("terms", [1, 2])
def test_gradient_passes_through_rounding_in_mode_q(terms):
    layer = make(mode="q", terms=terms)
    upstream = torch.randn(layer.weight_shape)
    layer.effective_weight().backward(upstream)
    assert torch.equal(layer.weight.grad, upstream)


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_convolution_is_an_ordinary_one_with_the_effective_weights(mode):
    layer = ShiftConv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=True, mode=mode)
    x = torch.randn(2, 4, 7, 9, requires_grad=True)
    wanted = F.conv2d(x, layer.effective_weight(), layer.bias, (2, 1), (1, 0), (1, 2), 2)
    assert torch.equal(layer(x), wanted)
    linear = ShiftLinear(9, 5, bias=True, mode=mode)
    assert torch.equal(linear(x), F.linear(x, linear.effective_weight(), linear.bias))


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_layer_learns(mode):
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    target = x @ torch.tensor([0.5, -0.25, 1.0, 0.0, -1.0, 0.125, 0.5, -0.5])[:, None]
    layer = ShiftLinear(8, 1, mode=mode, bits=3)  # more bits: exponents so low they hardly learn
    optimizer = torch.optim.SGD(parameter_groups(layer, 1e-4), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(200):
        loss = F.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-20:]) < 0.1 * losses[0]


# --- freezing, loading, saving


@pytest.mark.parametrize("mode", ["ps", "q"])
@pytest.mark.parametrize("prune", [0.0, 0.5, 0.3])
def test_frozen_weights_have_the_asked_share_of_zeros_and_stay(mode, prune):
    layer = make(mode=mode)
    layer.freeze(prune)
    before = layer.effective_weight().clone()
    count = before.numel()
    assert (before == 0).sum() == int(prune * count)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    layer.train()(torch.rand(1, 6, 5, 5))
    assert torch.equal(layer.effective_weight(), before)
    assert torch.equal(sums(layer), before.double())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_state_round_trip(options):
    layer = make(**options)
    torch.manual_seed(1)
    other = ShiftConv2d(6, 8, (3, 5), groups=2, **options)
    assert not torch.equal(layer.effective_weight(), other.effective_weight())
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.effective_weight(), other.effective_weight())
    assert torch.equal(copy.deepcopy(layer).effective_weight(), layer.effective_weight())


def test_that_a_layer_is_frozen_is_in_its_state():
    kept, fresh = (nn.Sequential(ShiftConv2d(2, 3, 1, bias=True)) for _ in range(2))
    kept[0].freeze(0.5)
    assert kept.state_dict()["0.frozen"]
    fresh.load_state_dict(kept.state_dict())
    assert fresh[0].frozen
    assert [name for name, p in fresh[0].named_parameters() if p.requires_grad] == ["bias"]
    older = {name: tensor for name, tensor in kept.state_dict().items() if name != "0.frozen"}
    kept.load_state_dict(older)  # as files have it that were written before
    assert kept[0].frozen


def test_published_names_of_parameters():
    assert set(ShiftConv2d(1, 1, 1, bias=True).state_dict()) == {"shift", "sign", "bias"}
    assert set(ShiftConv2d(1, 1, 1, mode="q").state_dict()) == {"weight"}


@pytest.mark.parametrize("mode", ["ps", "q"])
def test_loaded_weights_are_rounded(mode):
    layer = ShiftLinear(5, 1, mode=mode, bits=4)
    layer.load_weight(torch.tensor([[0.3, -0.9, 2.0, 0.0, 1e-4]]))
    last = 2**-6 if mode == "ps" else 2**-7
    assert layer.effective_weight().tolist() == [[0.25, -1, 1, 0, last]]


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("mode", ["ps", "q"])
def test_small_and_absent_numbers_are_taken_over_as_published(mode, terms):
    layer = ShiftLinear(4, 1, mode=mode, bits=3, terms=terms)
    layer.load_weight(torch.tensor([[1e-4, -1e-30, 0.0, torch.nan]]))
    small = 2.0**layer.low
    assert layer.effective_weight()[0, :3].tolist() == [small, -small, 0]
    assert layer.effective_weight()[0, 3].isnan()


def test_loaded_weights_of_two_terms_are_closer():
    weight = torch.randn(40, 40).mul_(0.1)
    for mode in ("ps", "q"):
        errors = []
        for terms in (1, 2):
            layer = ShiftLinear(40, 40, mode=mode, terms=terms)
            layer.load_weight(weight)
            errors.append((layer.effective_weight() - weight).abs().mean().item())
        assert errors[1] < 0.3 * errors[0]


def test_weight_decay_spares_latents_and_frozen_parameters_are_left_out():
    model = nn.Sequential(ShiftConv2d(1, 2, 3, bias=True), nn.BatchNorm2d(2), ShiftLinear(2, 2))
    model[2].freeze()
    decayed, spared = parameter_groups(model, 5e-4)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0)
    assert {id(p) for p in spared["params"]} == {id(model[0].shift), id(model[0].sign)}
    assert len(decayed["params"]) == 3
    assert len(parameter_groups(nn.Linear(1, 1), 0.1)) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "log"}, "mode must be one of ps, q, not 'log'"),
        ({"bits": 1}, "bits must be a whole number from 2 to 8, not 1"),
        ({"bits": 9}, "not 9"),
        ({"bits": True}, "not True"),
        ({"terms": 3}, "terms must be 1 or 2, not 3"),
        ({"terms": 2, "bits": 6}, "span at most 22"),
        ({"low": 1}, "low must be from -127 to 0, not 1"),
        ({"groups": 2}, "multiples of groups=2"),
        ({"stride": (1, 2, 3)}, "stride must be an int of at least 1, or two"),
        ({"padding": -1}, "padding must be an int of at least 0"),
        ({"groups": 0}, "groups must be at least 1, not 0"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        ShiftConv2d(3, 3, 3, **options)


def test_sizes_that_are_no_integers_are_named():
    with pytest.raises(TypeError, match=r"kernel_size must be an int or a pair of ints, not 3\.0"):
        ShiftConv2d(3, 3, 3.0)
    with pytest.raises(TypeError, match="in_features must be an int, not '3'"):
        ShiftLinear("3", 3)
    with pytest.raises(ValueError, match="prune must be from 0 to below 1, not 1"):
        ShiftLinear(3, 3).freeze(1)


def test_smallest_exponent_of_other_checkpoints():
    layer = ShiftConv2d(8, 8, 3, bits=4, low=-7, first=None)
    assert layer.codes()[1].min() == -7


# --- the cascade


def test_cascade_shifts_then_compares():
    torch.manual_seed(0)
    layer = ShiftAddConv2d(3, 4, 3, stride=2, padding=1)
    shift, adder = layer
    assert isinstance(shift, ShiftConv2d)
    assert isinstance(adder, AdderConv2d)
    assert shift.weight_shape == (4, 3, 3, 3)
    assert tuple(adder.weight.shape) == (4, 4, 3, 3)
    assert set(layer.state_dict()) == {"0.shift", "0.sign", "1.weight"}
    x = torch.rand(2, 3, 8, 8)
    assert layer(x).shape == (2, 4, 4, 4)
    assert torch.equal(layer(x), adder(shift(x)))
    assert (shift(x) < 0).any()  # nothing between them


@pytest.mark.parametrize(
    ("kernel", "padding", "dilation", "wanted"),
    [(3, 1, 1, 3), (5, 2, 1, 5), (1, 0, 1, 1), (5, 0, 1, 1), (2, 0, 1, 1), (3, 2, 2, 3)],
)
def test_adder_of_the_cascade_keeps_the_size(kernel, padding, dilation, wanted):
    layer = ShiftAddConv2d(2, 3, kernel, padding=padding, dilation=dilation)
    assert layer[1].weight.shape[2:] == (wanted, wanted)
    x = torch.rand(1, 2, 9, 9)
    assert layer(x).shape == layer[0](x).shape


def test_frozen_cascade_learns_in_its_adder_only():
    layer = ShiftAddConv2d(4, 4, 3, padding=1, frozen=True, prune=0.5)
    before = copy.deepcopy(layer.state_dict())
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.1)
    layer(torch.rand(2, 4, 6, 6)).square().mean().backward()
    optimizer.step()
    assert (layer[0].effective_weight() == 0).sum() == 4 * 4 * 9 // 2
    changed = {
        name for name, tensor in layer.state_dict().items() if (tensor != before[name]).any()
    }
    assert changed == {"1.weight"}


def test_linear_cascade():
    layer = ShiftAddLinear(5, 3, bias=True, mode="q", bits=4, terms=2)
    assert isinstance(layer[1], AdderLinear)
    assert layer[0].bias is None
    assert (layer[0].mode, layer[0].bits, layer[0].terms) == ("q", 4, 2)
    assert layer(torch.rand(2, 5)).shape == (2, 3)


def test_pruning_needs_frozen_weights():
    with pytest.raises(ValueError, match="prune must be 0 unless the shift layers are frozen"):
        ShiftAddLinear(3, 3, prune=0.5)


@pytest.mark.parametrize(("mode", "latent"), [("ps", "shift"), ("ps", "sign"), ("q", "weight")])
@pytest.mark.parametrize("terms", [1, 2])
def test_a_latent_that_is_no_number_is_a_weight_that_is_none(mode, latent, terms):
    layer = ShiftLinear(3, 2, mode=mode, bits=4, terms=terms)
    with torch.no_grad():
        getattr(layer, latent).view(-1)[4] = torch.nan
    weight = layer.effective_weight()
    assert weight.isnan().view(-1).tolist() == [k == 4 for k in range(6)]
    layer(torch.ones(1, 3)).sum().backward()

import copy
import warnings

import pytest
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.nn import (
    AdderConv2d,
    AdderLinear,
    LayerOptions,
    MaskedConv2d,
    MaskedLinear,
    ShiftAddConv2d,
    ShiftAddLinear,
    ShiftConv2d,
    ShiftLinear,
    convert,
)
from pyhw.nn.powers import round_to_powers, value

KINDS = {
    "adder": (AdderConv2d, AdderLinear),
    "shift-ps": (ShiftConv2d, ShiftLinear),
    "shift-q": (ShiftConv2d, ShiftLinear),
    "shiftadd": (ShiftAddConv2d, ShiftAddLinear),
    "pemn": (MaskedConv2d, MaskedLinear),
}


class Net(nn.Module):
    """A user's own: nested, with a branch."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.side = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        x = self.norm(self.body(x) + self.side(x))
        return self.head(self.hidden(torch.flatten(self.pool(x), 1)))


def kinds(model):
    paths = ("stem", "body.0", "side", "hidden", "head")
    return [type(model.get_submodule(path)) for path in paths]


def net():
    torch.manual_seed(0)
    return Net()


@pytest.mark.parametrize("ops", KINDS)
def test_all_layers_are_converted_where_nothing_is_exempt(ops):
    model, (conv, linear) = net(), KINDS[ops]
    report = convert(model, ops, exempt=())
    assert kinds(model) == [conv, conv, conv, linear, linear]
    assert [entry.path for entry in report] == ["stem", "body.0", "side", "hidden", "head"]
    assert all(entry.replaced for entry in report)
    y = model(torch.rand(2, 3, 6, 6))
    assert y.shape == (2, 4)
    y.sum().backward()


@pytest.mark.parametrize(
    ("ops", "edges"),
    [
        ("adder", (nn.Conv2d, nn.Linear)),
        ("shift-ps", (ShiftConv2d, ShiftLinear)),
        ("shift-q", (ShiftConv2d, ShiftLinear)),
        ("shiftadd", (ShiftConv2d, ShiftLinear)),
        ("pemn", (MaskedConv2d, MaskedLinear)),
    ],
)
def test_first_and_last_layer_are_as_published_by_default(ops, edges):
    model, (conv, linear) = net(), KINDS[ops]
    first, last = model.stem, model.head
    report = convert(model, ops)
    assert kinds(model) == [edges[0], conv, conv, linear, edges[1]]
    if ops == "adder":
        assert model.stem is first
        assert model.head is last
        assert [entry.note for entry in report if not entry.replaced] == ["first or last layer"] * 2


def test_exempt_patterns_keep_layers_and_all_below():
    model = net()
    report = convert(model, "shift-q", exempt=["body", "h*d"])
    assert kinds(model) == [ShiftConv2d, nn.Conv2d, ShiftConv2d, ShiftLinear, nn.Linear]
    kept = {entry.path: entry.note for entry in report if not entry.replaced}
    assert kept == {"body.0": "exempt by 'body'", "head": "exempt by 'h*d'"}


@pytest.mark.parametrize("ops", ["shift-ps", "shift-q"])
def test_shift_layers_take_over_the_weights(ops):
    model = net()
    before = copy.deepcopy(model)
    convert(model, ops)
    for path in ("stem", "body.0", "hidden"):
        old, new = before.get_submodule(path), model.get_submodule(path)
        codes = round_to_powers(old.weight, new.low, 0)
        assert torch.equal(new.effective_weight(), value(*codes))
        if old.bias is not None:
            assert torch.equal(new.bias, old.bias)


@pytest.mark.parametrize("ops", ["shift-ps", "shift-q"])
@pytest.mark.parametrize(("bits", "smallest"), [(2, {"shift-ps": 1, "shift-q": 0.5}),
                                                (3, {"shift-ps": 0.25, "shift-q": 0.125})])
def test_few_bits_keep_small_weights_at_the_smallest_power(ops, bits, smallest):
    model = nn.Sequential(nn.Conv2d(32, 32, 3))  # weights below 0.06
    before = copy.deepcopy(model)[0].weight
    convert(model, ops, layers=LayerOptions(bits=bits))
    assert torch.equal(model[0].effective_weight(), smallest[ops] * before.sign())


@pytest.mark.parametrize("ops", ["shift-ps", "shift-q"])
def test_small_weights_become_zero_by_name(ops):
    model = nn.Sequential(nn.Linear(1, 4))
    low = -2 if ops == "shift-ps" else -3
    scaled = torch.tensor([[0.49], [-0.51], [1.0], [-1e-9]])
    model[0].weight.data = scaled * 2.0**low
    convert(model, ops, layers=LayerOptions(bits=3), underflow="zero")
    assert (model[0].effective_weight() / 2.0**low).T.tolist() == [[0, -1, 1, 0]]
    with pytest.raises(ValueError, match="underflow must be one of smallest, zero, not 'none'"):
        convert(model, ops, underflow="none")


def test_options_reach_the_layers_and_sizes_type_and_mode_stay():
    model = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), (2, 1), "valid", (1, 2), 2), nn.Conv2d(6, 6, 3, padding="same")
    )
    model.double().eval()
    convert(model, "shift-ps", layers=LayerOptions(bits=4, terms=2))
    layer = model[0]
    assert (layer.bits, layer.terms, layer.training) == (4, 2, False)
    assert layer.shift.dtype == torch.float64
    assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 5), (2, 1), (0, 0))
    assert (layer.dilation, layer.groups) == ((1, 2), 2)
    assert model[1].padding == (1, 1)


def test_same_padding_of_an_even_kernel_is_a_layer_before():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, (2, 3), padding="same"),
                          nn.Conv2d(3, 2, (3, 4), padding="same", dilation=(1, 3)))  # fmt: skip
    with torch.no_grad():
        for layer in model:  # powers of two, which shift layers take over as they are
            power = 2.0 ** -torch.randint(0, 3, layer.weight.shape)
            layer.weight.copy_(layer.weight.sign() * power)
            layer.bias.zero_()  # they round it
    x = torch.rand(2, 2, 7, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch pads by a copy, and says so
        expected = model(x)
    report = convert(model.eval(), "shift-q", exempt=(), layers=LayerOptions(bits=4))
    assert [entry.after for entry in report] == ["ShiftConv2d"] * 2
    assert [tuple(part[0].padding) for part in model] == [(1, 1, 0, 1), (4, 5, 1, 1)]
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_masked_layers_share_as_told():
    model = net()
    convert(model, "pemn", layers=LayerOptions(sharing="rp", fraction=0.02))
    assert model.stem.prototype is model.head.prototype
    assert len(model.stem.prototype) == int(0.02 * 8 * 8 * 9) + 1


def test_a_layer_in_two_places_stays_one():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.ReLU(), layer, nn.Linear(3, 3))
    convert(model, "shift-q")
    assert model[1] is model[3]
    assert isinstance(model[1], ShiftLinear)


def test_converted_layers_are_not_converted_again():
    model = net()
    convert(model, "shift-q", exempt=["head"])
    report = convert(model, "pemn", exempt=())
    assert [entry.path for entry in report] == ["head"]
    assert kinds(model)[:4] == [ShiftConv2d] * 3 + [ShiftLinear]


class OwnLinear(nn.Linear):
    pass


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv1d(2, 2, 1), r"0 \(Conv1d\): only Conv2d and Linear have counterparts"),
        (nn.MultiheadAttention(2, 1), r"0 \(MultiheadAttention\): only Conv2d"),
        (nn.LSTM(2, 2), r"0 \(LSTM\): only Conv2d"),
        (OwnLinear(2, 2), r"0 \(OwnLinear\): a subclass may compute something else"),
        (hooked(), r"0 \(Linear\): it has hooks"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode must be 'zeros'"),
    ],
)
def test_what_cannot_be_converted_is_named_and_nothing_is_changed(layer, text):
    model = nn.Sequential(layer, nn.Linear(2, 2))
    with pytest.raises(UserError, match=f"1 layer cannot be converted.*{text}"):
        convert(model, "shift-q", exempt=())
    assert model[0] is layer
    assert type(model[1]) is nn.Linear
    assert [entry.path for entry in convert(model, "shift-q", exempt=["0"]) if entry.replaced] == [
        "1"
    ]


def test_all_problems_are_reported_at_once():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Bilinear(2, 2, 2))
    with pytest.raises(UserError, match=r"2 layers cannot .*0 \(Conv1d\).*; 1 \(Bilinear\)"):
        convert(model, "adder")


def test_models_that_cannot_be_converted_are_refused():
    with pytest.raises(
        UserError, match=r"\(the model itself\) \(Linear\): .*wrap it in Sequential"
    ):
        convert(nn.Linear(2, 2), "adder")
    with pytest.raises(UserError, match="no layer to convert to 'adder'"):
        convert(nn.Sequential(nn.ReLU()), "adder")
    with pytest.raises(UserError, match=r"exempt: no layer of the model fits 'layer9\.\*'"):
        convert(net(), "adder", exempt=["layer9.*"])
    with pytest.raises(ValueError, match="ops must be a kind without products, not 'conv'"):
        convert(net(), "conv")
    with pytest.raises(ValueError, match=r"ops must be one of .*, not 'mul'"):
        convert(net(), "mul")
    model = net()
    with pytest.raises(ValueError, match="bits must be"):
        convert(model, "shift-q", layers=LayerOptions(bits=1))
    assert kinds(model) == [nn.Conv2d] * 3 + [nn.Linear] * 2


def test_depthwise_adder_layers_and_rectangles_are_converted():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, (3, 5), padding=(2, 4), dilation=2, groups=4),
        nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    for ops, kind in (("adder", AdderConv2d), ("shiftadd", ShiftAddConv2d)):
        made = copy.deepcopy(model)
        convert(made, ops)
        assert type(made[1]) is kind
        assert made(torch.rand(1, 3, 9, 9)).shape == (1, 2, 9, 9)

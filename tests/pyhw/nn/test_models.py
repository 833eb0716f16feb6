import pytest
import torch
from torch import fx, nn

from pyhw.nn import (
    MODELS,
    OPS,
    AdderConv2d,
    AdderLinear,
    CodedWeight,
    LayerOptions,
    LeNet5,
    MaskedConv2d,
    MaskedLinear,
    ShiftConv2d,
    ShiftLinear,
    build_model,
)
from pyhw.nn.models import ConvMixer
from pyhw.nn.prototypes import masked_layers
from pyhw.training.layers import layer_sizes

LEAVES = (AdderConv2d, AdderLinear, CodedWeight)
SMALL = ("lenet5", "resnet8", "convmixer-256-6", "ds-cnn")
CNNS = [
    name for name, known in MODELS.items() if known.kinds[0] == "adder" and not known.theirs
]
BUILT = [(name, ops) for name in CNNS for ops in MODELS[name].kinds]


class Tracer(fx.Tracer):
    """As the quantiser traces: layers are leaves."""

    def is_leaf_module(self, module, path):
        return isinstance(module, LEAVES) or super().is_leaf_module(module, path)


def sizes_of(name, ops, **options):
    with torch.device("meta"):
        model = build_model(name, ops, layers=LayerOptions(**options)).eval()
    return layer_sizes(model, MODELS[name].input_shape)


def totals(name, ops, **options):
    sizes = sizes_of(name, ops, **options)
    return {
        what: sum(getattr(size, what) for size in sizes)
        for what in ("weights", "products", "differences", "shifts", "additions")
    }


# name: weights, and products of which the first and the last layer have so many
SIZES = {
    "lenet1": (3_220, 136_320, 59_520),
    "lenet5": (61_470, 416_520, 118_440),
    "vgg-small": (4_656_512, 607_600_640, 3_620_864),
    "resnet8": (77_360, 12_501_632, 443_008),
    "resnet20": (270_896, 40_813_184, 443_008),
    "resnet32": (464_432, 69_124_736, 443_008),
    "resnet18": (11_678_912, 1_814_073_344, 118_525_952),
    "resnet50": (25_502_912, 4_089_184_256, 120_061_952),
    "convmixer-256-6": (437_248, 111_282_688, 788_992),
    "convmixer-256-8": (581_120, 148_113_920, 788_992),
    "ds-cnn": (22_016, 2_656_768, 320_768),
}
STEM = {"ds-cnn": 320_000}
"""Terms of the first layer where it is a shift layer in an adder network."""


@pytest.mark.parametrize(("name", "ops"), BUILT)
def test_weights_and_operations_are_the_published_ones(name, ops):
    found = totals(name, ops)
    weights, products, edge = SIZES[name]
    if ops == "shiftadd":  # beside the shifts; see the next test
        assert found["shifts"] == products
        assert found["products"] == 0
        return
    assert found["weights"] == weights
    stem = STEM.get(name, 0)
    wanted = {
        "conv": (products, 0, 0),
        "adder": (edge - stem, products - edge, stem),
    }.get(ops, (0, 0, products))
    assert (found["products"], found["differences"], found["shifts"]) == wanted
    assert found["additions"] == products + found["differences"]


@pytest.mark.parametrize(
    ("name", "layers", "weights", "differences"),
    [("resnet20", 20, 295_424, 42_991_616), ("resnet32", 32, 488_960, 71_303_168)],
)
def test_cascades_have_the_published_sizes(name, layers, weights, differences):
    sizes = sizes_of(name, "shiftadd")
    adders = [size for size in sizes if size.differences]
    shifts = [size for size in sizes if size.shifts]
    assert (len(adders), sum(size.weights for size in adders)) == (layers, weights)
    assert sum(size.differences for size in adders) == differences
    assert (len(shifts), sum(size.weights for size in shifts)) == (layers + 2, SIZES[name][0])


def test_layers_of_adder_resnet20_one_by_one():
    sizes = {size.name: size for size in sizes_of("resnet20", "adder") if size.weights}
    assert len(sizes) == 22
    for name, weights, products, differences, shape in [
        ("conv1", 432, 442_368, 0, (16, 32, 32)),
        ("layer1.2.conv2", 2_304, 0, 2_359_296, (16, 32, 32)),
        ("layer2.0.conv1", 4_608, 0, 1_179_648, (32, 16, 16)),
        ("layer2.0.downsample.0", 512, 0, 131_072, (32, 16, 16)),
        ("layer3.0.conv1", 18_432, 0, 1_179_648, (64, 8, 8)),
        ("layer3.0.downsample.0", 2_048, 0, 131_072, (64, 8, 8)),
        ("layer3.2.conv2", 36_864, 0, 2_359_296, (64, 8, 8)),
        ("fc", 640, 640, 0, (10, 1, 1)),
    ]:
        size = sizes[name]
        assert (size.weights, size.products, size.differences) == (weights, products, differences)
        assert size.shape == shape


def test_layers_of_ds_cnn_one_by_one():
    sizes = {size.name: size for size in sizes_of("ds-cnn", "adder") if size.weights}
    assert len(sizes) == 10
    for name, weights, terms, shape in [
        ("conv", 2_560, (0, 0, 320_000), (64, 5, 25)),
        ("block1.depthwise", 576, (0, 72_000, 0), (64, 5, 25)),
        ("block4.pointwise", 4_096, (0, 512_000, 0), (64, 5, 25)),
        ("fc", 768, (768, 0, 0), (12,)),
    ]:
        size = sizes[name]
        assert (size.weights, size.shape) == (weights, shape)
        assert (size.products, size.differences, size.shifts) == terms


def test_layers_of_resnet50_one_by_one():
    sizes = {size.name: size for size in sizes_of("resnet50", "adder") if size.weights}
    assert len(sizes) == 54
    for name, weights, millions, shape in [
        ("layer1.0.downsample.0", 16_384, 51.38, (256, 56, 56)),
        ("layer2.0.conv1", 32_768, 102.76, (128, 56, 56)),
        ("layer2.0.conv2", 147_456, 115.61, (128, 28, 28)),  # the stride is on the 3x3
        ("layer4.0.downsample.0", 2_097_152, 102.76, (2048, 7, 7)),
        ("layer4.2.conv3", 1_048_576, 51.38, (2048, 7, 7)),
    ]:
        assert sizes[name].weights == weights
        assert round(sizes[name].differences / 1e6, 2) == millions
        assert sizes[name].shape == shape


def test_batch_norms_of_adder_resnet20_are_the_published_ones():
    model = build_model("resnet20")
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == 22
    state = model.state_dict()
    for name, shape in [
        ("conv1.weight", (16, 3, 3, 3)),
        ("layer2.0.downsample.0.weight", (32, 16, 1, 1)),
        ("layer2.0.downsample.1.running_mean", (32,)),
        ("fc.weight", (10, 64, 1, 1)),
        ("bn2.weight", (10,)),
    ]:
        assert tuple(state[name].shape) == shape


def test_convmixer_has_the_published_names_and_batch_norms():
    model = ConvMixer(256, 6, published=True)
    state = model.state_dict()
    for name in ("0.scores", "2.running_var", "3.0.fn.0.scores", "3.0.fn.2.bias", "8.1.scores",
                 "8.3.weight", "11.scores"):  # fmt: skip
        assert name in state
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert sum(p.numel() for norm in norms for p in norm.parameters()) == 6_656
    assert isinstance(model[1], nn.GELU)
    assert isinstance(model[2], nn.BatchNorm2d)


def test_two_terms_are_two_shifts():
    one, two = (totals("resnet8", "shift-q", terms=terms)["shifts"] for terms in (1, 2))
    assert two == 2 * one


@pytest.mark.parametrize(("name", "ops"), BUILT)
def test_models_can_be_traced_down_to_layers_that_are_known(name, ops):
    with torch.device("meta"):
        model = build_model(name, ops).eval()
    graph = Tracer().trace(model)
    known = (*LEAVES, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU,
             nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)  # fmt: skip
    for node in graph.nodes:
        if node.op == "call_module":
            assert isinstance(model.get_submodule(node.target), known)
        elif node.op == "call_function":
            assert node.target.__name__ in ("add", "flatten")
        else:
            assert node.op in ("placeholder", "output")


@pytest.mark.parametrize(
    ("name", "ops"), [(name, ops) for name, ops in BUILT if name in SMALL], ids=str
)
def test_every_trained_parameter_gets_a_gradient(name, ops):
    torch.manual_seed(0)
    model = build_model(name, ops, classes=7)
    y = model(torch.rand(2, *MODELS[name].input_shape))
    assert y.shape == (2, 7)
    y.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet20", "vgg-small"])
@pytest.mark.parametrize(
    ("ops", "edge", "inner"),
    [
        ("adder", (nn.Conv2d, nn.Linear), (AdderConv2d,)),
        ("conv", (nn.Conv2d, nn.Linear), (nn.Conv2d,)),
        ("shift-ps", (ShiftConv2d, ShiftLinear), (ShiftConv2d,)),
        ("shiftadd", (ShiftConv2d, ShiftLinear), (ShiftConv2d, AdderConv2d)),
        ("pemn", (MaskedConv2d, MaskedLinear), (MaskedConv2d,)),
    ],
)
def test_first_and_last_layers_are_as_published(name, ops, edge, inner):
    with torch.device("meta"):
        model = build_model(name, ops)
    kinds = (*LEAVES, nn.Conv2d, nn.Linear)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    assert type(layers[0]) is edge[0]
    assert type(layers[-1]) in edge
    assert {type(layer) for layer in layers[1:-1]} == set(inner)


def test_frozen_cascades_are_the_published_variant():
    options = LayerOptions(frozen=True, prune=0.5, low=-7)
    model = build_model("resnet20", "shiftadd", layers=options)
    layers = [layer for layer in model.modules() if isinstance(layer, ShiftConv2d)]
    assert all(layer.frozen for layer in layers)
    signs, exponents = (torch.cat(part) for part in zip(*(
        [codes.flatten() for codes in layer.codes()] for layer in layers)))  # fmt: skip
    assert (signs == 0).sum() == sum(layer.sign.numel() // 2 for layer in layers)
    counts = torch.bincount(-exponents[signs != 0].long())
    assert len(counts) == 8
    assert counts[0] == 0
    share = counts[1:] / counts.sum()
    assert (share - 1 / 7).abs().max() < 0.005  # of 135,000 draws


def test_options_reach_the_layers():
    options = LayerOptions(eta=None, bits=4, frozen=True, prune=0.5)
    model = build_model("lenet5", "shiftadd", layers=options)
    assert (model.conv2[0].bits, model.conv2[0].frozen, model.conv2[1].eta) == (4, True, None)
    assert model.conv1.frozen  # all shift layers
    assert (model.fc1[0].effective_weight() == 0).sum() == 84 * 120 // 2
    assert build_model("lenet5", "shift-q", layers=LayerOptions(terms=2)).fc1.terms == 2
    masked = build_model("lenet5", "pemn", layers=LayerOptions(sparsity=0.25, sharing="mp"))
    assert masked.conv2.sparsity == 0.25
    assert len({id(layer.prototype) for layer in masked_layers(masked).values()}) == 1
    with pytest.raises(ValueError, match="prune must be 0 unless"):
        build_model("lenet5", "shift-ps", layers=LayerOptions(prune=0.5))


def test_classes_are_those_of_the_data_set_unless_told():
    with torch.device("meta"):
        assert build_model("resnet18").fc.out_channels == 1000
        assert build_model("resnet18", classes=5).fc.out_channels == 5
        assert build_model("resnet20", "pemn").fc.out_channels == 10


@pytest.mark.parametrize("ops", OPS)
def test_state_round_trip(ops):
    torch.manual_seed(0)
    model, other = build_model("resnet8", ops), build_model("resnet8", ops)
    x = torch.rand(2, 3, 32, 32)
    for each in (model, other):  # batch norms see something
        each(x)
        each.eval()
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_the_same_seed_builds_the_same_network():
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_model("lenet5", "pemn").state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("ops", "adders"), [("adder", ["conv2", "conv3", "fc1"]), ("conv", [])])
def test_lenet5_has_adders_in_its_inner_layers_only(ops, adders):
    model = LeNet5(ops)
    kinds = (AdderConv2d, AdderLinear)
    assert [name for name, layer in model.named_children() if isinstance(layer, kinds)] == adders
    weighted = (*kinds, nn.Conv2d, nn.Linear)
    layers = {n: m for n, m in model.named_children() if isinstance(m, weighted)}
    assert list(layers) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert all(layer.bias is None for layer in layers.values())
    assert sum(layer.weight.numel() for layer in layers.values()) == 61470


@pytest.mark.parametrize("ops", ["adder", "conv"])
def test_lenet5_maps_have_the_classic_sizes(ops):
    x, shapes = torch.rand(2, 1, 28, 28), {}
    for name, layer in LeNet5(ops).named_children():
        x = layer(x)
        shapes[name] = tuple(x.shape[1:])
    assert shapes["conv1"] == (6, 28, 28)
    assert shapes["pool1"] == (6, 14, 14)
    assert shapes["conv2"] == (16, 10, 10)
    assert shapes["pool2"] == (16, 5, 5)
    assert shapes["conv3"] == (120, 1, 1)
    assert shapes["fc1"] == (84,)
    assert shapes["bn5"] == (10,)


def test_unknown_layers_and_models_are_named():
    with pytest.raises(ValueError, match=r"ops must be one of adder, conv, .*, not 'mul'"):
        LeNet5("mul")
    with pytest.raises(ValueError, match=r"Model must be one of lenet1, .*, not 'lenet6'"):
        build_model("lenet6")

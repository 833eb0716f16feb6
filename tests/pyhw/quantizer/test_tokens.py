"""Transformers: layers as stages, what becomes of them, and a trained network's accuracy."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
from torch import nn  # noqa: E402

from pyhw.errors import UserError  # noqa: E402
from pyhw.graph.execute import run, run_layers  # noqa: E402
from pyhw.graph.ops import Constant, MatMul, Permute, Pointwise, Stats  # noqa: E402
from pyhw.nn.attention import BinaryLinearAttention, Scores, SoftmaxAttention, Weighing  # noqa: E402
from pyhw.nn.attention.binary import Binarise, Log2Softmax  # noqa: E402
from pyhw.nn.attention.linear import HeadNorm, TokenConvolution  # noqa: E402
from pyhw.nn.attention.products import Context, Reading  # noqa: E402
from pyhw.nn.kinds import Layers  # noqa: E402
from pyhw.nn.mixture import Mixture  # noqa: E402
from pyhw.nn.models.sret import SReT, SReTSizes  # noqa: E402
from pyhw.nn.options import LayerOptions  # noqa: E402
from pyhw.nn.tokens import Coefficient, Mlp, PositionEmbedding, ToMap, ToTokens  # noqa: E402
from pyhw.quantizer.model import quantize_model  # noqa: E402
from pyhw.quantizer.qat import prepare_qat  # noqa: E402
from pyhw.quantizer.reading import read  # noqa: E402
from pyhw.quantizer.reference import Reals  # noqa: E402
from pyhw.quantizer.report import error_chart  # noqa: E402
from pyhw.quantizer.settings import Settings  # noqa: E402
from pyhw.quantizer.tokens import fold_norms  # noqa: E402
from pyhw.quantizer.tokens.attention import exponential  # noqa: E402

SIZES = SReTSizes(channels=(8, 16), heads=(2, 2), blocks=(1, 1), slices=((2, 2), (1, 1)),
                  hidden=2.0, stem=(2, 2), side=16)  # fmt: skip


def network(seed=0, **layers):
    """Return a small SReT whose numbers are not those of a fresh one."""
    torch.manual_seed(seed)
    model = SReT(SIZES, channels=1, classes=10, layers=LayerOptions(**layers)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.01, 0.05)
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, Coefficient):
            nn.init.uniform_(module.scale, 0.7, 1.3)
        if isinstance(module, PositionEmbedding):
            nn.init.normal_(module.embedding, std=0.3)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def made(images):
    model = network()
    return model, quantize_model(model, images)


def logits(model, images):
    with torch.no_grad():
        return model(torch.tensor(images / 255, dtype=torch.float32).movedim(3, 1)).numpy()


def integers(quantised, images):
    found = run(quantised.graph, images.astype(np.int64)).reshape(len(images), -1)
    return found * quantised.layers[-1].scale


def noise(quantised, model, images):
    """Return the error of the outputs beside the outputs, decibels."""
    real = logits(model, images)
    return 10 * np.log10(np.mean((integers(quantised, images) - real) ** 2) / np.mean(real**2))


def test_stages_compute_what_the_network_does(images):
    model = network()
    stages = read(model, (16, 16, 1)).stages
    for same in (stages, fold_norms(stages)):
        found = Reals(same, images / 255)[same[-1].path].z.reshape(len(images), -1)
        np.testing.assert_allclose(found, logits(model, images), rtol=1e-3, atol=1e-4)


def test_gamma_and_beta_go_into_the_layers_that_read_a_norm(made):
    stages = fold_norms(read(made[0], (16, 16, 1)).stages)
    norms = [stage for stage in stages if stage.kind == "norm"]
    assert len(norms) == 13
    assert all(stage.second is None for stage in norms)


def test_a_norm_keeps_gamma_and_beta_where_weights_are_codes(images):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 8, 4, 4)
            self.tokens, self.norm, self.map = ToTokens(), nn.LayerNorm(8), ToMap(4, 4)
            self.mlp = Mlp(Layers("shift-q", None), 8, 8)
            self.head = nn.Conv2d(8, 10, 4)
            self.flat = nn.Flatten()

        def forward(self, x):
            return self.flat(self.head(self.map(self.mlp(self.norm(self.tokens(self.stem(x)))))))

    torch.manual_seed(3)
    model = Net().eval()
    nn.init.uniform_(model.norm.weight, 0.5, 1.5)
    nn.init.normal_(model.norm.bias, std=0.3)
    quantised = quantize_model(model, images)
    assert quantised.graph.op("norm").post.second is not None
    assert noise(quantised, model, images) < -25


def test_the_integers_are_near_the_network(made, images):
    model, quantised = made
    assert noise(quantised, model, images) < -30
    assert all(layer.error < 0.1 for layer in quantised.layers)


@pytest.mark.parametrize(("settings", "most"), [
    (Settings(stream_bits=8), -25), (Settings(softmax_digits=1), -25),
    (Settings(token_terms=4), -30), (Settings(bits=6), -12),
])  # fmt: skip
def test_fewer_bits_and_digits_cost_little(made, images, settings, most):
    model, _ = made
    quantised = quantize_model(model, images, settings)
    assert noise(quantised, model, images) < most
    streams = {op.post.format.width for op in quantised.graph.ops if op.name.endswith("mlp.fc2")}
    assert max(streams) == settings.stream_bits
    digits = {op.digits for op in quantised.graph.ops if isinstance(op, MatMul) and op.form == "nn"}
    assert digits == {settings.softmax_digits}


def test_what_the_graph_is_made_of(made):
    ops = made[1].graph.ops
    kinds = [op.kind for op in ops if isinstance(op, Stats)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"layer": 13, "max": 4, "sum": 4}
    assert sum(isinstance(op, Constant) for op in ops) == 1
    assert sum(isinstance(op, Permute) for op in ops) == 2
    slices = [op.slices for op in ops if isinstance(op, MatMul)]
    assert slices == [2, 2, 2, 2, 1, 1, 1, 1]
    assert not [op.name for op in ops if op.name.endswith("qkv")]


def test_a_block_that_runs_twice_has_its_weights_once(made):
    ops = {op.name: op for op in made[1].graph.ops}
    again = [name for name in ops if name.endswith("_2") and hasattr(ops[name], "sign")]
    assert len(again) == 2 * 6
    for name in again:
        assert np.array_equal(ops[name].weight_values, ops[name[:-2]].weight_values), name


def test_torch_and_executor_agree_on_it(made, images):
    from pyhw.graph.torch_export import IntegerModule

    graph = made[1].graph
    layers = IntegerModule(graph).layers(torch.tensor(images[:4].astype(np.int64)))
    for name, expected in run_layers(graph, images[:4].astype(np.int64)).items():
        np.testing.assert_array_equal(layers[name].numpy(), expected, err_msg=name)


def test_loud_scores_take_sixteen_bits(images):
    model = network()
    for module in model.modules():
        if isinstance(module, Scores):
            module.scale *= 40
    graph = quantize_model(model, images).graph
    wide = [op for op in graph.ops if isinstance(op, MatMul) and op.form == "nt"
            and op.post.format.width == 16]  # fmt: skip
    assert wide
    weights = [op for op in graph.ops if isinstance(op, Pointwise) and op.post.table is not None]
    assert all(op.post.y_format.width == 8 for op in weights)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_weights_fall_by_half_in_each_octave(digits):
    for places in (2, 3, 4):
        table = exponential(places, digits)
        steps = [int(table[-octave * 2**places & 0xFF]) for octave in range(7)]
        top = 128 if digits == 1 else 255
        assert steps[0] == top
        assert all(abs(value - top / 2**octave) <= 1 for octave, value in enumerate(steps))
        assert table[-128 & 0xFF] == 0
        assert not table[1:128].any()


class _Parts(nn.Module):
    def __init__(self, stem, *tail):
        super().__init__()
        self.stem, self.tokens, self.tail = stem, ToTokens(), nn.Sequential(*tail)
        self.flat, self.head = nn.Flatten(), nn.Linear(8 * 16, 4)

    def forward(self, x):
        return self.head(self.flat(self.tail(self.tokens(self.stem(x)))))


class _Bare(nn.Module):
    """Products of other tensors than attention's."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x, x)
        return x


def stem():
    return nn.Conv2d(1, 8, 4, 4)


@pytest.mark.parametrize(("model", "text"), [
    (lambda: _Parts(stem(), ToMap(2, 8)), "tail.0 (ToMap): it makes a map of 2x8, and its tokens"),
    (lambda: _Parts(stem(), nn.LayerNorm((16, 8))), "only the 8 channels of a token can be norma"),
    (lambda: _Parts(stem(), nn.BatchNorm1d(16)), "use `pyhw.nn.tokens.ToMap` before it"),
    (lambda: _Parts(stem(), _Bare(Scores(3))), "heads must divide the 8 channels, not be 3"),
    (lambda: _Parts(stem(), _Bare(Scores(2, slices=3))), "slices must divide the 16 tokens"),
    (lambda: _Parts(stem(), _Bare(Weighing(2))), "it must read the weights of a Softmax of as man"),
    (lambda: _Parts(stem(), nn.Softmax(-1)), "it must be over the classes (dim=1)"),
    (lambda: nn.Sequential(stem(), nn.LayerNorm((8, 4, 4)), nn.Flatten(), nn.Linear(128, 4)),
     "1 (LayerNorm): use BatchNorm2d, or `pyhw.nn.tokens.ToTokens` before it"),
    (lambda: _Parts(stem(), Mixture(8, [nn.Linear(8, 8), nn.Linear(8, 8)])),
     "tail.0.router (Router): mixtures are not quantised yet"),
    (lambda: _Parts(stem(), TokenConvolution(2)), "use a 3x3 depthwise convolution of the map"),
    (lambda: _Parts(stem(), Log2Softmax()), "it must read scores"),
    (lambda: _Parts(stem(), _Bare(Context(2))), "its keys must be signs"),
    (lambda: _Parts(stem(), _Bare(Reading(2))), "it must read signs"),
    (lambda: _Parts(stem(), HeadNorm(3)), "heads must divide the 8 channels, not be 3"),
    (lambda: _Parts(stem(), Binarise(3)), "heads must divide the 8 channels, not be 3"),
    (lambda: nn.Sequential(stem(), Mlp(Layers("conv", None), 8, 8)), "it must follow a Flatten"),
])  # fmt: skip
def test_what_cannot_be_quantised_is_named(model, text):
    torch.manual_seed(0)
    with pytest.raises(UserError) as refused:
        read(model().eval(), (16, 16, 1))
    assert text in str(refused.value)


@pytest.mark.parametrize(("form", "most"), [("log2", -20), ("adder", -25), ("binary", -15)])
def test_other_forms_of_attention(images, form, most):
    model = network(attention=form)
    quantised = quantize_model(model, images)
    assert noise(quantised, model, images) < most
    products = [op for op in quantised.graph.ops if isinstance(op, MatMul)]
    assert {op.term for op in products if op.form == "nt"} == {"l1" if form == "adder" else "shift"}
    if form == "log2":
        assert {op.digits for op in products if op.form == "nn"} == {1}


def test_binary_linear_attention(images):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.tokens = stem(), ToTokens()
            self.attention = BinaryLinearAttention(Layers("conv", None), 8, 2, side=4)
            self.map, self.flat, self.head = ToMap(4, 4), nn.Flatten(), nn.Linear(128, 4)

        def forward(self, x):
            return self.head(self.flat(self.map(self.attention(self.tokens(self.stem(x))))))

    torch.manual_seed(1)
    model = Net().eval()
    quantised = quantize_model(model, images)
    assert noise(quantised, model, images) < -15
    forms = [(op.form, op.coded, op.digits) for op in quantised.graph.ops
             if isinstance(op, MatMul)]  # fmt: skip
    assert forms == [("tn", "a", 1), ("nn", "a", 1)]
    assert [op.kind for op in quantised.graph.ops if isinstance(op, Stats)] == ["l2"]


def test_norms_behind_what_is_refused_are_not_reported():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.sin(x)

    with pytest.raises(UserError, match=r"1 layer cannot be quantised: tail\.0\.sin"):
        read(_Parts(stem(), Odd(), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8)), (16, 16, 1))


def test_attention_of_one_token_and_one_head(images):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.tokens = nn.Conv2d(1, 8, 16), ToTokens()
            self.attention = SoftmaxAttention(Layers("conv", None), 8, 1, 1)
            self.norm, self.flat = nn.LayerNorm(8), nn.Flatten()
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.tokens(self.stem(x))
            return self.head(self.flat(self.norm(x + self.attention(x))))

    torch.manual_seed(1)
    model = Net().eval()
    assert noise(quantize_model(model, images), model, images) < -25


def test_a_chart_shows_where_a_network_loses(made):
    layers = made[1].layers
    head, *lines = error_chart(layers).splitlines()
    assert head.endswith("signal over error, dB")
    assert len(lines) == len(layers)
    for line, layer in zip(lines, layers, strict=True):
        assert line.startswith(layer.name)
        assert abs(line.count("#") * 1.5 - layer.decibels) < 1
        assert f"{-20 * np.log10(layer.error):.1f}" in line
    exact = replace(layers[0], error=0.0)
    assert error_chart([exact]).splitlines()[1].endswith("exact  " + 40 * "#")


def test_rounding_in_training_is_refused_in_one_line(images):
    with pytest.raises(UserError, match="a transformer is quantised after training only"):
        prepare_qat(network(), images)

"""Masked layers keep their prototype in the integer graph, without loss."""


import numpy as np
import pytest
import torch
from torch import nn

from pyhw.compiler import compile_graph
from pyhw.compiler.disassemble import layer_instructions
from pyhw.graph.execute import run
from pyhw.graph.file import from_bytes, to_bytes
from pyhw.graph.ops import Conv
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.isa import Space
from pyhw.nn.masked import MaskedConv2d, MaskedLinear
from pyhw.nn.prototypes import masked_layers, share_prototypes
from pyhw.quantizer.model import quantize_model
from tests.support.small_models import model_output, smooth_images, trained

CONFIG = Config.of(
    name="masked", shift=EngineConfig(rows=4, lanes=8, code_width=5, acc_width=32),
    burst_depth=16, load_bits=64, scratch_bytes=16384, weight_words=4096, prototypes=4096)
SHAPE = (12, 12, 2)


def network(sharing, fraction=1.0, bits=4):
    """Patches, a depthwise and a pointwise layer, a linear one that reads a 3x3 map."""
    torch.manual_seed(1)
    model = nn.Sequential(
        MaskedConv2d(2, 8, 2, stride=2, bits=bits), nn.BatchNorm2d(8), nn.ReLU(),
        MaskedConv2d(8, 8, 3, padding=1, groups=8, bits=bits), nn.BatchNorm2d(8), nn.ReLU(),
        MaskedConv2d(8, 9, 1, bits=bits), nn.BatchNorm2d(9), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), MaskedLinear(81, 5, bits=bits),
    )  # fmt: skip
    share_prototypes(model, sharing, fraction)
    return model


def quantised(model):
    trained(model, SHAPE)
    return quantize_model(model, smooth_images(64, SHAPE, 1))


@pytest.mark.parametrize(("sharing", "fraction", "vectors"), [
    ("dense", 1, 4), ("one-layer", 1, 4), ("mp", 1, 1), ("rp", 0.1, 1), ("rp", 1e-5, 1),
])  # fmt: skip
def test_every_masked_layer_keeps_its_prototype(sharing, fraction, vectors):
    model = network(sharing, fraction)
    made = quantised(model)
    graph = from_bytes(to_bytes(made.graph))
    convs = [op for op in graph.ops if isinstance(op, Conv)]
    assert len({op.prototype.tobytes() for op in convs}) == vectors
    for op, layer in zip(convs, masked_layers(model).values(), strict=True):
        assert len(op.prototype) == len(layer.prototype)
        weight = layer.effective_weight().detach().numpy()
        if weight.ndim == 2:
            weight = weight.reshape(5, 9, 3, 3)
        weight = weight.transpose(0, 2, 3, 1)
        # One power of two for the whole layer: the prototype's smallest entry.
        unit = float(layer.prototype.abs().min())
        assert np.array_equal(op.weight_values * unit, weight)
    images = smooth_images(32, SHAPE, 2)
    wanted, found = model_output(model, images), run(graph, images.astype(np.int64))
    error = found.reshape(wanted.shape) * made.layers[-1].scale - wanted
    assert np.sqrt(np.mean(error**2)) < 0.1 * wanted.std()


def test_a_quantised_masked_network_is_expanded():
    graph = quantised(network("rp", 0.1)).graph
    program = compile_graph(graph, CONFIG)
    layers = [layer for layer in layer_instructions(program, CONFIG)
              if CONFIG.engine(layer.terms.engine) == "shift"]
    assert len(layers) == 4
    assert all(layer.expansion.masked for layer in layers)
    weights = 8 * 8 + 8 * 9 + 9 * 8 + 81 * 5
    assert len(program.section(Space.WEIGHTS)) == -(-weights // 64) * 8
    assert len(program.section(Space.PROTOTYPES)) == int(0.1 * 81 * 5) + 1
    stored = compile_graph(graph, CONFIG.changed(prototypes=0))
    assert len(stored.section(Space.WEIGHTS)) > 8 * len(program.section(Space.WEIGHTS))


def test_a_prototype_of_too_wide_a_range_is_left_out():
    layer = MaskedConv2d(2, 3, 1)
    layer.set_prototype(torch.tensor([1.0, 2.0**-20]))
    with torch.no_grad():
        layer.scores.copy_(torch.tensor([1.0, 0.5]).view(1, 2, 1, 1).expand(3, 2, 1, 1))
    made = quantize_model(nn.Sequential(layer), smooth_images(16, SHAPE, 1))
    conv = made.graph.ops[1]
    assert conv.prototype is None
    assert conv.weight_values.reshape(3, 2).tolist() == [[1, 0]] * 3

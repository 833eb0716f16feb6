"""Networks of these layers through torch.export, torch.compile, ONNX and torch.func."""

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from pyhw.nn import (
    OPS,
    AdderConv2d,
    AdderLinear,
    LayerOptions,
    MaskedConv2d,
    ShiftAddConv2d,
    ShiftConv2d,
    adder_conv2d,
    build_model,
)

KINDS = [ops for ops in OPS if ops != "conv"]


def _network(ops):
    torch.manual_seed(0)
    return build_model("lenet1", ops).eval()


@pytest.mark.parametrize("ops", KINDS)
def test_networks_are_exported_with_any_number_of_images(ops):
    model, images = _network(ops), torch.rand(5, 1, 28, 28)
    number = torch.export.Dim("number", min=2, max=64)
    exported = torch.export.export(model, (images[:2],), dynamic_shapes=({0: number},))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    assert torch.equal(torch.export.load(file).module()(images), model(images))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's
@pytest.mark.parametrize("ops", KINDS)
def test_networks_are_compiled_whole_with_their_gradients(ops):
    torch._dynamo.reset()
    model, images = _network(ops).train(), torch.rand(2, 1, 28, 28)
    fast = torch.compile(model, fullgraph=True, backend="aot_eager")
    found = []
    for network in (model, fast):
        model.zero_grad()
        y = network(images)
        y.square().sum().backward()
        found.append([y, *(p.grad for p in model.parameters() if p.requires_grad)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("ops", KINDS)
def test_networks_become_onnx_of_standard_operators(ops):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, images, file = _network(ops), torch.rand(3, 1, 28, 28), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without onnxscript is an older one
        torch.onnx.export(model, (images[:2],), file, dynamo=False, input_names=["x"],
                          output_names=["y"], dynamic_axes={"x": {0: "number"}})  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {"x": images.numpy()})
    np.testing.assert_allclose(found, model(images).detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ops", KINDS)
def test_gradients_of_single_images_are_those_of_torch_func(ops):
    model, images = _network(ops), torch.rand(3, 1, 28, 28)
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    rest = dict(model.named_buffers())

    def loss(parameters, image):
        return functional_call(model, (parameters, rest), (image[None],)).square().sum()

    found = vmap(grad(loss), (None, 0))(parameters, images)
    for number, image in enumerate(images):
        model.zero_grad()
        model(image[None]).square().sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(found[name][number], parameter.grad)


def test_adder_layers_say_that_they_have_no_second_derivative():
    x, weight = torch.rand(1, 2, 4, 4, requires_grad=True), torch.rand(3, 2, 3, 3)
    (first,) = torch.autograd.grad(adder_conv2d(x, weight).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="Adder layers cannot be differentiated twice"):
        first.sum().backward()


@pytest.mark.parametrize("layer", [AdderConv2d, ShiftConv2d, MaskedConv2d, ShiftAddConv2d])
def test_single_maps_are_taken_as_conv2d_takes_them(layer):
    torch.manual_seed(0)
    made, image = layer(2, 3, 3, padding=1, bias=True), torch.rand(2, 5, 6, requires_grad=True)
    assert torch.equal(made(image), made(image[None])[0])
    assert made(image).shape == nn.Conv2d(2, 3, 3, padding=1)(image).shape
    made(image).sum().backward()
    assert image.grad.shape == image.shape


def test_single_vectors_are_taken_as_linear_takes_them():
    layer, vector = AdderLinear(4, 3), torch.rand(4)
    assert torch.equal(layer(vector), layer(vector[None])[0])


def test_frozen_layers_are_exported_as_they_are():
    model = build_model("lenet1", "shiftadd", layers=LayerOptions(frozen=True, prune=0.5, low=-7))
    images = torch.rand(2, 1, 28, 28)
    exported = torch.export.export(model.eval(), (images,))
    assert torch.equal(exported.module()(images), model(images))

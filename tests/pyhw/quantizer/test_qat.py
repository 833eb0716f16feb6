"""Quantisation-aware training: the wrapper computes what the graph will, and can be trained."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests


import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import pyhw
from pyhw.errors import UserError
from pyhw.graph.execute import predict, run
from pyhw.nn import AdderConv2d
from pyhw.quantizer.qat import finish, prepare_qat
from pyhw.quantizer.run import calibration_images
from pyhw.quantizer.settings import Settings
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.data import load_dataset
from pyhw.training.loop import evaluate, to_input
from tests.support.small_models import sequence, smooth_images, to_tensor, trained

SHAPE = (10, 10, 2)


class Small(nn.Module):
    """A residual network with a joined map and a table."""

    def __init__(self):
        super().__init__()
        self.stem = sequence(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.block = sequence(AdderConv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.side = sequence(nn.Conv2d(4, 4, 1), nn.Hardswish())
        self.last = nn.Conv2d(8, 3, 4)

    def forward(self, x):
        x = F.max_pool2d(self.stem(x), 2)
        x = F.relu(self.block(x) + x)
        return self.last(torch.cat([x, self.side(x)], 1)).view(x.size(0), -1)


@pytest.mark.parametrize(("bits", "weight_bits"), [(8, 8), (4, 4), (4, 3), (5, 6)])
def test_the_wrapper_computes_what_the_graph_will(bits, weight_bits):
    torch.manual_seed(0)
    model = trained(Small(), SHAPE)
    qat = prepare_qat(
        model, smooth_images(64, SHAPE, 1), Settings(bits=bits, weight_bits=weight_bits)
    )
    made = finish(qat, smooth_images(64, SHAPE, 1))
    other = smooth_images(32, SHAPE, 2)
    found = run(made.graph, other.astype(np.int64)).reshape(32, 3) * made.layers[-1].scale
    with torch.no_grad():
        wanted, plain = qat(to_tensor(other)).numpy(), model(to_tensor(other)).numpy()
    error = np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std()
    assert error < 0.05 + 2.5 * 2.0**-bits
    if bits < 8:
        assert error < np.sqrt(np.mean((plain - wanted) ** 2)) / wanted.std()


def test_steps_and_weights_are_trained_and_used():
    torch.manual_seed(0)
    model, images = trained(Small(), SHAPE), smooth_images(64, SHAPE, 1)
    qat = prepare_qat(model, images, Settings(bits=4))
    before = qat.steps()
    assert {"stem.0", "block.0", "side.0"} <= set(before)
    assert before["block.0"] == before["side.0"] == before["cat"]  # joined values share a step
    optimizer = torch.optim.SGD(qat.parameters(), lr=0.05)
    target, losses = to_tensor(images).mean((2, 3))[:, :1], []
    for _ in range(20):
        loss = F.mse_loss(qat(to_tensor(images)), target.expand(-1, 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    after = qat.steps()
    assert all(after[path] != before[path] and after[path] > 0 for path in before)
    made = finish(qat, images)
    assert made.steps["stem.0"] == pytest.approx(after["stem.0"])


def test_layers_that_compute_their_weights_are_refused_until_they_are_plain():
    model, images = trained(Small(), SHAPE), smooth_images(8, SHAPE)
    prune.l1_unstructured(model.stem[0], "weight", 0.5)
    with pytest.raises(UserError, match=r"layer 'stem\.0' computes its weights"):
        prepare_qat(model, images)
    prune.remove(model.stem[0], "weight")
    prepare_qat(model, images)
    with pytest.raises(UserError, match="must be float32"):
        prepare_qat(model.half(), images)


def test_a_network_trained_with_rounding_keeps_its_accuracy_as_a_graph():
    torch.manual_seed(0)
    path = pyhw.MODELS / "lenet5_adder_digits.pt"
    model, _ = load_checkpoint(path)
    data = load_dataset("digits")
    images = calibration_images(data.train_images, 128)
    qat = prepare_qat(model, images, Settings(bits=4, weight_bits=2))
    before = evaluate(qat, data.test_images, data.test_labels)
    qat.train()
    pixels, labels = torch.tensor(data.train_images), torch.tensor(data.train_labels)
    optimizer = torch.optim.SGD(qat.parameters(), lr=0.02, momentum=0.9)
    for batch in torch.randperm(len(labels)).split(64):
        loss = F.cross_entropy(qat(to_input(pixels[batch])), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = evaluate(qat, data.test_images, data.test_labels)
    assert after > max(before + 20, 95)
    graph = finish(qat, images).graph
    right = predict(graph, data.test_images[..., None].astype(np.int64)) == data.test_labels
    assert abs(100 * right.mean() - after) < 1.5

"""The adaptive step at the optimiser: with accumulation, loss scaling, replicas and errors."""

import copy

import pytest
import torch
from torch import nn

from pyhw.nn import AdderConv2d, AdderLinear, adaptive_step


def _model():
    torch.manual_seed(0)
    return nn.Sequential(
        AdderConv2d(2, 3, 3),
        nn.Flatten(),
        nn.LayerNorm(12),
        AdderLinear(12, 4, eta=0.5),
        nn.Linear(4, 2),
    )


def _optimizer(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, **options)


def _train(model, optimizer, parts=1, scaler=None):
    """Take three steps of one batch, in micro-batches."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        optimizer.zero_grad()
        batch = torch.randn(8, 2, 4, 4, generator=generator)
        for x in batch.chunk(parts):
            loss = (model(x) / 30).square().sum() / len(batch)
            (scaler.scale(loss) if scaler else loss).backward()
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _moved(**options):
    model = _model()
    optimizer = _optimizer(model, **options)
    adaptive_step(model, optimizer)
    return model, optimizer


def test_whole_batch_steps_as_with_the_step_in_backward():
    model = _model()
    torch.testing.assert_close(_train(*_moved()), _train(model, _optimizer(model)))


def test_accumulated_micro_batches_step_as_the_whole_batch():
    whole = _train(*_moved())
    torch.testing.assert_close(_train(*_moved(), parts=4), whole)
    model = _model()  # in backward, four unit steps add up to another one
    assert not torch.allclose(_train(model, _optimizer(model), parts=4), whole, rtol=1e-2)


@pytest.mark.parametrize("fused", [False, True])
def test_loss_scaling_changes_nothing(fused):
    """A fused optimiser unscales inside its step, the others are unscaled before it."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.testing.assert_close(_train(*_moved(fused=fused), scaler=scaler), _train(*_moved()))


def test_gradients_averaged_over_replicas_step_as_the_whole_batch():
    model, optimizer = _moved()
    replica = copy.deepcopy(model)
    x = torch.randn(8, 2, 4, 4)
    for part, half in ((model, x[:4]), (replica, x[4:])):
        part(half).square().mean().backward()
    for mine, other in zip(model.parameters(), replica.parameters(), strict=True):
        mine.grad = (mine.grad + other.grad) / 2  # as DistributedDataParallel does
    optimizer.step()
    whole, whole_optimizer = _moved()
    whole(x).square().mean().backward()
    whole_optimizer.step()
    torch.testing.assert_close(list(model.parameters()), list(whole.parameters()))


def test_each_layer_keeps_its_own_root_mean_square():
    model, optimizer = _moved()
    model(torch.randn(4, 2, 4, 4)).sum().backward()
    plain = model[4].weight.grad.clone()
    optimizer.step()
    sizes = [model[n].weight.grad.square().mean().sqrt().item() for n in (0, 3)]
    assert sizes == pytest.approx([0.2, 0.5], rel=1e-5)
    assert torch.equal(model[4].weight.grad, plain)


def test_layers_without_a_gradient_are_passed_over():
    model, optimizer = _moved()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    model(torch.randn(4, 2, 4, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_removed_step_leaves_plain_gradients():
    model = _model()
    optimizer = _optimizer(model)
    adaptive_step(model, optimizer).remove()
    model(torch.randn(4, 2, 4, 4)).sum().backward()
    plain = model[0].weight.grad.clone()
    optimizer.step()
    assert torch.equal(model[0].weight.grad, plain)
    assert model[0].eta is None


def test_what_cannot_be_stepped_is_named():
    model = _model()
    with pytest.raises(ValueError, match="must have an adder layer whose eta is a number"):
        adaptive_step(nn.Linear(2, 2), _optimizer(model))
    with pytest.raises(ValueError, match="must hold the weight of every adder layer"):
        adaptive_step(model, torch.optim.SGD(model[3].parameters()))
    assert model[0].eta == 0.2
    adaptive_step(model, optimizer := _optimizer(model))
    with pytest.raises(ValueError, match="no step to move"):
        adaptive_step(model, optimizer)
    with pytest.raises(NotImplementedError, match="without a closure"):
        optimizer.step(lambda: 0.0)

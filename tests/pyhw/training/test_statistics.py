"""Statistics of batch norms that belong to the weights as they are."""

import torch
from torch import nn

from pyhw.training.statistics import measure_statistics


def test_statistics_are_plain_averages_over_the_batches():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, momentum=0.25), nn.ReLU(),
                          nn.Flatten(), nn.Linear(48, 4), nn.BatchNorm1d(4))
    batches = [torch.randn(8, 2, 6, 6) * (k + 1) + k for k in range(3)]
    for images in batches:
        model(images)  # running averages, of which the last counts most
    model.eval()
    measure_statistics(model, batches)
    outputs = [model[0](images) for images in batches]
    mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    variance = torch.stack([y.var((0, 2, 3)) for y in outputs]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)
    assert model[1].num_batches_tracked == 3
    assert (model[1].momentum, model[5].momentum) == (0.25, 0.1)
    assert not torch.equal(model[5].running_mean, torch.zeros(4))


def test_a_network_without_batch_norms_is_not_run():
    class Untouched(nn.Module):
        def forward(self, x):
            raise AssertionError

    measure_statistics(nn.Sequential(Untouched()), [torch.zeros(2, 1)])

"""Modules that round on the way, gradients intact: what quantisation-aware training is made of."""

import torch
from torch import Tensor, nn

from pyhw.hdl.formats import Format

from .weights import digit_grid, fit_scales

__all__ = ["FakeAdderWeight", "FakeValue", "FakeWeight", "run_with"]

REFRESH = 32
"""Training steps after which the steps of ordinary weights are fitted again."""


def _passed(rounded: Tensor, exact: Tensor) -> Tensor:
    """Return `rounded`, with the gradient of `exact`."""
    return exact + (rounded - exact).detach()


class FakeValue(nn.Module):
    """Rounds and clamps to a format; the step is learned.

    The parameter is the step's logarithm, so that it stays positive. Source: Esser et al.,
    "Learned Step Size Quantization", ICLR 2020, for the gradient of the step and its scaling.
    """

    def __init__(self, step: float, fmt: Format) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.tensor(float(step)).log())
        self.fmt = fmt

    @property
    def step(self) -> Tensor:
        """What one step of the value stands for."""
        return self.log_step.exp()

    def forward(self, x: Tensor) -> Tensor:
        scale = 1 / (x[0].numel() * self.fmt.max) ** 0.5
        step = _passed(self.log_step, self.log_step * scale).exp()
        inside = (x / step).clamp(self.fmt.min, self.fmt.max)
        return _passed(inside.round(), inside) * step


def run_with(layer: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    """Return what a layer computes with another weight."""
    result = torch.func.functional_call(layer, {"weight": weight}, (x,))
    assert isinstance(result, Tensor)
    return result


class FakeAdderWeight(nn.Module):
    """Runs an adder layer with weights on the grid of the values that they are compared with.

    Weights outside the range of the values are clipped to it, and the constant that this takes
    is added to the result, as `pyhw.quantizer.weights.adder_weights` does.
    """

    def __init__(self, bits: int, value: FakeValue) -> None:
        super().__init__()
        self._value = [value]  # in a list: its parameter belongs to another module
        fmt = value.fmt
        self.ex, self.ew = max(bits - fmt.width, 0), max(fmt.width - bits, 0)
        self.low, self.high = fmt.min << self.ex, fmt.max << self.ex

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # The published gradient of adder weights is not that of the loss: it teaches no step.
        step = self._value[0].step.detach() / (1 << self.ex)
        clipped = weight.clamp(self.low * step, self.high * step)
        lost = weight - clipped  # of which the gradient passes, too
        scaled = clipped / step / (1 << self.ew)
        rounded = scaled.detach().round().clamp(-(-self.low >> self.ew), self.high >> self.ew)
        on_grid = _passed(rounded, scaled) * (1 << self.ew) * step
        result = run_with(layer, on_grid + lost - lost.detach(), x)
        constant = lost.detach().abs().flatten(1).sum(1)  # (O,)
        return result - constant.reshape(-1, *[1] * (result.ndim - 2))


class FakeWeight(nn.Module):
    """Runs a layer with weights rounded, per output channel, to what their digits can write."""

    grid: Tensor
    edges: Tensor
    steps: Tensor

    def __init__(self, bits: int, digits: int, channels: int) -> None:
        super().__init__()
        grid = digit_grid(bits, digits)
        self._grid, self._age = grid, 0
        self.register_buffer("grid", torch.tensor(grid, dtype=torch.float32))
        self.register_buffer("edges", torch.tensor((grid[:-1] + grid[1:]) / 2).float())
        self.register_buffer("steps", torch.ones(channels))

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if self._age % REFRESH == 0 or not self.training:
            flat = weight.detach().cpu().double().numpy().reshape(len(weight), -1)
            self.steps.copy_(torch.tensor(fit_scales(flat, self._grid)))
        self._age += self.training
        steps = self.steps.reshape(-1, *[1] * (weight.ndim - 1))
        rounded = self.grid[torch.bucketize((weight / steps).detach(), self.edges)] * steps
        return run_with(layer, _passed(rounded, weight), x)

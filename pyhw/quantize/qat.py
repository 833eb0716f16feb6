"""Quantisation-aware training: a model that rounds as the accelerator will, gradients intact.

`prepare_qat` wraps a trained model; the wrapper is trained like any module, by any loop, with its
`parameters()`, for a few epochs. `finish` quantises the model inside with the steps that were
learned. What is rounded in training is what is rounded then: stored values, ordinary weights with
their digits, adder weights on the grid of what they are compared with.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hdl.formats import Format

from .choice import Chooser
from .model import PIXEL, Quantised, quantize_model
from .reference import Reals
from .settings import EDGE_WEIGHT_BITS, Settings
from .signs import is_signed
from .stage import IMAGES, Stage
from .walk import Reading, read
from .weights import digit_grid, fit_scales

__all__ = ["QatModel", "finish", "prepare_qat"]

REFRESH = 32
"""Training steps after which the steps of ordinary weights are fitted again."""
SMALLEST = 1e-9
"""Least step of a value."""


def prepare_qat(
    model: nn.Module, images: np.ndarray, settings: Settings | None = None, **options: Any
) -> "QatModel":
    """Wrap a trained model for quantisation-aware training.

    Parameters
    ----------
    model : torch.nn.Module
        As for `pyhw.quantize.model.quantize_model`; trained further in place.
    images : uint8 array (N, H, W) or (N, H, W, C)
        Calibration images, from which the first steps come.
    settings : Settings, optional
        Bits and digits.
    **options
        Of `quantize_model`, such as ``normalise``.

    Returns
    -------
    QatModel
        In training mode.
    """
    settings = settings or Settings()
    made = quantize_model(model, images, settings, **options)
    reading = read(model, made.graph.input.shape)
    return QatModel(model, reading, settings, made.steps).train()


def finish(qat: "QatModel", images: np.ndarray, **options: Any) -> Quantised:
    """Quantise a model after quantisation-aware training, with the steps that it learned.

    Parameters
    ----------
    qat : QatModel
        What `prepare_qat` returned, trained.
    images : uint8 array (N, H, W) or (N, H, W, C)
        Calibration images.
    **options
        Of `quantize_model`.
    """
    qat.eval()
    return quantize_model(qat.model, images, qat.settings, scales=qat.steps(), **options)


class QatModel(nn.Module):
    """A model that computes with rounded weights and values; gradients pass the rounding.

    Parameters
    ----------
    model : torch.nn.Module
        What is trained; shared, not copied.
    reading : Reading
        Of the model.
    settings : Settings
        Bits and digits.
    steps : mapping of str to float
        First step of every stage's value.

    Attributes
    ----------
    model : torch.nn.Module
        The plain model; its checkpoint is the training's result, together with `steps`.
    settings : Settings
    """

    def __init__(
        self, model: nn.Module, reading: Reading, settings: Settings, steps: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self._root, self._graph = [reading.traced.root], reading.traced.graph
        stages = {stage.path: stage for stage in reading.stages}
        # Formats need no values, only who reads what.
        chooser = Chooser(reading.stages, Reals(reading.stages, np.zeros((1, 1, 1, 1))),
                          settings.bits, dict(steps))  # fmt: skip
        self._owner: dict[str, int] = {}
        self.values = nn.ModuleList()
        self._at: dict[str, nn.Module] = {}
        for stage in reading.stages[:-1]:
            if stage.path not in self._owner:
                if stage.bare_pool and chooser.keeps(stage) and stage.source != IMAGES:
                    self._owner[stage.path] = self._owner[stage.source]
                elif not (stage.bare_pool and chooser.keeps(stage)):
                    fmt = chooser.stored(stage).fmt
                    tied = chooser.ties.get(stage.path, [stage.path])
                    self._owner |= dict.fromkeys(tied, len(self.values))
                    self.values.append(_FakeValue(steps[stage.path], fmt))
            place = reading.last.get(stage.path)
            if place is not None and stage.path in self._owner and stage.kind not in (
                "max", "concat"
            ):  # fmt: skip
                self._at[place] = self.values[self._owner[stage.path]]
        self.weights = nn.ModuleList()
        self._weight_at: dict[str, nn.Module] = {}
        edges = [stage for stage in reading.stages if stage.weight is not None]
        for stage in edges:
            edge = stage in (edges[0], edges[-1]) and stage.kind == "conv"
            bits = EDGE_WEIGHT_BITS if edge else settings.inner_weight_bits
            fake = self._fake_weight(stage, bits, stages)
            if fake is not None:
                self.weights.append(fake)
                self._weight_at[reading.first[stage.path]] = fake

    def _fake_weight(
        self, stage: Stage, bits: int, stages: Mapping[str, Stage]
    ) -> "_FakeAdderWeight | _FakeWeight | None":
        if stage.codes is not None:
            return None
        if stage.kind == "conv":
            return _FakeWeight(bits, self.settings.digits, stage.channels)
        if stage.source in self._owner:
            value = self.values[self._owner[stage.source]]
            assert isinstance(value, _FakeValue)
        else:
            value = _FakeValue(1 / PIXEL.max, PIXEL)
            value.requires_grad_(False)
        assert not is_signed(stage.source, stages) or value.fmt.signed
        return _FakeAdderWeight(bits, [value])

    def steps(self) -> dict[str, float]:
        """Return the step of every stage's value as learned, by path."""
        found = {}
        for path, index in self._owner.items():
            value = self.values[index]
            assert isinstance(value, _FakeValue)
            found[path] = float(value.step.detach())
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return what the model returns, rounded on the way.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            As the model takes it.
        """
        runner = _Runner(self._root[0], self._graph, self._at, self._weight_at)
        return runner.run(x)


class _Runner(fx.Interpreter):
    """Runs a traced graph, with rounded weights and values at some of its nodes."""

    def __init__(
        self,
        root: nn.Module,
        graph: fx.Graph,
        values: Mapping[str, nn.Module],
        weights: Mapping[str, nn.Module],
    ) -> None:
        super().__init__(root, graph=graph)
        self._values, self._weights = values, weights

    def run_node(self, n: fx.Node) -> Any:
        fake = self._weights.get(n.name)
        if fake is None:
            result = super().run_node(n)
        else:
            layer = self.module.get_submodule(str(n.target))
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            weight = {"weight": fake(layer.weight)}
            result = torch.func.functional_call(layer, weight, args, kwargs)
        value = self._values.get(n.name)
        return result if value is None else value(result)


def _passed(rounded: Tensor, exact: Tensor) -> Tensor:
    """Return `rounded`, with the gradient of `exact`."""
    return exact + (rounded - exact).detach()


class _FakeValue(nn.Module):
    """Rounds and clamps to a format; the step is learned.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, for the gradient of the
    step and its scaling.
    """

    def __init__(self, step: float, fmt: Format) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(float(step)))
        self.fmt = fmt

    def forward(self, x: Tensor) -> Tensor:
        step = self.gentle_step(x[0].numel())
        inside = (x / step).clamp(self.fmt.min, self.fmt.max)
        return _passed(inside.round(), inside) * step

    def gentle_step(self, count: int) -> Tensor:
        """Return the step, its gradient scaled down for `count` values that depend on it."""
        step = self.step.clamp(min=SMALLEST)
        scale = 1 / (count * self.fmt.max) ** 0.5
        return _passed(step, step * scale)


class _FakeAdderWeight(nn.Module):
    """Rounds adder weights to the grid of the values that they are compared with.

    Weights outside the range of the values stay as they are: clipping them is exact.
    """

    def __init__(self, bits: int, value: list[_FakeValue]) -> None:
        super().__init__()
        self._value = value  # in a list: its parameter belongs to another module
        fmt = value[0].fmt
        self.finer, self.coarser = max(bits - fmt.width, 0), max(fmt.width - bits, 0)

    def forward(self, weight: Tensor) -> Tensor:
        value = self._value[0]
        step = value.gentle_step(weight.numel())
        grid = step * 2.0 ** (self.coarser - self.finer)
        scaled = weight / grid
        inside = (weight >= value.fmt.min * step) & (weight <= value.fmt.max * step)
        return torch.where(inside, _passed(scaled.round(), scaled) * grid, weight)


class _FakeWeight(nn.Module):
    """Rounds ordinary weights per output channel to what their digits can write."""

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

    def forward(self, weight: Tensor) -> Tensor:
        if self._age % REFRESH == 0 or not self.training:
            flat = weight.detach().cpu().double().numpy().reshape(len(weight), -1)
            self.steps.copy_(torch.tensor(fit_scales(flat, self._grid)))
        self._age += self.training
        steps = self.steps.reshape(-1, *[1] * (weight.ndim - 1))
        rounded = self.grid[torch.bucketize((weight / steps).detach(), self.edges)] * steps
        return _passed(rounded, weight)

"""Quantisation-aware training: a model that rounds as the accelerator will, gradients intact.

`prepare_qat` wraps a trained model; the wrapper is trained like any module, by any loop, with its
`parameters()`, for a few epochs. `finish` quantises the model inside with the steps that were
learned. What is rounded in training is what is rounded then: stored values, ordinary weights with
their digits, adder weights on the grid of what they are compared with.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from pyhw.errors import UserError
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.tokens import TokenModule

from .choice import Chooser
from .fake import FakeValue
from .forms import form_of
from .guard import NARROW, read_network
from .images import check_images, check_normalise
from .model import PIXEL, Quantised, quantize_model
from .reading import Reading
from .reference import Reals
from .settings import EDGE_WEIGHT_BITS, Settings
from .wrappers import unwrapped

__all__ = ["QatModel", "finish", "prepare_qat"]


def prepare_qat(
    model: nn.Module, images: np.ndarray, settings: Settings | None = None, **options: Any
) -> "QatModel":
    """Wrap a trained model for quantisation-aware training.

    Parameters
    ----------
    model : torch.nn.Module
        As for `pyhw.quantizer.model.quantize_model`; trained further in place.
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
    if any(isinstance(module, TokenModule) for module in model.modules()):
        raise UserError("a transformer is quantised after training only; train it in floating "
                        "point and use `pyhw quantize`")
    model = unwrapped(model)
    for path, layer in model.named_modules():
        hooked = layer._forward_pre_hooks or parametrize.is_parametrized(layer)
        if layer_class_of(layer) is not None and hooked:
            raise UserError(
                f"layer {path!r} computes its weights from others before each pass, which training "
                "with rounding cannot follow; make them plain first (prune.remove, "
                "remove_weight_norm or parametrize.remove_parametrizations)"
            )
    if any(parameter.dtype in NARROW for parameter in model.parameters()):
        raise UserError("the model must be float32 for training with rounding; use model.float()")
    made = quantize_model(model, images, settings, **options)
    images = check_images(images)
    normalise = options.get("normalise")
    if normalise is not None:
        normalise = check_normalise(normalise, images.shape[-1])
    reading = read_network(model, images, normalise)
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
        # Formats need no values, only who reads what.
        chooser = Chooser(reading.stages, Reals(reading.stages, np.zeros((1, 1, 1, 1))),
                          settings.bits, dict(steps))  # fmt: skip
        self._owner: dict[str, int] = {}
        self.values = nn.ModuleList()
        self._value_at: dict[str, FakeValue] = {}
        for stage in reading.stages[:-1]:
            if chooser.keeps(stage):
                if stage.source in self._owner:
                    self._owner[stage.path] = self._owner[stage.source]
            elif stage.path not in self._owner:
                tied = chooser.ties.get(stage.path, [stage.path])
                self._owner |= dict.fromkeys(tied, len(self.values))
                self.values.append(FakeValue(steps[stage.path], chooser.stored(stage).fmt))
            # Maxima and joined values are rounded already.
            if stage.kind not in ("max", "concat") and stage.path in self._owner:
                self._value_at[reading.last[stage.path]] = self._value(stage.path)
        weighted = [stage for stage in reading.stages if stage.weight is not None]
        self.weights = nn.ModuleList()
        self._weight_at: dict[str, nn.Module] = {}
        for stage in weighted:
            form = form_of(stage)
            edge = stage in (weighted[0], weighted[-1]) and form.wide_at_edges
            bits = EDGE_WEIGHT_BITS if edge else settings.inner_weight_bits
            fake = form.fake(stage, bits, settings, self._value(stage.source))
            if fake is None:
                continue  # its weights are what the accelerator's are
            self.weights.append(fake)
            self._weight_at[reading.first[stage.path]] = fake

    def _value(self, path: str) -> "FakeValue":
        """Return what rounds the value of a stage; images are bytes already."""
        if path not in self._owner:
            return FakeValue(1 / PIXEL.max, PIXEL).requires_grad_(False)
        value = self.values[self._owner[path]]
        assert isinstance(value, FakeValue)
        return value

    def steps(self) -> dict[str, float]:
        """Return the step of every stage's value as learned, by path."""
        return {path: float(self._value(path).step.detach()) for path in self._owner}

    def forward(self, x: Tensor) -> Tensor:
        """Return what the model returns, rounded on the way.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            As the model takes it.
        """
        runner = _Runner(self._root[0], self._graph, self._value_at, self._weight_at)
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
            (x,) = (*args, *kwargs.values())
            result = fake(layer, x)
        value = self._values.get(n.name)
        return result if value is None else value(result)

"""The layers of a network in training, with their sizes and operations per image."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.coded import CodedWeight
from pyhw.training.data import PIXELS

__all__ = ["LayerSize", "layer_sizes"]

ADDERS = (AdderConv2d, AdderLinear)


@dataclass(frozen=True, kw_only=True)
class LayerSize:
    """One layer; counts are for one image.

    Attributes
    ----------
    name, kind : str
        Path in the model, name of its class.
    shape : tuple of int
        Of its output, PyTorch's order.
    parameters : int
        Trained numbers.
    weights : int
        What activations meet; shift layers train more numbers than that.
    products, differences, shifts : int
        Pairs of weight and activation that are multiplied, or compared by L1 distance, or shifted
        (once for each power of two; masked weights and those that happen to be 0 count).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    weights: int
    products: int
    differences: int
    shifts: int

    @property
    def additions(self) -> int:
        """Additions: two for a difference and its sum, one for a product or a shift."""
        return self.products + self.shifts + 2 * self.differences


def layer_sizes(
    model: nn.Module, shape: tuple[int, int, int] = (1, PIXELS, PIXELS)
) -> list[LayerSize]:
    """Measure the layers of a network on one empty image.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode. On PyTorch's device "meta" nothing is computed.
    shape : (int, int, int)
        Channels, height and width of an image.
    """
    sizes: list[LayerSize] = []
    hooks = []
    for name, module in model.named_modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(_measure(name, sizes)))
    try:
        with torch.no_grad():
            device = next((p.device for p in model.parameters()), None)
            model(torch.zeros(1, *shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def _measure(name: str, sizes: list[LayerSize]) -> Callable[..., None]:
    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = _weight_shape(module)
        weights = prod(weight) if weight else 0
        pairs = output[0].numel() // weight[0] * weights if weight else 0
        coded, adder = isinstance(module, CodedWeight), isinstance(module, ADDERS)
        sizes.append(
            LayerSize(
                name=name,
                kind=type(module).__name__,
                shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
                weights=weights,
                products=0 if adder or coded else pairs,
                differences=pairs if adder else 0,
                shifts=pairs * getattr(module, "terms", 1) if coded else 0,
            )
        )

    return hook


def _weight_shape(module: nn.Module) -> tuple[int, ...]:
    """Return the shape of what activations meet in a layer, () where there is none."""
    if isinstance(module, CodedWeight):
        return tuple(module.effective_weight().shape)
    if isinstance(module, (nn.Conv2d, nn.Linear, *ADDERS)):
        return tuple(module.weight.shape)
    return ()

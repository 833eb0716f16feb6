"""The layers of a network in training, with their sizes and operations per image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.training.data import PIXELS

__all__ = ["LayerSize", "layer_sizes"]


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
    products, differences : int
        Pairs of weight and activation that are multiplied, or compared by L1 distance.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    products: int
    differences: int


def layer_sizes(model: nn.Module, channels: int = 1, side: int = PIXELS) -> list[LayerSize]:
    """Measure the layers of a network on one empty image.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    channels, side : int
        Of its input.
    """
    sizes: list[LayerSize] = []
    hooks = []
    for name, module in model.named_modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(_measure(name, sizes)))
    try:
        with torch.no_grad():
            model(torch.zeros(1, channels, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def _measure(name: str, sizes: list[LayerSize]) -> Callable[..., None]:
    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pairs = 0
        if isinstance(module, (nn.Conv2d, nn.Linear, AdderConv2d, AdderLinear)):
            pairs = output[0].numel() // len(module.weight) * module.weight.numel()
        adder = isinstance(module, (AdderConv2d, AdderLinear))
        sizes.append(
            LayerSize(
                name=name,
                kind=type(module).__name__,
                shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()),
                products=0 if adder else pairs,
                differences=pairs if adder else 0,
            )
        )

    return hook

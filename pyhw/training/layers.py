"""The layers of a network in training, with their sizes and operations per image."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.kinds import Counts, layer_class_of
from pyhw.nn.tokens import TokenModule
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
        Trained numbers; 0 where a layer runs again.
    weights : int
        What activations meet; shift layers train more numbers than that.
    products, differences, shifts : int
        As in `pyhw.nn.kinds.Counts`.
    sums : int
        Additions of a pair that is neither multiplied nor compared nor shifted.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    weights: int
    products: int
    differences: int
    shifts: int
    sums: int = 0

    @property
    def additions(self) -> int:
        """Additions: two for a difference and its sum, one for a product or a shift."""
        return self.products + self.shifts + self.sums + 2 * self.differences


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
        known = layer_class_of(module)
        weight = () if known is None else tuple(known.weight(module).shape)
        weights = prod(weight) if weight else 0
        pairs = output[0].numel() // weight[0] * weights if weight else 0
        counts = Counts()
        if known is not None:
            counts = known.counts(module, pairs)
        elif isinstance(module, TokenModule):
            counts = module.counts(inputs, output)
        again = any(size.name == name for size in sizes)
        sizes.append(
            LayerSize(
                name=name,
                kind=type(module).__name__,
                shape=tuple(output.shape[1:]),
                parameters=0
                if again
                else sum(p.numel() for p in module.parameters() if p.requires_grad),
                weights=weights,
                products=counts.products,
                differences=counts.differences,
                shifts=counts.shifts,
                sums=counts.additions,
            )
        )

    return hook

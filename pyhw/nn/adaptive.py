"""The layer-wise adaptive step of adder networks, taken at the optimiser."""

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from pyhw.nn.adder import Adder
from pyhw.nn.functional import rescale_

__all__ = ["adaptive_step"]


def adaptive_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> RemovableHandle:
    """Move the adaptive step of a model's adder layers from backward to the optimiser.

    Each adder layer's `eta` becomes None, so its backward pass accumulates plain gradients, and
    just before each ``optimizer.step()`` the accumulated ``weight.grad`` is brought to the root
    mean square that `eta` was. Gradients summed over micro-batches or averaged over the replicas
    of ``DistributedDataParallel`` then give the step of the whole batch, and a ``GradScaler`` has
    finite gradients to unscale. Call it once, after the optimiser is made; a model wrapped for
    distribution may be given wrapped.

    Parameters
    ----------
    model : torch.nn.Module
        Holds the adder layers; layers whose `eta` is None already are left alone.
    optimizer : torch.optim.Optimizer
        Has their weights.

    Returns
    -------
    torch.utils.hooks.RemovableHandle
        ``remove()`` ends it; `eta` of the layers stays None.

    Raises
    ------
    ValueError
        If no adder layer of the model has an `eta`, or a weight is not the optimiser's.
    NotImplementedError
        At a step with a closure, which computes gradients after this is done.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Adder)]
    etas = [(layer, layer.eta) for layer in layers if layer.eta is not None]
    if not etas:
        raise ValueError(
            "Model must have an adder layer whose eta is a number: there is no step to move"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if any(id(layer.weight) not in held for layer, _ in etas):
        raise ValueError("Optimizer must hold the weight of every adder layer of the model")
    for layer, _ in etas:
        layer.eta = None

    def hook(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        if any(value is not None for value in (*args[1:], kwargs.get("closure"))):
            raise NotImplementedError(
                "optimizer.step must be called without a closure when adaptive_step is in use: "
                "call it after backward, or keep eta in the layers"
            )
        # A fused optimiser divides by the loss scale itself, after this hook.
        scale = getattr(optimizer, "grad_scale", None)
        for layer, eta in etas:
            if layer.weight.grad is not None:
                rescale_(layer.weight.grad, eta if scale is None else eta * scale)

    return optimizer.register_step_pre_hook(hook)

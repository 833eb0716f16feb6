"""Optimisers by name, with the parameters that the published recipes leave undecayed."""

from collections.abc import Iterable

import torch
from torch import nn

from pyhw.training.recipe import Recipe

__all__ = ["make_optimizer"]

_UNDECAYED = ("shift", "sign")
"""Latent weights of DeepShift-PS: decay would pull exponents towards 1 and signs towards 0."""


def make_optimizer(recipe: Recipe, modules: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all trainable parameters of some modules.

    Parameters
    ----------
    recipe : Recipe
        Its name, learning rate, momentum and weight decay.
    modules : iterable of torch.nn.Module
        What is trained.

    Source
    ------
    DeepShift (CVPRW 2021), its authors' code: no decay of shifts and signs.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                kept = name.rpartition(".")[2] in _UNDECAYED
                (undecayed if kept else decayed).append(parameter)
    groups: list[dict] = [{"params": decayed}] if decayed else []
    if undecayed:
        groups.append({"params": undecayed, "weight_decay": 0.0})
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=decay)
    if recipe.optimizer == "radam":
        return torch.optim.RAdam(groups, lr=lr, weight_decay=decay)
    return torch.optim.SGD(groups, lr=lr, weight_decay=decay, momentum=recipe.momentum)

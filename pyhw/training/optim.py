"""Optimisers by name, with the parameters that the published recipes leave undecayed."""

from collections.abc import Iterable

import torch
from torch import nn

from pyhw.nn.groups import parameter_groups
from pyhw.training.recipe import Recipe

__all__ = ["make_optimizer"]


def make_optimizer(recipe: Recipe, modules: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all trainable parameters of some modules.

    Parameters
    ----------
    recipe : Recipe
        Its name, learning rate, momentum and weight decay.
    modules : iterable of torch.nn.Module
        What is trained.
    """
    decay, increase = recipe.weight_decay, recipe.increase
    groups = [group for module in modules
              for group in parameter_groups(module, decay, increase)]  # fmt: skip
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    if recipe.optimizer == "radam":
        return torch.optim.RAdam(groups, lr=recipe.lr)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)

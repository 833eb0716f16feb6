"""Modules that only wrap another one: the network itself is what they hold."""

import inspect
from typing import Any

from torch import nn

__all__ = ["unwrapped"]

_HELD_AS = ("module", "_orig_mod")
"""What wrappers call the module that they hold: DataParallel, DDP and averages of weights the one,
`torch.compile` the other."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module in all wrappers around it; itself where there are none.

    A wrapper is a module that takes whatever it is given and holds a single module under one of
    the names that wrappers use. That it computes the same is not taken for granted:
    `pyhw.quantizer.guard` compares.

    Parameters
    ----------
    module : torch.nn.Module
        Any.
    """
    while (inner := _held(module)) is not None:
        module = inner
    return module


def _held(module: nn.Module) -> nn.Module | None:
    children: dict[str, Any] = dict(module.named_children())
    if len(children) != 1:
        return None
    name, inner = next(iter(children.items()))
    if name not in _HELD_AS:
        return None
    try:
        parameters = inspect.signature(type(module).forward).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in list(parameters)[1:]}  # without self
    anything = kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    # What `torch.compile` returns takes its signature from what it holds.
    return inner if anything or name == "_orig_mod" else None

"""Modules that only wrap another one: the network itself is what they hold."""

import sys
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["unwrapped"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
"""PyTorch's wrappers that call what they hold `module`."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module in all of PyTorch's wrappers around it; itself where there are none.

    Wrappers of one's own are traced through like any module.

    Parameters
    ----------
    module : torch.nn.Module
        Any.
    """
    found: Any = module
    while not (found._forward_hooks or found._forward_pre_hooks):
        if type(found) in _WRAPPERS:
            found = found.module
        elif _compiled(found):
            found = found._orig_mod
        else:
            break
    inner: nn.Module = found
    return inner


def _compiled(module: nn.Module) -> bool:
    """Return whether `torch.compile` made a module, without the import that this would take."""
    maker = sys.modules.get("torch._dynamo.eval_frame")
    return maker is not None and type(module) is maker.OptimizedModule

"""What can go wrong in the middle of a training, said so that the user knows what to do."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pyhw.errors import UserError

__all__ = ["Diverged", "first_not_finite", "out_of_memory"]


class Diverged(UserError):
    """The loss stopped being a number; the weights in memory are of no use."""


@torch.no_grad()
def first_not_finite(model: nn.Module, x: Tensor) -> str:
    """Say where the first value is that is no finite number.

    Parameters
    ----------
    model : torch.nn.Module
        In the state in which its loss was not finite.
    x : Tensor
        The batch that it was computed from.

    Returns
    -------
    str
        ``the input``, ``the weights of NAME``, ``the output of NAME`` or ``the loss``.
    """
    if not x.isfinite().all():
        return "the input"
    for name, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            return f"the weights of {name.rpartition('.')[0] or name}"
    found: list[str] = []

    def look(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        hooks.append(modules[name].register_forward_hook(hook))

    modules = {name: module for name, module in model.named_modules()
               if not list(module.children())}  # fmt: skip
    hooks: list = []
    try:
        for name in modules:
            look(name)
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return f"the output of {found[0]}" if found else "the loss"


@contextlib.contextmanager
def out_of_memory(batch: int, processes: int = 1) -> Iterator[None]:
    """Turn a lack of memory into advice on the batch size.

    Parameters
    ----------
    batch, processes : int
        Images per step, and how many processes share them.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        lacking = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not lacking and "can't allocate memory" not in text:
            raise
        half = batch // 2 // processes * processes
        advice = f"try --batch {half}" if half >= 2 else "train on a machine with more"
        raise UserError(f"not enough memory for a batch of {batch} images: {advice}") from None

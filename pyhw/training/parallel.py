"""Training in several processes that compute what one process would, each on its share of a batch.

Three things of a network in training depend on the whole batch: the gradient, which is averaged
over the processes; the statistics of batch norms, which are exchanged; and the adaptive step of
adder layers, whose norm is not that of a share, so it is taken of the averaged gradient. With them
the path of the loss is that of one process, up to rounding.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pyhw.errors import UserError

__all__ = ["ALONE", "Processes", "average_gradients", "join", "leave",
           "share_statistics"]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that train together.

    Attributes
    ----------
    rank : int
        Its number, from 0; process 0 alone writes files and prints.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over all processes, without gradient."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value


ALONE = Processes()
"""Training in a single process."""


def join(device: torch.device) -> Processes:
    """Join the processes that `torchrun` started, if it did.

    Parameters
    ----------
    device : torch.device
        Where this process computes: gloo exchanges between CPUs, NCCL between GPUs.

    Raises
    ------
    UserError
        If they cannot find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the processes cannot join ({reason}): start them by "
            "`torchrun --nproc-per-node N -m pyhw train ...`"
        ) from None
    return Processes(rank=dist.get_rank(), size=dist.get_world_size())


def leave() -> None:
    """Part from the other processes, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter], processes: Processes) -> None:
    """Replace each gradient by its mean over the processes, in one exchange."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if processes.size == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes.size
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


class _AllSum(torch.autograd.Function):
    """Sum over the processes; the gradient of each process's loss flows back to all."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


class _SharedStatistics(nn.modules.batchnorm._BatchNorm):
    """A batch norm over the batch of all processes, which have equal shares of it."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # the layer that it stands for has as many dimensions as its input

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        places = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _AllSum.apply(x.sum(places)) / count
        centred = x - mean.view(shape)
        variance = _AllSum.apply(centred.square().sum(places)) / count
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
                momentum: float | Tensor | None = self.momentum
                if momentum is None:  # the average of all batches
                    assert self.num_batches_tracked is not None
                    momentum = 1 / self.num_batches_tracked.to(mean.dtype)
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * (count / (count - 1)), momentum)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)


def share_statistics(model: nn.Module) -> None:
    """Let every batch norm of a network take its statistics over all processes.

    PyTorch's own layer for this (``SyncBatchNorm``) runs on GPUs only. Names and states stay.
    """
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            layer = _SharedStatistics(
                child.num_features, child.eps, child.momentum, child.affine,
                child.track_running_stats,
            )  # fmt: skip
            layer.__dict__.update(
                _parameters=child._parameters, _buffers=child._buffers, training=child.training
            )
            setattr(model, name, layer)
        else:
            share_statistics(child)

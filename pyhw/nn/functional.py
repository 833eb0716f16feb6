"""The adder convolution as a differentiable function with the published gradients."""

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from pyhw.nn import compiled, plain
from pyhw.nn.reference import output_size

NORM_FLOOR = 1e-12


def _kernel(x: Tensor, weight: Tensor) -> ModuleType:
    return compiled if compiled.usable(x, weight) else plain


def _products(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    """Return ``sum_t x g``, the weight gradient of an ordinary convolution."""
    if gradient.shape[2:] == (1, 1):
        rows, columns = weight.shape[2:]
        window = F.pad(x, (padding,) * 4) if padding else x
        window = window[:, :, :rows, :columns]
        return (gradient.flatten(1).t() @ window.flatten(1)).view_as(weight)  # (O, N) @ (N, R)
    last = torch.channels_last  # up to five times faster than channel-first here
    return conv2d_weight(
        x.contiguous(memory_format=last),
        weight.shape,
        gradient.contiguous(memory_format=last),
        stride=stride,
        padding=padding,
    )


class _AdderConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, eta: float | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.eta = stride, padding, eta
        height, width = (output_size(n, weight.shape[2], stride, padding) for n in x.shape[2:])
        return _kernel(x, weight).forward(
            x, weight, stride, padding, (len(x), len(weight), height, width)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _kernel(x, weight).grad_input(x, weight, gradient, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            # sum_t (x - w) g splits into a convolution's weight gradient and a per-channel factor,
            # so this half of the backward pass is an ordinary, already fast matrix product.
            grad_weight = _products(x, weight, gradient, ctx.stride, ctx.padding)
            grad_weight -= weight * gradient.sum((0, 2, 3))[:, None, None, None]
            if ctx.eta is not None:
                norm = grad_weight.norm().clamp_min(NORM_FLOOR)
                grad_weight *= ctx.eta * math.sqrt(weight.numel()) / norm
        return grad_x, grad_weight, None, None, None


def adder_conv2d(
    x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, eta: float | None = 0.2
) -> Tensor:
    """Convolve by L1 distance: ``y = -sum |x - w|`` over the taps of each position.

    The backward pass follows the paper, not the derivative: ``x - w`` for the weights, ``w - x``
    clipped to [-1, 1] for the input. The weight gradient is then brought to the root mean square
    `eta`, whatever the loss scale, before momentum and weight decay see it.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input. Padding adds zeros, and a padded tap contributes ``-|w|``.
    weight : Tensor, shape (O, C, k, k)
        Adder weights.
    stride, padding : int
        Same in both directions.
    eta : float or None
        Root mean square of the weight gradient; None leaves the gradient as it is, for
        optimisers that scale it themselves.

    Returns
    -------
    Tensor, shape (N, O, H', W')
        Never positive.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    Source
    ------
    AdderNet (CVPR 2020), equations 2, 5, 6 and 12-13 (adaptive learning rate).
    """
    if x.dim() != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"Input must have shape (images, {weight.shape[1]}, height, width), "
            f"not {tuple(x.shape)}"
        )
    return _AdderConv2d.apply(x, weight, stride, padding, eta)

"""The adder convolution as a differentiable function with the published gradients."""

import contextlib
import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyhw.nn import compiled, plain
from pyhw.nn.geometry import Geometry

__all__ = ["GRADIENTS", "adder_conv2d", "rescale_"]

GRADIENTS = ("full", "sign")
NORM_FLOOR = 1e-12
NARROW = (torch.float16, torch.bfloat16)


def _kernel(x: Tensor, weight: Tensor) -> ModuleType:
    return compiled if compiled.usable(x, weight) else plain


def _exactly(device: str) -> contextlib.AbstractContextManager:
    """Return a context in which autocast leaves types alone."""
    if not torch.amp.is_autocast_available(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)


def rescale_(gradient: Tensor, eta: float | Tensor) -> None:
    """Bring a gradient to the root mean square `eta`, in place; a zero gradient stays zero.

    Parameters
    ----------
    gradient : Tensor
        Of one layer's weights.
    eta : float or Tensor of one element
        Positive.

    Source
    ------
    AdderNet (CVPR 2020), equations 12-13; the floor of the norm is that of the authors' code.
    """
    norm = gradient.norm().clamp_min(NORM_FLOOR)
    gradient *= eta * math.sqrt(gradient.numel()) / norm


class _AdderConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry, eta: float | None, sign: bool
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.eta, ctx.sign = geometry, eta, sign
        with _exactly(x.device.type):
            return _kernel(x, weight).forward(x, weight, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel, grad_x, grad_weight = _kernel(x, weight), None, None
        with _exactly(x.device.type):
            if ctx.needs_input_grad[0]:
                grad_x = kernel.grad_input(x, weight, gradient, ctx.geometry)
            if ctx.needs_input_grad[1]:
                grad_weight = kernel.grad_weight(x, weight, gradient, ctx.geometry, ctx.sign)
                if ctx.eta is not None:
                    rescale_(grad_weight, ctx.eta)
        return grad_x, grad_weight, None, None, None


def adder_conv2d(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    eta: float | None = 0.2,
    gradient: str = "full",
) -> Tensor:
    """Convolve by L1 distance: ``y = -sum |x - w|`` over the taps of each position.

    The backward pass follows the paper, not the derivative: ``x - w`` for the weights, ``w - x``
    clipped to [-1, 1] for the input. The weight gradient is then brought to the root mean square
    `eta`, whatever the loss scale, before momentum and weight decay see it.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input. Padding adds zeros, and a padded tap contributes ``-|w|``.
    weight : Tensor, shape (O, C / groups, KH, KW)
        Adder weights.
    stride, padding, dilation : int or (int, int)
        Once, or for rows and columns.
    groups : int
        Divides the channels of input and output.
    eta : float or None
        Root mean square of the weight gradient; None leaves the gradient as it is, for
        :func:`pyhw.nn.adaptive_step`.
    gradient : {'full', 'sign'}
        Weight gradient: the published full-precision ``x - w``, or its sign, the ablation.

    Returns
    -------
    Tensor, shape (N, O, H', W')
        Never positive. 16-bit floats are computed in float32; the result has the wider type of
        `x` and `weight`, so under autocast it is float32.

    Raises
    ------
    TypeError
        If an operand does not hold floats.
    ValueError
        If the shapes do not fit each other, or `gradient` is not known.

    Source
    ------
    AdderNet (CVPR 2020), equations 2, 3 (sign), 5, 6 and 12-13 (adaptive learning rate).
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, not {gradient!r}")
    for name, tensor in (("Input", x), ("weight", weight)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must hold floats, not {tensor.dtype}; convert it first")
    geometry = Geometry.of(stride, padding, dilation, groups)
    geometry.out_shape(x, weight)  # refuses what does not fit
    dtype = torch.promote_types(x.dtype, weight.dtype)
    wide = torch.float32 if dtype in NARROW else dtype
    y = _AdderConv2d.apply(x.to(wide), weight.to(wide), geometry, eta, gradient == "sign")
    return y.to(dtype)

"""The adder convolution on a GPU, by kernels in Triton (`pyhw.nn.triton_kernels`).

PyTorch's packages for GPUs bring Triton with them. With ``TRITON_INTERPRET=1`` the same kernels
run on the CPU, far slower, which is how they are checked where there is no GPU. The full weight
gradient is an ordinary convolution's and a factor for each output, so it needs no kernel.
"""

import functools
import importlib.util
import os

import torch
from torch import Tensor

from pyhw.nn.geometry import Geometry
from pyhw.nn.plain import empty, grad_weight

__all__ = ["empty", "forward", "grad_input", "grad_weight", "usable"]

TILE = (64, 32)
"""Positions and outputs of a program, or pixels and channels: at most."""
MOST_ELEMENTS = 1 << 31
"""Addresses are 32-bit numbers."""


@functools.cache
def _there() -> bool:
    return importlib.util.find_spec("triton") is not None


def usable(x: Tensor, weight: Tensor) -> bool:
    """Tell whether the kernels can take these operands.

    Returns
    -------
    bool
        True for float32 on a GPU where Triton is, or anywhere in Triton's interpreter; never with
        ``PYHW_KERNEL=plain``.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return (
        (x.is_cuda or interpreted)
        and x.dtype == weight.dtype == torch.float32
        and max(x.numel(), len(weight) * x.numel() // max(1, x.shape[1])) < MOST_ELEMENTS
        and os.environ.get("PYHW_KERNEL") != "plain"
        and _there()
    )


def _tile(count: int, most: int) -> int:
    """Return the least power of two that holds `count`, from 16 to `most`."""
    return min(most, max(16, 1 << (count - 1).bit_length()))


def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute the adder convolution.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
    weight : Tensor, shape (O, C / groups, KH, KW), float32
    geometry : Geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    Tensor, shape (N, O, H', W'), float32
    """
    from .triton_kernels import forward_kernel

    x = x.contiguous()
    y = empty(x, geometry.out_shape(x, weight))
    images, outputs, out_height, out_width = y.shape
    per_group, total = outputs // geometry.groups, images * out_height * out_width
    rows = _tile(per_group, TILE[1])
    grid = (-(-total // TILE[0]), geometry.groups * -(-per_group // rows))
    with _device(x):
        forward_kernel[grid](
            x, weight.permute(2, 3, 1, 0).contiguous(), y, total, *x.shape[2:], out_height,
            out_width, x.shape[1], outputs, *geometry.stride, *geometry.padding,
            *geometry.dilation, weight.shape[1], per_group, *weight.shape[2:], TILE[0], rows,
        )  # fmt: skip
    return y


def grad_input(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Compute the clipped input gradient.

    Parameters
    ----------
    x, weight, geometry
        As in :func:`forward`.
    gradient : Tensor, shape (N, O, H', W'), float32
        Gradient of the loss with respect to the output.

    Returns
    -------
    Tensor, shape (N, C, H, W), float32
    """
    from .triton_kernels import grad_input_kernel

    x, gradient = x.contiguous(), gradient.contiguous()
    grad_x = empty(x, x.shape)
    images, channels, height, width = x.shape
    per_group, total = weight.shape[1], images * height * width
    columns = _tile(per_group, TILE[1])
    grid = (-(-total // TILE[0]), geometry.groups * -(-per_group // columns))
    with _device(x):
        grad_input_kernel[grid](
            x, weight.permute(2, 3, 0, 1).contiguous(), gradient, grad_x, total, height, width,
            *gradient.shape[2:], channels, len(weight), *geometry.stride, *geometry.padding,
            *geometry.dilation, per_group, len(weight) // geometry.groups, *weight.shape[2:],
            TILE[0], columns,
        )  # fmt: skip
    return grad_x


def _device(x: Tensor) -> torch.cuda.device:
    """Return a context in which kernels run on the operands' GPU."""
    return torch.cuda.device(x.device if x.is_cuda else -1)

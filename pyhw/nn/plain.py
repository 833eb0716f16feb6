"""Adder convolution in PyTorch operations only: any device, any float type, bounded memory.

It serves wherever the compiled kernel cannot: other devices, float64, no C++ compiler.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1 << 20
"""Most unfolded input elements held at once (4 MiB in float32)."""


def _image_chunks(x: Tensor, weight: Tensor, positions: int) -> list[slice]:
    taps = weight[0].numel()
    step = max(1, CHUNK // max(1, taps * positions))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def forward(
    x: Tensor, weight: Tensor, stride: int, padding: int, out_shape: tuple[int, int, int, int]
) -> Tensor:
    """Compute the adder convolution chunk by chunk of images.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input.
    weight : Tensor, shape (O, C, k, k)
        Adder weights.
    stride, padding : int
        Same in both directions.
    out_shape : tuple of int
        (N, O, H', W').

    Returns
    -------
    Tensor, shape (N, O, H', W')
    """
    y = x.new_empty(out_shape)
    rows = weight.flatten(1)  # (O, R)
    for chunk in _image_chunks(x, weight, out_shape[2] * out_shape[3]):
        columns = F.unfold(x[chunk], weight.shape[2], padding=padding, stride=stride)
        distance = torch.cdist(columns.transpose(1, 2), rows, p=1)  # (n, L, O)
        y[chunk] = -distance.transpose(1, 2).reshape(y[chunk].shape)
    return y


def grad_input(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    """Compute the clipped input gradient, one output channel at a time.

    Parameters
    ----------
    x, weight, stride, padding
        As in :func:`forward`.
    gradient : Tensor, shape (N, O, H', W')
        Gradient of the loss with respect to the output.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    grad_x = torch.empty_like(x)
    kernel = weight.shape[2]
    for chunk in _image_chunks(x, weight, gradient.shape[2] * gradient.shape[3]):
        columns = F.unfold(x[chunk], kernel, padding=padding, stride=stride)  # (n, R, L)
        upstream = gradient[chunk].flatten(2)  # (n, O, L)
        total, term = torch.zeros_like(columns), torch.empty_like(columns)
        for output, taps in enumerate(weight.flatten(1)):
            torch.sub(taps[:, None], columns, out=term)
            total.add_(term.clamp_(-1, 1).mul_(upstream[:, output, None]))
        grad_x[chunk] = F.fold(total, x.shape[2:], kernel, padding=padding, stride=stride)
    return grad_x

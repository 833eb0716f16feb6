"""Adder convolution in PyTorch operations only: any device, any float type, bounded memory.

It serves wherever the compiled kernel cannot: other devices, float64, no C++ compiler. Images are
taken a few at a time, outputs one by one; on a GPU, where many small operations are slow, outputs
go together through one fused function of ``torch.compile``, if Triton is there.
"""

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from pyhw.nn.geometry import Geometry
from pyhw.nn.powers import signum

__all__ = ["distances", "empty", "forward", "grad_input", "grad_weight"]

CHUNK = 1 << 20
"""Most unfolded input elements held at once on the CPU (4 MiB in float32)."""
GPU_CHUNK = 1 << 26
"""The same on a GPU, which takes large pieces to be busy (256 MiB in float32)."""


class _Windows:
    """The unfolded input, chunk by chunk of images, and the weights in the same form."""

    def __init__(self, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
        self.x, self.geometry = x, geometry
        self.kernel = (weight.shape[2], weight.shape[3])
        self.rows = weight.reshape(geometry.groups, -1, weight[0].numel())  # (G, O / G, R)
        positions = geometry.out_shape(x, weight)[2:]
        elements = self.rows.shape[2] * geometry.groups * positions[0] * positions[1]
        most = GPU_CHUNK if x.is_cuda else CHUNK
        step = max(1, most // max(1, elements))
        self.chunks = [slice(start, start + step) for start in range(0, len(x), step)]

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return what `F.unfold` and `F.fold` are told."""
        geometry = self.geometry
        return dict(dilation=geometry.dilation, padding=geometry.padding, stride=geometry.stride)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield images and their windows, (n, G, R, L)."""
        for chunk in self.chunks:
            columns = F.unfold(self.x[chunk], self.kernel, **self.sizes())
            yield chunk, columns.unflatten(1, (self.geometry.groups, -1))

    def upstream(self, gradient: Tensor, chunk: slice) -> Tensor:
        """Return the gradients of some images, (n, G, O / G, L)."""
        return gradient[chunk].flatten(2).unflatten(1, (self.geometry.groups, -1))


def _clipped(columns: Tensor, rows: Tensor, upstream: Tensor) -> Tensor:
    """Return (n, G, R, L); broadcasting over the outputs, so it must be fused or small."""
    difference = rows[None, :, :, :, None] - columns[:, :, None]  # (n, G, O / G, R, L)
    return (difference.clamp(-1, 1) * upstream[:, :, :, None]).sum(2)


def _signed(columns: Tensor, rows: Tensor, upstream: Tensor) -> Tensor:
    """Return (G, O / G, R); as `_clipped`."""
    difference = columns[:, :, None] - rows[None, :, :, :, None]
    return (signum(difference) * upstream[:, :, :, None]).sum((0, 4))


@functools.cache
def _fused(function: Callable[..., Tensor], device: str) -> Callable[..., Tensor] | None:
    """Return the function compiled for a GPU, None where outputs are to go one by one."""
    if device != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    return torch.compile(function, dynamic=True)


def empty(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a map for an output or an input gradient, not filled.

    Parameters
    ----------
    x : Tensor
        Input.
    shape : (N, C, H, W)

    Returns
    -------
    Tensor, shape `shape`, type of `x`
    """
    return x.new_empty(shape)


def distances(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute the adder convolution in operations that other formats have too.

    Parameters
    ----------
    x, weight, geometry
        As in :func:`forward`.

    Returns
    -------
    Tensor, shape (N, O, H', W')
    """
    sizes = dict(dilation=geometry.dilation, padding=geometry.padding, stride=geometry.stride)
    columns = F.unfold(x, (weight.shape[2], weight.shape[3]), **sizes)
    columns = columns.unflatten(1, (geometry.groups, -1))  # (N, G, R, L)
    outputs, *positions = geometry.out_shape(x, weight)[1:]
    weights = weight.reshape(geometry.groups, -1, weight[0].numel())  # (G, O / G, R)
    elements = weights.shape[2] * geometry.groups * positions[0] * positions[1]
    parts = [
        (columns[:, :, None] - rows[None, :, :, :, None]).abs().sum(3)  # (N, G, o, L)
        for rows in weights.split(max(1, CHUNK // elements), 1)
    ]
    return -torch.cat(parts, 2).reshape(-1, outputs, *positions)


def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute the adder convolution chunk by chunk of images.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input.
    weight : Tensor, shape (O, C / groups, KH, KW)
        Adder weights.
    geometry : Geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    Tensor, shape (N, O, H', W')
    """
    y = x.new_empty(geometry.out_shape(x, weight))
    windows = _Windows(x, weight, geometry)
    for chunk, columns in windows:
        distance = torch.cdist(columns.mT, windows.rows, p=1)  # (n, G, L, O / G)
        y[chunk] = -distance.mT.reshape(y[chunk].shape)
    return y


def grad_input(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Compute the clipped input gradient.

    Parameters
    ----------
    x, weight, geometry
        As in :func:`forward`.
    gradient : Tensor, shape (N, O, H', W')
        Gradient of the loss with respect to the output.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    grad_x = empty(x, x.shape)
    windows = _Windows(x, weight, geometry)
    fused = _fused(_clipped, x.device.type)
    for chunk, columns in windows:
        upstream = windows.upstream(gradient, chunk)
        if fused:
            total = fused(columns, windows.rows, upstream)
        else:
            total, term = torch.zeros_like(columns), torch.empty_like(columns)
            for o in range(windows.rows.shape[1]):
                torch.sub(windows.rows[:, o, :, None], columns, out=term)
                total.add_(term.clamp_(-1, 1).mul_(upstream[:, :, o, None]))
        grad_x[chunk] = F.fold(
            total.flatten(1, 2), (x.shape[2], x.shape[3]), windows.kernel, **windows.sizes()
        )
    return grad_x


def grad_weight(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, sign: bool = False
) -> Tensor:
    """Compute the weight gradient.

    Parameters
    ----------
    x, weight, gradient, geometry
        As in :func:`grad_input`.
    sign : bool
        Take the sign of ``x - w`` instead of the difference.

    Returns
    -------
    Tensor, shape (O, C / groups, KH, KW)
    """
    if not sign:
        # sum_t (x - w) g is an ordinary convolution's weight gradient and a factor per output.
        grad = conv2d_weight(
            x,
            weight.shape,
            gradient,
            stride=geometry.stride,
            padding=geometry.padding,
            dilation=geometry.dilation,
            groups=geometry.groups,
        )
        return grad - weight * gradient.sum((0, 2, 3))[:, None, None, None]
    windows = _Windows(x, weight, geometry)
    fused = _fused(_signed, x.device.type)
    grad = torch.zeros_like(windows.rows)
    for chunk, columns in windows:
        upstream = windows.upstream(gradient, chunk)
        if fused:
            grad += fused(columns, windows.rows, upstream)
            continue
        for o in range(windows.rows.shape[1]):
            signs = signum(columns - windows.rows[:, o, :, None])  # (n, G, R, L)
            grad[:, o] += torch.einsum("ngrl,ngl->gr", signs, upstream[:, :, o])
    return grad.reshape(weight.shape)

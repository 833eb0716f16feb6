"""Build, load and call the compiled adder kernel (``adder_kernel.cpp``).

The one C++ file is compiled for this processor at first use (about a second) into the user's cache
folder and loaded with ``ctypes``. Whatever goes wrong on the way is reported by :func:`status`, and
the layers run on the plain PyTorch form instead.
"""

import ctypes
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyhw.native import attempt, build
from pyhw.nn.geometry import Geometry

SOURCE = Path(__file__).with_name("adder_kernel.cpp")
FUNCTIONS = (
    ("pyhw_adder_forward", 4, 1),
    ("pyhw_adder_grad_input", 5, 1),
    ("pyhw_adder_grad_weight", 5, 2),
)
"""Exported name, how many pointers it takes, and how many numbers after them."""
# Comparisons become one min or max instruction when NaN and -0 need no care of their own.
FLAGS = ("-ffinite-math-only", "-fno-signed-zeros")


def _openmp() -> str | None:
    """Return the OpenMP library that PyTorch runs on, or None.

    A second thread pool beside PyTorch's would fight it for the cores (measured: several times
    slower), so the kernel is linked to nothing and finds PyTorch's own pool when it is loaded.
    """
    try:
        mapped = Path("/proc/self/maps").read_text().split()
    except OSError:
        return None
    names = (word for word in mapped if re.match(r"lib(gomp|iomp5)\b", os.path.basename(word)))
    return next(names, None)


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Return ``(library, message)``; the library is None when the kernel is not to be had."""
    if os.environ.get("PYHW_KERNEL") == "plain":
        return None, "plain PyTorch (PYHW_KERNEL=plain)"
    library, reason = attempt(_open)
    return library, "compiled" if library else f"plain PyTorch ({reason})"


def _open() -> ctypes.CDLL:
    openmp = _openmp()
    if openmp:
        ctypes.CDLL(openmp, mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(build(SOURCE, (*FLAGS, "-fopenmp") if openmp else FLAGS)))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for name, pointers, numbers in FUNCTIONS:
        function = getattr(library, name)
        function.argtypes = [pointer] * pointers + [number] * numbers
        function.restype = None
    return library


def status() -> str:
    """Say which adder kernel the layers use on the CPU, and why.

    Returns
    -------
    str
        ``"compiled"``, or ``"plain PyTorch (<reason>)"``.
    """
    return _load()[1]


def usable(x: Tensor, weight: Tensor) -> bool:
    """Tell whether the compiled kernel can take these operands.

    Parameters
    ----------
    x, weight : Tensor
        Any device, any type.

    Returns
    -------
    bool
        True for float32 on the CPU when the kernel is there.
    """
    tensors = (x, weight)
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and _load()[0] is not None
    )


def _library() -> ctypes.CDLL:
    library = _load()[0]
    assert library is not None, "callers ask usable() first"
    return library


def _dims(
    x: Tensor, weight: Tensor, geometry: Geometry, out: tuple[int, ...], strides: tuple[int, ...]
) -> ctypes.Array:
    """Return the fields of the kernel's `Layer`, in its order."""
    dims = (
        *x.shape, len(weight), geometry.groups, *weight.shape[2:], *geometry.stride,
        *geometry.padding, *geometry.dilation, *out, *x.stride(), *strides,
    )  # fmt: skip
    return (ctypes.c_int64 * len(dims))(*dims)


def _channel_last(images: int, channels: int, height: int, width: int) -> Tensor:
    return torch.empty((images, height, width, channels)).permute(0, 3, 1, 2)


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
        Channel-last in memory.
    """
    return _channel_last(*shape)


def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute the adder convolution with the compiled kernel.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Input, in any memory layout.
    weight : Tensor, shape (O, C / groups, KH, KW), float32
        Adder weights.
    geometry : Geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    Tensor, shape (N, O, H', W'), float32
        Channel-last in memory.
    """
    y = _channel_last(*geometry.out_shape(x, weight))
    dims = _dims(x, weight, geometry, y.shape[2:], y.stride())
    weight = weight.contiguous()
    _library().pyhw_adder_forward(
        dims, x.data_ptr(), weight.data_ptr(), y.data_ptr(), torch.get_num_threads()
    )
    return y


def grad_input(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Compute the clipped input gradient with the compiled kernel.

    Parameters
    ----------
    x, weight, geometry
        As in :func:`forward`.
    gradient : Tensor, shape (N, O, H', W'), float32
        Gradient of the loss with respect to the output, in any memory layout.

    Returns
    -------
    Tensor, shape (N, C, H, W), float32
        Channel-last in memory.
    """
    images, channels, height, width = x.shape
    grad_x = _channel_last(images, channels, height, width)
    dims = _dims(x, weight, geometry, gradient.shape[2:], gradient.stride())
    weight = weight.contiguous()
    _library().pyhw_adder_grad_input(
        dims, x.data_ptr(), weight.data_ptr(), gradient.data_ptr(), grad_x.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return grad_x


def grad_weight(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, sign: bool = False
) -> Tensor:
    """Compute the weight gradient with the compiled kernel.

    Parameters
    ----------
    x, weight, gradient, geometry
        As in :func:`grad_input`.
    sign : bool
        Take the sign of ``x - w`` instead of the difference.

    Returns
    -------
    Tensor, shape (O, C / groups, KH, KW), float32
    """
    grad = torch.empty(weight.shape)
    dims = _dims(x, weight, geometry, gradient.shape[2:], gradient.stride())
    weight = weight.contiguous()
    _library().pyhw_adder_grad_weight(
        dims, x.data_ptr(), weight.data_ptr(), gradient.data_ptr(), grad.data_ptr(), int(sign),
        torch.get_num_threads(),
    )  # fmt: skip
    return grad

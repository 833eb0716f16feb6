"""Build, load and call the compiled adder kernel (``adder_kernel.cpp``).

The one C++ file is compiled for this processor at first use (about a second) into the user's cache
folder and loaded with ``ctypes``. Whatever goes wrong on the way is reported by :func:`status`, and
the layers run on the plain PyTorch form instead.
"""

import ctypes
import functools
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pyhw.cache import cache_dir, content_key

SOURCE = Path(__file__).with_name("adder_kernel.cpp")
LANES = 16
# Comparisons become one min or max instruction when NaN and -0 need no care of their own.
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffinite-math-only", "-fno-signed-zeros", "-fPIC",
)  # fmt: skip
COMPILE_SECONDS = 120


def _processor() -> str:
    """Name what ``-march=native`` depends on, so that a shared home folder is safe."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.machine() + platform.processor() + flags


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


def _build(openmp: str | None) -> Path:
    """Return the path of the compiled kernel, compiling it when the cache has none."""
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if compiler is None:
        raise OSError("no C++ compiler found (g++, clang++ or c++)")
    flags = (*FLAGS, "-fopenmp") if openmp else FLAGS
    key = content_key(SOURCE.read_text(), compiler, flags, _processor())
    target = cache_dir("kernels") / f"adder-{key}.so"
    if target.exists():
        return target
    # Another process may be compiling the same file: each writes its own, the last rename wins.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        parts = [os.path.join(folder, name) for name in ("adder.o", "adder.so")]
        for command in (
            [compiler, *flags, "-c", "-o", parts[0], SOURCE],
            [compiler, "-shared", "-o", parts[1], parts[0]],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS
            )
        os.replace(parts[1], target)
    return target


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Return ``(library, message)``; the library is None when the kernel is not to be had."""
    if os.environ.get("PYHW_KERNEL") == "plain":
        return None, "plain PyTorch (PYHW_KERNEL=plain)"
    try:
        openmp = _openmp()
        if openmp:
            ctypes.CDLL(openmp, mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(_build(openmp)))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        library.pyhw_adder_forward.argtypes = [pointer] * 4 + [number]
        library.pyhw_adder_backward.argtypes = [pointer] * 5 + [number]
        library.pyhw_adder_forward.restype = library.pyhw_adder_backward.restype = None
    except subprocess.CalledProcessError as error:
        first = (error.stderr.strip().splitlines() or ["no message"])[0]
        return None, f"plain PyTorch (the C++ compiler failed: {first})"
    except (OSError, AttributeError, subprocess.TimeoutExpired) as error:
        return None, f"plain PyTorch ({error})"
    return library, "compiled"


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


def _padded(x: Tensor, padding: int) -> Tensor:
    """Return ``x`` as (N, H, W, C) with its zero border; a copy only where it has to be one."""
    if not padding:
        return x.permute(0, 2, 3, 1).contiguous()
    images, channels, height, width = x.shape
    padded = x.new_zeros((images, height + 2 * padding, width + 2 * padding, channels))
    padded[:, padding : padding + height, padding : padding + width] = x.permute(0, 2, 3, 1)
    return padded


def _whole_vectors(taps: Tensor) -> Tensor:
    missing = -taps.shape[-1] % LANES
    return F.pad(taps, (0, missing)) if missing else taps


def _dims(padded: Tensor, weight: Tensor, out_h: int, out_w: int, stride: int) -> ctypes.Array:
    images, height, width, channels = padded.shape
    outputs, kernel = weight.shape[0], weight.shape[2]
    dims = (images, height, width, channels, out_h, out_w, outputs, kernel, stride)
    return (ctypes.c_int64 * len(dims))(*dims)


def forward(
    x: Tensor, weight: Tensor, stride: int, padding: int, out_shape: tuple[int, int, int, int]
) -> Tensor:
    """Compute the adder convolution with the compiled kernel.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Input.
    weight : Tensor, shape (O, C, k, k), float32
        Adder weights.
    stride, padding : int
        Same in both directions.
    out_shape : tuple of int
        (N, O, H', W').

    Returns
    -------
    Tensor, shape (N, O, H', W'), float32
        Channel-last in memory.
    """
    images, outputs, out_h, out_w = out_shape
    padded = _padded(x, padding)
    taps = weight.permute(2, 3, 1, 0).reshape(-1, outputs)  # (R, O)
    taps = _whole_vectors(taps)
    packed = taps.view(len(taps), -1, LANES).transpose(0, 1).contiguous()  # (O / 16, R, 16)
    y = x.new_empty((images, out_h, out_w, outputs))
    _library().pyhw_adder_forward(
        _dims(padded, weight, out_h, out_w, stride),
        padded.data_ptr(), packed.data_ptr(), y.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return y.permute(0, 3, 1, 2)


def grad_input(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    """Compute the clipped input gradient with the compiled kernel.

    Parameters
    ----------
    x, weight, stride, padding
        As in :func:`forward`.
    gradient : Tensor, shape (N, O, H', W'), float32
        Gradient of the loss with respect to the output.

    Returns
    -------
    Tensor, shape (N, C, H, W), float32
        Channel-last in memory.
    """
    outputs, channels, kernel, _ = weight.shape
    padded = _padded(x, padding)
    taps = weight.permute(2, 0, 3, 1).reshape(kernel, outputs, kernel * channels)
    taps = _whole_vectors(taps)
    packed = taps.view(kernel, outputs, -1, LANES).transpose(1, 2).contiguous()  # (k, ., O, 16)
    upstream = gradient.permute(0, 2, 3, 1).contiguous()
    grad = torch.zeros_like(padded)
    _library().pyhw_adder_backward(
        _dims(padded, weight, gradient.shape[2], gradient.shape[3], stride),
        padded.data_ptr(), packed.data_ptr(), upstream.data_ptr(), grad.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    height, width = x.shape[2:]
    return grad[:, padding : padding + height, padding : padding + width].permute(0, 3, 1, 2)

"""The executor's compiled kernels (``kernels.cpp``): sums of convolutions and post-processing.

They return what numpy returns, bit for bit; numpy stays the definition, and what runs where there
is no compiler or ``PYHW_KERNEL`` is ``plain``.
"""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.native import attempt, build

from .post import Post, Step

if TYPE_CHECKING:
    from .ops.conv import Conv

__all__ = ["Kernels", "kernels", "status"]

SOURCE = Path(__file__).with_name("kernels.cpp")
FUNCTIONS = {"pyhw_distances": 5, "pyhw_products": 5, "pyhw_post32": 8, "pyhw_post64": 8}
"""Exported names, and how many pointers each takes."""
OUTPUTS = 16
"""Outputs of a block of weights."""

T = TypeVar("T")


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Return the library and ``""``, or None and why it is not to be had."""
    if os.environ.get("PYHW_KERNEL") == "plain":
        return None, "PYHW_KERNEL=plain"
    return attempt(_open)


def _open(*flags: str) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build(SOURCE, ("-fwrapv", *flags))))
    for name, pointers in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p] * pointers, None
    return library


def status() -> str:
    """Say what the executor runs on: ``"compiled"``, or ``"numpy (<reason>)"``."""
    library, reason = _load()
    return "compiled" if library else f"numpy ({reason})"


def kernels() -> "Kernels | None":
    """Return kernels for a run, or None where there are none."""
    library, _ = _load()
    return None if library is None else Kernels(library)


class Kernels:
    """The compiled functions, and the packed weights of one run; any thread may call them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._made: dict[tuple[str, int], Any] = {}

    def once(self, what: str, record: object, make: Callable[[], T]) -> T:
        """Return what `make` makes of a record that lives as long as the run: made only once."""
        key = (what, id(record))
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def distances(self, conv: "Conv", x: np.ndarray, fmt: Format) -> np.ndarray:
        """Sum ``-|(x << ex) - w|`` over windows.

        Parameters
        ----------
        conv : Conv
            Weights `weight_values` fit the same 8 bits as ``x << ex``.
        x : integer array (N, H, W, C)
            Stored values, without a border.
        fmt : Format
            Their format.

        Returns
        -------
        int32 array (N, H', W', O)
        """
        flip = 0x80 if fmt.signed else 0  # distances stay, and bytes count from 0
        return self._convolution("pyhw_distances", conv, x, fmt, np.uint8, 8, conv.ex, flip)

    def products(self, conv: "Conv", x: np.ndarray, fmt: Format) -> np.ndarray:
        """Sum ``x w`` over windows; weights fit 16 bits and partial sums 32; as `distances`."""
        return self._convolution("pyhw_products", conv, x, fmt, np.int16, 2, 0, 0)

    def post(
        self, post: Post, acc: np.ndarray, residual: np.ndarray | None, residual2: np.ndarray | None
    ) -> np.ndarray:
        """Post-process accumulators: int32 or int64 (..., C) to int64 of that shape."""
        channels = acc.shape[-1]
        out = np.empty(acc.shape, np.int64)
        ends = [out.size // channels, channels, post.first.fmt.min, post.first.fmt.max]
        if post.second is not None:
            ends += [post.second.fmt.min, post.second.fmt.max]
        dims = np.array(ends + [0] * (6 - len(ends)), np.int64)
        wide = acc.dtype != np.int32
        acc = np.ascontiguousarray(acc, np.int64 if wide else np.int32)
        step = post.second
        second = None if step is None else self.once("step", step, lambda: _arrays(step))
        arrays = [
            self.once("step", post.first, lambda: _arrays(post.first)), residual, post.table,
            second, residual2,
        ]  # fmt: skip
        read = [None if a is None else np.ascontiguousarray(a, np.int64) for a in arrays]
        self._call("pyhw_post64" if wide else "pyhw_post32", dims, acc, *read, out)
        return out

    def _convolution(
        self, name: str, conv: "Conv", x: np.ndarray, fmt: Format, dtype: type, pack: int,
        shift: int, flip: int,
    ) -> np.ndarray:  # fmt: skip
        weights = self.once("weights", conv, lambda: _pack(conv, dtype, pack, flip))
        height, width = conv.positions(x.shape[1:])
        out = np.empty((len(x), height, width, conv.out_channels), np.int32)
        dims = np.array([
            *x.shape, height, width, conv.out_channels, conv.groups, *conv.kernel, *conv.stride,
            *conv.dilation, *conv.padding, shift, flip], np.int64)  # fmt: skip
        border = conv.border_values(x.shape[3], fmt)
        self._call(name, dims, np.ascontiguousarray(x, np.int64), border, weights, out)
        return out

    def _call(self, name: str, *arrays: np.ndarray | None) -> None:
        getattr(self._library, name)(*(None if a is None else a.ctypes.data for a in arrays))


def _arrays(step: Step) -> np.ndarray:
    """Return m, bias and half, S and r of a step: int64 (4, C)."""
    shift, zero = step.shift.astype(np.int64), np.zeros(step.channels, np.int64)
    m, r = (sum((s << e for s, e in terms), start=zero) for terms in (step.m, step.r))
    return np.stack([m, step.bias + ((np.int64(1) << shift) >> 1), shift, r])


def _pack(conv: "Conv", dtype: type, pack: int, flip: int) -> np.ndarray:
    """Return weights as the kernel reads them.

    [group][16 outputs a block][K / pack][output][pack], rest filled with 0; [tap][channel] of a
    depthwise convolution of one output a channel.
    """
    values: np.ndarray = (conv.weight_values ^ flip).astype(dtype)  # (O, KH, KW, C / groups)
    groups, out = conv.groups, conv.out_channels
    if conv.depthwise:
        return np.ascontiguousarray(values.reshape(out, -1).T)
    rows = values.reshape(groups, out // groups, -1)
    filled = ((0, 0), (0, -rows.shape[1] % OUTPUTS), (0, -rows.shape[2] % pack))
    rows = np.pad(rows, filled)
    blocks = rows.reshape(groups, rows.shape[1] // OUTPUTS, OUTPUTS, -1, pack)
    return np.ascontiguousarray(blocks.swapaxes(2, 3))

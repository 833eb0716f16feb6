"""From a torch pool to a stage: windows over a map, and what an average divides by."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from .convert import pair
from .functions import Unsupported
from .refs import Ref
from .stage import Stage

__all__ = ["pool"]


@dataclass(frozen=True)
class _Axis:
    """The windows in one direction.

    Attributes
    ----------
    kernel, stride : int
    before, after : int
        Places outside the map that windows reach.
    count : int
        Windows.
    inside : set of int
        How many places an average divides by, of all windows.
    """

    kernel: int
    stride: int
    before: int
    after: int
    count: int
    inside: frozenset[int]


def pool(path: str, layer: Any, ref: Ref) -> Stage | None:
    """Return the stage of a pool, None where it changes nothing.

    Parameters
    ----------
    path : str
        Of the layer.
    layer : torch.nn.Module
        A maximum or an average, adaptive or not.
    ref : Ref
        What it reads, of known shape; its padding becomes the pool's.

    Raises
    ------
    Unsupported
        If windows differ in size or in what they divide by.
    """
    maximum = isinstance(layer, (nn.MaxPool2d, nn.AdaptiveMaxPool2d))
    if isinstance(layer, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
        if getattr(layer, "return_indices", False):
            raise Unsupported("return_indices is not supported; use return_indices=False")
        size: Any = layer.output_size
        wanted = size if isinstance(size, (tuple, list)) else (size, size)
        axes = [_adaptive(side, out) for side, out in zip(ref.padded, wanted)]
    else:
        axes = [_axis(layer, size, i, maximum) for i, size in enumerate(ref.padded)]
    sums = [axis.inside for axis in axes]
    divisor = None
    if not maximum:
        override = getattr(layer, "divisor_override", None)
        if override is None and any(len(found) > 1 for found in sums):
            raise Unsupported(
                "its divisor changes at the border of the map; use count_include_pad=True, "
                "ceil_mode=False and train again"
            )
        divisor = override or min(sums[0]) * min(sums[1])
    kernel, stride = (axes[0].kernel, axes[1].kernel), (axes[0].stride, axes[1].stride)
    top, left, bottom, right = ref.padding or (0, 0, 0, 0)
    padding = (top + axes[0].before, left + axes[1].before,
               bottom + axes[0].after, right + axes[1].after)  # fmt: skip
    if kernel == stride == (1, 1) and not any(padding) and divisor in (None, 1):
        return None
    taps = kernel[0] * kernel[1]
    return Stage(
        path=path,
        kind="max" if maximum else "sum",
        channels=ref.shape[2],
        kernel=kernel,
        stride=stride,
        padding=padding,
        divisor=None if divisor == taps else divisor,
        whole=not maximum and [axis.count for axis in axes] == [1, 1],
    )


def _adaptive(size: int, out: int | None) -> _Axis:
    """Return the windows of an adaptive pool, which must be those of an ordinary one."""
    out = size if out is None else out
    starts = [i * size // out for i in range(out)]
    sizes = {-(-(i + 1) * size // out) - start for i, start in enumerate(starts)}
    strides = {b - a for a, b in pairwise(starts)} or {1}
    if len(sizes) > 1 or len(strides) > 1 or 0 in strides:
        raise Unsupported(
            f"windows of different sizes make {out} of {size} places; use an output size that "
            f"divides {size}"
        )
    return _Axis(min(sizes), min(strides), 0, 0, out, frozenset(sizes))


def _axis(layer: Any, size: int, direction: int, maximum: bool) -> _Axis:
    """Return the windows of an ordinary pool in one direction."""
    kernel, stride, pad = (
        pair(part)[direction] for part in (layer.kernel_size, layer.stride, layer.padding)
    )
    if maximum and (pair(layer.dilation) != (1, 1) or layer.return_indices):
        raise Unsupported("dilation and return_indices are not supported")
    if kernel > size + 2 * pad:
        raise Unsupported(f"its kernel does not fit the map: {kernel} on a side of {size}")
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if layer.ceil_mode else room // stride) + 1
    if layer.ceil_mode and (count - 1) * stride >= size + pad:
        count -= 1  # no window begins behind the map
    after = max(pad, (count - 1) * stride + kernel - size - pad)
    counted = not maximum and layer.count_include_pad
    low, high = (-pad, size + pad) if counted else (0, size)
    starts = [i * stride - pad for i in range(count)]
    inside = {min(start + kernel, high) - max(start, low) for start in starts}
    return _Axis(kernel, stride, pad, after, count, frozenset(inside))

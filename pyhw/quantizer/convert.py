"""From a torch layer to a stage: sizes, weights and codes as arrays, channels last."""

from typing import Any

import numpy as np
import torch
from torch import nn

from pyhw.nn.kinds import layer_class_of

from .forms import FORMS, ReadWeights
from .functions import Unsupported
from .stage import Norm, Stage

__all__ = ["UNKNOWN", "Shape", "batch_norm", "convolution", "linear", "output_sides", "pool"]

Shape = tuple[int, int, int]

UNKNOWN = (0, 0, 0)
"""Shape of what follows a layer that cannot be quantised; nothing is required of it."""


def pair(value: Any) -> tuple[int, int]:
    """Return a size that may be given once or per direction as two integers."""
    two = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return int(two[0]), int(two[1])


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _optional(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _array(tensor)


def _padding(layer: Any) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    if layer.padding == "same":
        (kh, kw), (dy, dx) = pair(layer.kernel_size), pair(layer.dilation)
        tall, wide = dy * (kh - 1), dx * (kw - 1)  # PyTorch pads the far side more
        return tall // 2, wide // 2, tall - tall // 2, wide - wide // 2
    down, across = pair(layer.padding)
    return down, across, down, across


def convolution(path: str, layer: Any) -> Stage:
    """Return the stage of an ordinary, an adder or a coded convolution."""
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise Unsupported(f"padding_mode must be 'zeros', not {layer.padding_mode!r}")
    form, read = _read(layer)
    weight, codes = read.weight, read.codes
    weight = weight.transpose(0, 2, 3, 1)  # (O, C / groups, KH, KW) -> (O, KH, KW, C / groups)
    if codes is not None:
        sign, exponent = (part.transpose(0, 1, 3, 4, 2) for part in codes)
        codes = sign, exponent
    return Stage(
        path=path,
        kind=form,
        channels=len(weight),
        weight=weight,
        codes=codes,
        prototype=read.prototype,
        bias=_optional(layer.bias),
        kernel=pair(weight.shape[1:3]),
        stride=pair(layer.stride),
        dilation=pair(layer.dilation),
        padding=_padding(layer),
        groups=layer.groups,
    )


def linear(path: str, layer: Any, shape: Shape) -> Stage:
    """Return the stage of a linear layer that reads a whole map of `shape`.

    PyTorch flattens (C, H, W), maps here are (H, W, C).
    """
    height, width, channels = shape
    form, read = _read(layer)
    weight, codes = read.weight, read.codes
    if weight.shape[1] != height * width * channels:
        raise Unsupported(
            f"it takes {weight.shape[1]} features and gets {height}x{width}x{channels}"
        )
    weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    if codes is not None:
        terms = (len(codes[0]), len(weight), channels, height, width)
        sign, exponent = (part.reshape(terms).transpose(0, 1, 3, 4, 2) for part in codes)
        codes = sign, exponent
    return Stage(
        path=path,
        kind=form,
        channels=len(weight),
        weight=weight,
        codes=codes,
        prototype=read.prototype,
        bias=_optional(layer.bias),
        kernel=(height, width),
    )


def _read(layer: Any) -> tuple[str, ReadWeights]:
    """Return the form of a layer's weights, and the weights."""
    known = layer_class_of(layer)
    assert known is not None
    return known.form, FORMS[known.form].read(layer, known)


def pool(path: str, layer: Any, shape: Shape) -> Stage:
    """Return the stage of a maximum or average pool that reads a map of `shape`."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        if pair(layer.output_size) != (1, 1):
            raise Unsupported("only an output_size of 1 is supported; use AvgPool2d")
        whole = shape[:2] if shape != UNKNOWN else (1, 1)
        return Stage(path=path, kind="sum", channels=shape[2], kernel=whole, whole=True)
    if layer.ceil_mode:
        raise Unsupported("ceil_mode is not supported; pad the map instead")
    if isinstance(layer, nn.MaxPool2d):
        if pair(layer.dilation) != (1, 1) or layer.return_indices:
            raise Unsupported("dilation and return_indices are not supported")
        kind = "max"
    else:
        if layer.divisor_override is not None:
            raise Unsupported("divisor_override is not supported")
        if any(pair(layer.padding)) and not layer.count_include_pad:
            raise Unsupported("with padding it needs count_include_pad=True")
        kind = "sum"
    return Stage(
        path=path,
        kind=kind,
        channels=shape[2],
        kernel=pair(layer.kernel_size),
        stride=pair(layer.stride),
        padding=_padding(layer),
    )


def batch_norm(layer: Any) -> Norm:
    """Return what a batch norm does in evaluation mode."""
    if layer.running_mean is None or layer.running_var is None:
        raise Unsupported("it needs running statistics; use track_running_stats=True")
    if (layer.running_var < 0).any():
        raise Unsupported("its running_var holds negative values; train it again")
    scale = 1 / np.sqrt(_array(layer.running_var) + layer.eps)
    if layer.weight is not None:
        scale = scale * _array(layer.weight)
    mean = _array(layer.running_mean)
    shift = np.zeros(len(mean)) if layer.bias is None else _array(layer.bias)
    return Norm(scale, mean, shift)


def output_sides(stage: Stage, shape: Shape) -> tuple[int, int]:
    """Return height and width of what a stage makes of a map of `shape`."""
    height, width, _ = shape
    top, left, bottom, right = stage.padding
    sides = []
    for size, k, s, d in zip(
        (height + top + bottom, width + left + right), stage.kernel, stage.stride, stage.dilation
    ):
        if d * (k - 1) >= size:
            raise Unsupported(f"its kernel does not fit the {height}x{width} map")
        sides.append((size - d * (k - 1) - 1) // s + 1)
    return sides[0], sides[1]

"""From a torch layer to a stage: sizes, weights and codes as arrays, channels last."""

from typing import Any

import numpy as np
import torch

from pyhw.nn.kinds import layer_class_of

from .forms import FORMS, ReadWeights
from .functions import Unsupported
from .refs import Shape
from .stage import Norm, Stage

__all__ = ["batch_norm", "convolution", "linear", "numbers", "output_sides", "pair"]


Sides = tuple[int, int, int, int]


def pair(value: Any) -> tuple[int, int]:
    """Return a size that may be given once or per direction as two integers."""
    two = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return int(two[0]), int(two[1])


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as a float64 array."""
    return tensor.detach().cpu().double().numpy()


def _optional(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else numbers(tensor)


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


def convolution(path: str, layer: Any, around: Sides | None = None) -> Stage:
    """Return the stage of an ordinary, an adder or a coded convolution.

    Parameters
    ----------
    path : str
        Of the layer.
    layer : torch.nn.Module
        With weights of four dimensions.
    around : (int, int, int, int), optional
        Zeros that were put around the map before: top, left, bottom, right.
    """
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise Unsupported(f"padding_mode must be 'zeros', not {layer.padding_mode!r}")
    form, read = _read(layer)
    top, left, bottom, right = (
        own + more for own, more in zip(_padding(layer), around or (0, 0, 0, 0))
    )
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
        padding=(top, left, bottom, right),
        groups=layer.groups,
    )


def linear(path: str, layer: Any, shape: Shape, features: Norm | None = None) -> Stage:
    """Return the stage of a linear layer that reads a whole map of `shape`.

    PyTorch flattens (C, H, W), maps here are (H, W, C). `features` is applied to what it reads
    first, in PyTorch's order.
    """
    height, width, channels = shape
    form, read = _read(layer)
    weight, codes, bias = read.weight, read.codes, _optional(layer.bias)
    if weight.shape[1] != height * width * channels:
        raise Unsupported(
            f"it takes {weight.shape[1]} features and gets {height}x{width}x{channels}"
        )
    if features is not None:
        if not FORMS[form].linear:
            raise Unsupported(
                "it reads what a batch norm makes of a flattened map, which cannot go into weights "
                "of its kind; put the batch norm before the Flatten, as BatchNorm2d"
            )
        constant = weight @ (features.shift - features.scale * features.mean)
        weight, bias = weight * features.scale, constant + (0 if bias is None else bias)
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
        bias=bias,
        kernel=(height, width),
    )


def _read(layer: Any) -> tuple[str, ReadWeights]:
    """Return the form of a layer's weights, and the weights."""
    known = layer_class_of(layer)
    assert known is not None
    return known.form, FORMS[known.form].read(layer, known)


def batch_norm(layer: Any) -> Norm:
    """Return what a batch norm does in evaluation mode."""
    if layer.running_mean is None or layer.running_var is None:
        raise Unsupported("it needs running statistics; use track_running_stats=True")
    if (layer.running_var < 0).any():
        raise Unsupported("its running_var holds negative values; train it again")
    scale = 1 / np.sqrt(numbers(layer.running_var) + layer.eps)
    if layer.weight is not None:
        scale = scale * numbers(layer.weight)
    mean = numbers(layer.running_mean)
    shift = np.zeros(len(mean)) if layer.bias is None else numbers(layer.bias)
    return Norm(scale, mean, shift)


def output_sides(stage: Stage, shape: Shape) -> tuple[int, int]:
    """Return height and width of what a stage makes of a map of `shape`, its padding included."""
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

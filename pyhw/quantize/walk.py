"""Reading a torch model: a sequence of layers becomes stages, or one report of what cannot be."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.nn.adder import AdderConv2d, AdderLinear

from .advice import advise
from .stage import Stage

__all__ = ["walk"]

Shape = tuple[int, int, int]

IGNORED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class _Unsupported(Exception):
    """A layer that cannot be quantised; the text says why and what to use instead."""


def walk(model: nn.Module, shape: Shape) -> list[Stage]:
    """Read a model in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Nested `torch.nn.Sequential` of the layers that `docs/quantization.md` lists.
    shape : (int, int, int)
        Height, width and channels of its input.

    Returns
    -------
    list of Stage

    Raises
    ------
    UserError
        If a layer is not supported (one report of all of them, by path in the model), holds NaN
        or infinite values, or does not fit the shape of its input.
    """
    walker = _Walker(shape)
    for path, layer in _leaves(model, ""):
        walker.visit(path, layer)
    if walker.problems:
        count = len(walker.problems)
        raise UserError(
            f"{count} layer{'s' * (count > 1)} cannot be quantised: " + "; ".join(walker.problems)
        )
    if not any(stage.kind in ("conv", "adder") for stage in walker.stages):
        raise UserError("the model has no convolution or linear layer: there is nothing to run")
    return walker.stages


def _leaves(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in order; only sequences are taken apart, for their order is known."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for name, child in module.named_children():
            yield from _leaves(child, f"{path}.{name}" if path else name)
    else:
        yield path or "(the model itself)", module


def _pair(value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return int(pair[0]), int(pair[1])


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _optional(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _array(tensor)


def _padding(layer: Any) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    if layer.padding == "same":
        (kh, kw), (dy, dx) = _pair(layer.kernel_size), _pair(layer.dilation)
        tall, wide = dy * (kh - 1), dx * (kw - 1)  # PyTorch pads the far side more
        return tall // 2, wide // 2, tall - tall // 2, wide - wide // 2
    down, across = _pair(layer.padding)
    return down, across, down, across


class _Walker:
    """The stages so far and the shape of their result; problems are collected, not raised."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.flat = False
        self.stages: list[Stage] = []
        self.problems: list[str] = []

    def visit(self, path: str, layer: nn.Module) -> None:
        """Take one layer."""
        values = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for name, tensor in values:
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise UserError(
                    f"layer {path!r}: its {name} holds NaN or infinite values, so it computes "
                    "nothing; train again with a smaller learning rate"
                )
        take = _TAKE.get(type(layer))
        try:
            if take is None:
                raise _Unsupported(advise(layer))
            take(self, path, layer)
        except _Unsupported as problem:
            name = type(layer).__name__
            self.problems.append(f"{path} ({name}): {problem}")
            # What comes after is still searched for layers that are not known, but its sizes
            # cannot be judged any more.
            self.shape = (0, 0, 0)

    def _need(self, kept: bool, text: str) -> None:
        if not kept and self.shape != (0, 0, 0):
            raise _Unsupported(text)

    def _ignore(self, path: str, layer: nn.Module) -> None:
        pass

    def _flatten(self, path: str, layer: Any) -> None:
        whole = layer.start_dim == 1 and layer.end_dim in (-1, 3)
        self._need(whole, "only start_dim=1, end_dim=-1 is supported")
        self.flat = True

    def _convolution(self, path: str, layer: Any) -> None:
        adder = isinstance(layer, AdderConv2d)
        if not adder and layer.padding_mode != "zeros":
            raise _Unsupported(f"padding_mode must be 'zeros', not {layer.padding_mode!r}")
        self._need(not self.flat, "it follows a Flatten; put it before")
        weight = _array(layer.weight).transpose(0, 2, 3, 1)  # (O, C / groups, KH, KW) -> NHWC
        self._add(
            Stage(
                path=path,
                kind="adder" if adder else "conv",
                channels=len(weight),
                weight=weight,
                bias=_optional(layer.bias),
                kernel=_pair(layer.kernel_size),
                stride=_pair(layer.stride),
                dilation=_pair(layer.dilation),
                padding=_padding(layer),
                groups=layer.groups,
            ),
            takes=layer.in_channels,
        )

    def _linear(self, path: str, layer: Any) -> None:
        height, width, channels = self.shape
        if self.shape == (0, 0, 0):
            return
        flat = self.flat or (height, width) == (1, 1)
        self._need(flat, "it must follow a Flatten")
        count = height * width * channels
        self._need(
            layer.in_features == count,
            f"it takes {layer.in_features} features and gets {height}x{width}x{channels}",
        )
        # PyTorch flattens (C, H, W): weights (O, C * H * W) -> (O, H, W, C)
        weight = _array(layer.weight).reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        kind = "adder" if isinstance(layer, AdderLinear) else "conv"
        self._add(
            Stage(
                path=path,
                kind=kind,
                channels=len(weight),
                weight=weight,
                bias=_optional(layer.bias),
                kernel=(height, width),
            ),
            takes=channels,
        )
        self.flat = True

    def _pool(self, path: str, layer: Any) -> None:
        self._need(not self.flat, "it follows a Flatten; put it before")
        if layer.ceil_mode:
            raise _Unsupported("ceil_mode is not supported; pad the map instead")
        if isinstance(layer, nn.MaxPool2d):
            if _pair(layer.dilation) != (1, 1) or layer.return_indices:
                raise _Unsupported("dilation and return_indices are not supported")
            kind = "max"
        else:
            if layer.divisor_override is not None:
                raise _Unsupported("divisor_override is not supported")
            if any(_pair(layer.padding)) and not layer.count_include_pad:
                raise _Unsupported("with padding it needs count_include_pad=True")
            kind = "sum"
        self._add(
            Stage(
                path=path,
                kind=kind,
                channels=self.shape[2],
                kernel=_pair(layer.kernel_size),
                stride=_pair(layer.stride),
                padding=_padding(layer),
            ),
            takes=self.shape[2],
        )

    def _batch_norm(self, path: str, layer: Any) -> None:
        height, width, channels = self.shape
        if layer.running_mean is None or layer.running_var is None:
            raise _Unsupported("it needs running statistics; use track_running_stats=True")
        self._need(
            layer.num_features == channels and (not self.flat or height * width <= 1),
            f"it has {layer.num_features} features for a map of {height}x{width}x{channels}; "
            "put it before the Flatten",
        )
        scale = 1 / np.sqrt(_array(layer.running_var) + layer.eps)
        if layer.weight is not None:
            scale = scale * _array(layer.weight)
        mean = _array(layer.running_mean)
        shift = np.zeros(len(mean)) if layer.bias is None else _array(layer.bias)
        last = self.stages[-1] if self.stages else None
        if last is None or last.scale is not None or last.relu:
            last = Stage(path=path, kind="point", channels=layer.num_features)
            self.stages.append(last)
        self.stages[-1] = replace(last, scale=scale, mean=mean, shift=shift)

    def _relu(self, path: str, layer: nn.Module) -> None:
        if self.stages:  # pixels are not negative
            self.stages[-1] = replace(self.stages[-1], relu=True)

    def _add(self, stage: Stage, takes: int) -> None:
        """Append a stage and follow the shape of its result."""
        height, width, channels = self.shape
        if self.shape != (0, 0, 0):
            self._need(takes == channels, f"it takes {takes} channels and gets {channels}")
            top, left, bottom, right = stage.padding
            sides = []
            for size, k, s, d in zip(
                (height + top + bottom, width + left + right),
                stage.kernel,
                stage.stride,
                stage.dilation,
            ):
                self._need(d * (k - 1) < size, f"its kernel does not fit the {height}x{width} map")
                sides.append((size - d * (k - 1) - 1) // s + 1)
            self.shape = (sides[0], sides[1], stage.channels)
        self.stages.append(stage)


_TAKE: dict[type, Callable[[_Walker, str, Any], None]] = {
    **dict.fromkeys(IGNORED, _Walker._ignore),
    nn.Flatten: _Walker._flatten,
    nn.Conv2d: _Walker._convolution,
    AdderConv2d: _Walker._convolution,
    nn.Linear: _Walker._linear,
    AdderLinear: _Walker._linear,
    nn.MaxPool2d: _Walker._pool,
    nn.AvgPool2d: _Walker._pool,
    nn.BatchNorm1d: _Walker._batch_norm,
    nn.BatchNorm2d: _Walker._batch_norm,
    nn.ReLU: _Walker._relu,
}
"""What is done with each kind of layer; subclasses may compute something else and are refused."""

"""Functions and methods of PyTorch by name, as the layers that compute the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from .advice import SUPPORTED

__all__ = ["Shape", "Size", "Tensor", "Unsupported", "layers_of"]


class Unsupported(Exception):
    """What cannot be quantised; the text says why and what to use instead."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that depends on the images."""

    name: str


class Shape:
    """The shape of a tensor."""


@dataclass(frozen=True)
class Size:
    """One entry of a shape."""

    dimension: Any


Layers = tuple[nn.Module, ...]


def layers_of(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, Layers]:
    """Return the kind of a call, ``layers``, ``add`` or ``cat``, and the layers of the first.

    Parameters
    ----------
    name : str
        Of the function or method.
    args, kwargs : list, dict
        As it is called; maps are `Tensor`, shapes and their entries `Shape` and `Size`.

    Raises
    ------
    Unsupported
        If it or its arguments cannot be quantised.
    """
    take = _FUNCTIONS.get(name)
    if take is None:
        raise Unsupported(f"use {SUPPORTED}")
    try:
        return take(*args, **kwargs)
    except TypeError as error:
        raise Unsupported("its arguments are not supported") from error


def _add(a: Any, b: Any, *, alpha: Any = 1) -> tuple[str, Layers]:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or alpha != 1:
        raise Unsupported("only two maps of the network can be added; use a bias or a batch norm")
    return "add", ()


def _cat(tensors: Any, dim: Any = 0) -> tuple[str, Layers]:
    if dim not in (1, -3) or not all(isinstance(item, Tensor) for item in tensors):
        raise Unsupported("only maps can be concatenated, over their channels (dim=1)")
    return "cat", ()


def _view(x: Any, *sizes: Any) -> tuple[str, Layers]:
    if len(sizes) == 1 and isinstance(sizes[0], list):
        sizes = tuple(sizes[0])
    whole = len(sizes) == 2 and sizes[0] in (-1, Size(0)) and isinstance(sizes[1], int)
    if not whole or sizes == (-1, -1):
        raise Unsupported("only (N, -1) is supported; use Flatten")
    return "layers", (nn.Flatten(),)


def _mean(x: Any, dim: Any = None, keepdim: Any = False) -> tuple[str, Layers]:
    if not isinstance(dim, list) or sorted(d % 4 for d in dim) != [2, 3]:
        raise Unsupported("only the mean over height and width, (2, 3), is supported")
    pool = nn.AdaptiveAvgPool2d(1)
    return "layers", (pool,) if keepdim else (pool, nn.Flatten())


def _max_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: Any = False, return_indices: Any = False,
) -> tuple[str, Layers]:  # fmt: skip
    pool = nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)
    return "layers", (pool,)


def _layer(make: Callable[..., nn.Module], *ignored: str) -> Callable[..., tuple[str, Layers]]:
    """Return a handler for a function whose arguments are those of a layer."""

    def handler(x: Any, *args: Any, **kwargs: Any) -> tuple[str, Layers]:
        kept = {name: value for name, value in kwargs.items() if name not in ignored}
        return "layers", (make(*args, **kept),)

    return handler


def _constant(layer: Callable[[], nn.Module]) -> Callable[..., tuple[str, Layers]]:
    """Return a handler for a function whose arguments do not matter."""
    return lambda *args, **kwargs: ("layers", (layer(),))


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> tuple[str, Layers]:
    return "layers", (nn.Flatten(start_dim, end_dim),)


_FUNCTIONS: dict[str, Callable[..., tuple[str, Layers]]] = {
    **dict.fromkeys(("add", "add_", "iadd"), _add),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("view", "reshape"), _view),
    **dict.fromkeys(("relu", "relu_"), _layer(nn.ReLU, "inplace")),
    **dict.fromkeys(("dropout", "dropout2d", "contiguous", "clone"), _constant(nn.Identity)),
    "mean": _mean,
    "flatten": _flatten,
    "max_pool2d": _max_pool,
    "avg_pool2d": _layer(nn.AvgPool2d),
    "adaptive_avg_pool2d": _layer(nn.AdaptiveAvgPool2d),
    "gelu": _layer(nn.GELU),
    "relu6": _layer(nn.ReLU6, "inplace"),
    "silu": _layer(nn.SiLU, "inplace"),
    "hardswish": _layer(nn.Hardswish, "inplace"),
    "hardsigmoid": _layer(nn.Hardsigmoid, "inplace"),
    "sigmoid": _layer(nn.Sigmoid),
    "tanh": _layer(nn.Tanh),
}

"""Functions and methods of PyTorch by name, as the layers that compute the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pyhw.hdl.registry import Registry

from .advice import SUPPORTED

__all__ = ["FUNCTIONS", "Constant", "Parts", "Reshape", "ScaleShift", "Unsupported", "Value",
           "layers_of"]  # fmt: skip


class Unsupported(Exception):
    """What cannot be quantised; the text says why and what to use instead."""


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the images."""

    name: str


@dataclass(frozen=True, eq=False)
class Constant:
    """What does not depend on the images: a tensor of the model, or what is computed of some."""

    value: Any


@dataclass(frozen=True)
class Parts:
    """Equal parts of a tensor's channels: the result of ``chunk``."""

    name: str
    path: str
    count: Any
    dimension: Any

    def part(self, index: Any) -> dict[str, int]:
        """Return index and count of one part.

        Raises
        ------
        Unsupported
            If the parts are not those of the last dimension of tokens.
        """
        if self.dimension not in (-1, 2) or not isinstance(self.count, int):
            raise Unsupported("only the channels of tokens (dim=-1) can be cut into parts")
        return {"index": index, "count": self.count}


class Reshape(nn.Module):
    """Stands for the same elements in the same order under another shape."""


class ScaleShift(nn.Module):
    """``scale * x + shift``, constants that PyTorch broadcasts to one image of x."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, scale: Any = 1.0, shift: Any = 0.0) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("shift", shift)):
            tensor = torch.as_tensor(value).detach().double().cpu()
            self.register_buffer(name, tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute it."""
        return x * self.scale + self.shift


Layers = tuple[nn.Module, ...]
Made = tuple[str, Layers]


def layers_of(name: str, args: list[Any], kwargs: dict[str, Any]) -> Made:
    """Return the kind of a call, ``layers`` or that of a join, and the layers of the first.

    Parameters
    ----------
    name : str
        Of the function or method.
    args, kwargs : list, dict
        As it is called; maps are `Value`, tensors of the model `Constant`.

    Raises
    ------
    Unsupported
        If it or its arguments cannot be quantised.
    """
    take = FUNCTIONS.get(name)
    if take is None:
        raise Unsupported(f"use {SUPPORTED}")
    try:
        return take(*map(_plain, args), **{key: _plain(value) for key, value in kwargs.items()})
    except (TypeError, ValueError) as error:
        raise Unsupported("its arguments are not supported") from error


def _plain(argument: Any) -> Any:
    return argument.value if isinstance(argument, Constant) else argument


def _one(a: Any) -> None:
    """Refuse a second value of the network where only a constant can be."""
    if isinstance(a, Value):
        raise Unsupported(
            "of two maps of the network only the sum is supported; use + or a coded layer"
        )


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Made:
    if isinstance(a, Value) and isinstance(b, Value):
        if alpha != 1:
            raise Unsupported("two maps of the network are added with alpha=1 only")
        return "add", ()
    if isinstance(a, Value):
        return "layers", (ScaleShift(shift=torch.as_tensor(b) * alpha),)
    return "layers", (ScaleShift(alpha, a),)


def _sub(a: Any, b: Any, *, alpha: Any = 1) -> Made:
    if isinstance(b, Value):
        _one(a)
        return "layers", (ScaleShift(-alpha, a),)
    return "layers", (ScaleShift(shift=-torch.as_tensor(b) * alpha),)


def _mul(a: Any, b: Any) -> Made:
    if isinstance(a, Value):
        _one(b)
        return "layers", (ScaleShift(b),)
    return "layers", (ScaleShift(a),)


def _div(a: Any, b: Any, *, rounding_mode: Any = None) -> Made:
    if isinstance(b, Value) or rounding_mode is not None:
        raise Unsupported("maps can only be divided by constants, without rounding")
    return "layers", (ScaleShift(1 / torch.as_tensor(b).detach().double()),)


def _cat(tensors: Any, dim: Any = 0) -> Made:
    if dim not in (1, -3) or not all(isinstance(item, Value) for item in tensors):
        raise Unsupported("only maps can be concatenated, over their channels (dim=1)")
    return "cat", ()


def _index(x: Any, index: Any) -> Made:
    entries = index if isinstance(index, list) else [index]
    if any(e is not None and e is not ... and not isinstance(e, (int, slice)) for e in entries):
        raise Unsupported("only slices and numbers can be indices, of maps of one position")
    return "layers", (Reshape(),)


def _mean(x: Any, dim: Any = None, keepdim: Any = False) -> Made:
    if not isinstance(dim, list) or sorted(d % 4 for d in dim) != [2, 3]:
        raise Unsupported("only the mean over height and width, (2, 3), is supported")
    pool = nn.AdaptiveAvgPool2d(1)
    return "layers", (pool,) if keepdim else (pool, Reshape())


def _max_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: Any = False, return_indices: Any = False,
) -> Made:  # fmt: skip
    stride = stride or None  # an empty list is the default
    pool = nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)
    return "layers", (pool,)


def _pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Made:
    if mode != "constant" or value:
        raise Unsupported("maps can only be padded with zeros; use ZeroPad2d")
    sides = [*pad, 0, 0, 0, 0][:4]
    if any(pad[4:]):
        raise Unsupported("only height and width can be padded; use ZeroPad2d")
    return "layers", (nn.ZeroPad2d(tuple(sides)),)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Made:
    low, high = (float(end) if end is not None else None for end in (min, max))
    if low == 0 and high is None:
        return "layers", (nn.ReLU(),)
    low, high = (end if end is not None else way * float("inf")
                 for end, way in ((low, -1), (high, 1)))  # fmt: skip
    return "layers", (nn.Hardtanh(low, high),)


def _prelu(x: Any, weight: Any) -> Made:
    layer = nn.PReLU(weight.numel())
    layer.weight.data = weight.detach().reshape(-1)
    return "layers", (layer,)


def _dropout(x: Any, p: Any = 0.5, training: Any = True, inplace: Any = False) -> Made:
    if training and p:
        raise Unsupported("it drops values at inference, too; use training=self.training")
    return "layers", (nn.Identity(),)


def _softmax(make: Callable[..., nn.Module]) -> Callable[..., Made]:
    def handler(x: Any, dim: Any = None, *ignored: Any, **named: Any) -> Made:
        return "layers", (make(dim),)

    return handler


def _layer(make: Callable[..., nn.Module], *ignored: str) -> Callable[..., Made]:
    """Return a handler for a function whose arguments are those of a layer."""

    def handler(x: Any, *args: Any, **kwargs: Any) -> Made:
        kept = {name: value for name, value in kwargs.items() if name not in ignored}
        return "layers", (make(*args, **kept),)

    return handler


def _constant(layer: Callable[..., nn.Module]) -> Callable[..., Made]:
    """Return a handler for a function whose arguments do not matter."""
    return lambda *args, **kwargs: ("layers", (layer(),))


def _attribute(x: Any, name: str) -> Made:
    if name != "data":
        raise Unsupported(f"its attribute {name!r} cannot be read; use {SUPPORTED}")
    return "layers", (nn.Identity(),)


def _both(name: str, take: Callable[..., Made]) -> dict[str, Callable[..., Made]]:
    """Return a function under its name and that of the form in place."""
    return {name: take, f"{name}_": take}


FUNCTIONS: Registry[str, Callable[..., Made]] = Registry("Function name", things={
    **dict.fromkeys(("add", "add_", "iadd"), _add),
    **dict.fromkeys(("sub", "sub_", "isub", "subtract", "subtract_"), _sub),
    **dict.fromkeys(("mul", "mul_", "imul", "multiply", "multiply_"), _mul),
    **dict.fromkeys(("div", "div_", "truediv", "itruediv", "divide", "true_divide"), _div),
    "neg": lambda x: ("layers", (ScaleShift(-1.0),)),
    "rsub": lambda x, other, *, alpha=1: _sub(other, x, alpha=alpha),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "ravel",
                     "view_as", "reshape_as", "squeeze_", "unsqueeze_"), _constant(Reshape)),
    "getitem": _index,
    "getattr": _attribute,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("contiguous", "clone", "detach", "to", "float", "type_as"),
                    _constant(nn.Identity)),
    "mean": _mean,
    "pad": _pad,
    "max_pool2d": _max_pool,
    "avg_pool2d": _layer(nn.AvgPool2d),
    "adaptive_avg_pool2d": _layer(nn.AdaptiveAvgPool2d),
    "adaptive_max_pool2d": _layer(nn.AdaptiveMaxPool2d),
    **_both("relu", _layer(nn.ReLU, "inplace")),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_"), _clamp),
    **dict.fromkeys(("clamp_min", "clamp_min_"), _clamp),
    **_both("leaky_relu", _layer(nn.LeakyReLU, "inplace")),
    **_both("elu", _layer(nn.ELU, "inplace")),
    **_both("celu", _layer(nn.CELU, "inplace")),
    **_both("selu", _layer(nn.SELU, "inplace")),
    **_both("hardtanh", _layer(nn.Hardtanh, "inplace")),
    **dict.fromkeys(("threshold", "threshold_", "_threshold"), _layer(nn.Threshold, "inplace")),
    "prelu": _prelu,
    "gelu": _layer(nn.GELU),
    "mish": _layer(nn.Mish, "inplace"),
    "softplus": _layer(nn.Softplus),
    "softsign": _layer(nn.Softsign),
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), _layer(nn.LogSigmoid)),
    "relu6": _layer(nn.ReLU6, "inplace"),
    "silu": _layer(nn.SiLU, "inplace"),
    "hardswish": _layer(nn.Hardswish, "inplace"),
    "hardsigmoid": _layer(nn.Hardsigmoid, "inplace"),
    **_both("sigmoid", _layer(nn.Sigmoid)),
    **_both("tanh", _layer(nn.Tanh)),
    "softmax": _softmax(nn.Softmax),
    "log_softmax": _softmax(nn.LogSoftmax),
})  # fmt: skip
"""Functions and methods by name: each takes the call's arguments and returns the kind of the call,
``layers`` or one of `pyhw.quantizer.layers.JOINS`, and the layers of the first."""

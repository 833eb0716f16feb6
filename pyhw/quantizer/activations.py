"""Activation functions that become tables: any function of one 8-bit value."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pyhw.hdl.formats import Format

__all__ = ["FUNCTIONS", "activation_name", "apply_activation", "ends_signed", "make_table"]

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
}
"""Every activation by name; all but the ReLU become tables."""

_MODULES = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SiLU: "silu", nn.Hardswish: "hardswish",
    nn.Sigmoid: "sigmoid", nn.Hardsigmoid: "hardsigmoid", nn.Tanh: "tanh",
}  # fmt: skip


def activation_name(layer: nn.Module) -> str | None:
    """Return the name of a module's function; None if it is not one of them."""
    if type(layer) is nn.GELU:
        return "gelu_tanh" if layer.approximate == "tanh" else "gelu"
    return _MODULES.get(type(layer))


def apply_activation(name: str | None, values: np.ndarray) -> np.ndarray:
    """Return the function of float64 values of any shape."""
    if name is None:
        return values
    if name == "relu":
        return np.maximum(values, 0)
    return FUNCTIONS[name](torch.tensor(values)).numpy()


def ends_signed(name: str | None) -> bool:
    """Return whether results of an activation can be negative."""
    return name is None or bool((apply_activation(name, np.linspace(-8, 8, 257)) < 0).any())


def make_table(name: str, read: Format, scale: float, fmt: Format, step: float) -> np.ndarray:
    """Return the 256 bytes of a function.

    Parameters
    ----------
    name : str
        A key of `FUNCTIONS`.
    read, scale : Format, float
        What the table is looked up with, and what one step of it stands for.
    fmt, step : Format, float
        The same of its entries.

    Returns
    -------
    int64 array (256,)
        By the low 8 bits of the value.
    """
    values = np.arange(read.min, read.max + 1)
    table = np.zeros(256, np.int64)
    found = apply_activation(name, values * scale)
    table[values & 0xFF] = fmt.clamp(np.rint(found / step)).astype(np.int64)
    return table

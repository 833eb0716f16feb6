"""Activation functions that become tables: any function of one 8-bit value."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pyhw.hdl.formats import Format

from .functions import Unsupported

__all__ = ["RELU", "TABLES", "Activation", "activation_of", "apply_activation", "ends_signed",
           "make_table"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Activation:
    """A function of single values: its name, and itself on float64 tensors of any shape."""

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]


RELU = Activation("relu", torch.relu)
"""The one that is no table: the lower end of an unsigned format clamps."""

TABLES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid,
    nn.SiLU, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
"""Layers that become tables."""


def activation_of(layer: nn.Module) -> Activation | None:
    """Return the function that a layer applies to every value; None of another layer.

    Raises
    ------
    Unsupported
        If it is another one in every channel.
    """
    if type(layer) is nn.ReLU:
        return RELU
    if type(layer) not in TABLES:
        return None
    if isinstance(layer, nn.PReLU) and layer.num_parameters != 1:
        raise Unsupported(
            f"it has {layer.num_parameters} slopes and a table is one function for all channels; "
            "use PReLU with one slope, or LeakyReLU"
        )
    function = copy.deepcopy(layer).cpu().double().eval()
    return Activation(type(layer).__name__.lower(), function)


def apply_activation(activation: Activation | None, values: np.ndarray) -> np.ndarray:
    """Return the function of float64 values of any shape."""
    if activation is None:
        return values
    if activation is RELU:
        return np.maximum(values, 0)
    with torch.no_grad():
        return activation.function(torch.tensor(values)).numpy()


def ends_signed(activation: Activation | None) -> bool:
    """Return whether results of an activation can be negative."""
    if activation is None:
        return True
    return bool((apply_activation(activation, np.linspace(-8, 8, 257)) < 0).any())


def make_table(
    activation: Activation, read: Format, scale: float, fmt: Format, step: float
) -> np.ndarray:
    """Return the 256 bytes of a function.

    Parameters
    ----------
    activation : Activation
        The function.
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
    found = apply_activation(activation, values * scale)
    table[values & 0xFF] = fmt.clamp(np.rint(found / step)).astype(np.int64)
    return table

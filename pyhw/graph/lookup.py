"""Reciprocals and reciprocal roots of positive integers by table (``docs/transformers.md``)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.tokens import INDEX

if TYPE_CHECKING:
    from torch import Tensor

    from .onnx_export import OnnxBuilder

__all__ = ["looked_up", "onnx_looked_up", "torch_looked_up"]


def looked_up(
    value: np.ndarray, table: tuple[int, ...], even: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the multipliers of positive numbers and the exponents that were taken off them."""
    # A double holds every number below 2**53, so its exponent is the place of the leading one.
    exponent = np.frexp(value.astype(np.float64))[1].astype(np.int64) - 1
    if even:
        exponent &= ~np.int64(1)
    index = np.ldexp(value.astype(np.float64), INDEX - 1 - even - exponent).astype(np.int64)
    return np.array(table)[index], exponent


def torch_looked_up(
    value: "Tensor", buffers: "Mapping[str, Tensor]", even: bool
) -> "tuple[Tensor, Tensor]":
    """Return as `looked_up` does, by searching a list of powers of two."""
    import torch

    exponent = torch.searchsorted(buffers["powers"], value.contiguous(), right=True) - 1
    if even:
        exponent = exponent - exponent % 2
    power = buffers["powers"][exponent]
    places = 1 << (INDEX - 1 - even)
    # (value << places) >> exponent without leaving 63 bits
    whole = torch.div(value, power, rounding_mode="floor")
    rest = torch.div((value - whole * power) * places, power, rounding_mode="floor")
    return buffers["table"][whole * places + rest], exponent


def onnx_looked_up(
    builder: "OnnxBuilder", value: str, floor: int, table: tuple[int, ...], even: bool
) -> tuple[str, str]:
    """Return as `looked_up` does, for values (N, P, heads, 1) of at least `floor`.

    Leading ones are found by counting the powers of two that a value reaches.
    """
    real = builder.cast(value, "DOUBLE")
    real = builder.node("Max", [real, builder.constant(floor, float)])
    powers = builder.constant(2.0 ** np.arange(2 if even else 1, 53, 2 if even else 1), float)
    reached = builder.cast(builder.node("GreaterOrEqual", [real, powers]), "INT64")
    exponent = builder.node("ReduceSum", [reached, builder.constant([3])])
    if even:
        exponent = builder.node("Mul", [exponent, builder.constant(2)])
    scales = builder.constant(2.0 ** (INDEX - 1 - even - np.arange(53.0)), float)
    scale = builder.node("Gather", [scales, exponent], axis=0)
    index = builder.cast(builder.node("Floor", [builder.node("Mul", [real, scale])]), "INT64")
    return builder.node("Gather", [builder.constant(table), index], axis=0), exponent

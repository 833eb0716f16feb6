"""From a stage to the graph's operation, all but its post-processing."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyhw.graph.ops import Conv, Operation, Pointwise, Pool
from pyhw.graph.post import Post
from pyhw.graph.verify import NAME
from pyhw.hdl.formats import Format

from .affine import snap
from .settings import Settings
from .stage import Stage
from .weights import (
    CODE_WIDTH,
    adder_weights,
    codes_of,
    digit_grid,
    digits_of,
    fit_scales,
    masked_codes,
    round_to,
)

__all__ = ["Draft", "Value", "draft", "operation_name", "round_weights"]


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the graph in calibration.

    Attributes
    ----------
    name : str
    fmt : Format
    scale : float
        What one step stands for.
    x : int64 array (N, H, W, C)
    """

    name: str
    fmt: Format
    scale: float
    x: np.ndarray


@dataclass(frozen=True, eq=False)
class Draft:
    """An operation that lacks its post-processing.

    Attributes
    ----------
    build : callable
        Makes the operation of its post-processing.
    slope : float64 array (O,)
        What one unit of the accumulator stands for.
    digits : int
        Digits of every weight; 0 without ordinary weights.
    """

    build: Callable[[Post], Operation]
    slope: np.ndarray
    digits: int = 0


def draft(
    stage: Stage, name: str, read: Value, scale: float, bits: int, settings: Settings
) -> Draft:
    """Quantise a stage's weights and return its operation without the post-processing.

    Parameters
    ----------
    stage : Stage
        Layer to quantise.
    name : str
        Of the operation.
    read : Value
        What it reads.
    scale : float
        Step of the result of its first step.
    bits : int
        Of its weights.
    settings : Settings
        Of the whole quantisation.
    """
    common: dict[str, Any] = {"name": name, "input": read.name}
    if stage.kind == "point":
        slope = np.full(stage.channels, read.scale)
        return Draft(lambda post: Pointwise(**common, post=post), slope)
    common |= {"stride": stage.stride, "padding": stage.padding}
    if stage.weight is None:
        common |= {"kind": stage.kind, "kernel": stage.kernel}
        taps = stage.kernel[0] * stage.kernel[1] if stage.kind == "sum" else 1
        slope = np.full(stage.channels, read.scale / taps)
        return Draft(lambda post: Pool(**common, post=post), slope)
    common |= {"dilation": stage.dilation, "groups": stage.groups}
    if stage.kind == "adder":
        adder = adder_weights(stage.weight, read.scale, read.fmt, bits)
        common |= {"term": "l1", "weight": adder.weight, "ex": adder.ex, "ew": adder.ew}
        slope = np.full(stage.channels, adder.step)
        return Draft(lambda post: Conv(**common, post=post), slope)
    if stage.codes is not None:
        sign, exponent = stage.codes
        masked = None
        if stage.prototype is not None:
            masked = masked_codes(sign, exponent, stage.prototype)
        if masked is not None:
            exponent, unit, width, common["prototype"] = masked
        else:
            exponent, unit, width = codes_of(sign, exponent)
        slope = unit * read.scale
    else:
        weight, slope = _ordinary(stage, read, scale, bits, settings)
        sign, exponent = digits_of(weight)
        width = CODE_WIDTH
    common |= {"term": "shift", "sign": sign, "exponent": exponent, "code_width": width}
    if stage.pad is not None and any(stage.padding):
        common["pad_value"] = read.fmt.clamp(np.rint(stage.pad / read.scale)).astype(np.int64)
    return Draft(lambda post: Conv(**common, post=post), slope, len(sign))


def round_weights(stage: Stage, read: Value, bits: int, digits: int) -> Stage:
    """Return a stage whose real weights are rounded as `draft` will round them.

    A network trained with rounded weights has batch norms that fit those: they are what its
    integers are compared with. What clipping takes goes into the bias.
    """
    if stage.weight is None or stage.codes is not None:
        return stage
    if stage.kind == "adder":
        adder = adder_weights(stage.weight, read.scale, read.fmt, bits)
        weight = (adder.weight << adder.ew) * adder.step
        bias = adder.constant * adder.step
        return replace(stage, weight=weight, bias=bias + (0 if stage.bias is None else stage.bias))
    grid = digit_grid(bits, digits)
    steps = fit_scales(stage.weight, grid)[:, None, None, None]
    return replace(stage, weight=round_to(stage.weight / steps, grid) * steps)


def _ordinary(
    stage: Stage, read: Value, scale: float, bits: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Return integer weights and their slope, scaled so that the multiplier m is exact."""
    assert stage.weight is not None
    grid, allowed = digit_grid(bits, settings.digits), settings.multipliers
    steps = fit_scales(stage.weight, grid)
    wanted = stage.first.gain(stage.channels) * steps * read.scale / scale
    steps = steps * np.array([snap(v, allowed) / v if v else 1.0 for v in wanted.tolist()])
    weight = round_to(stage.weight / steps[:, None, None, None], grid)
    return weight, steps * read.scale


def operation_name(path: str, number: int) -> str:
    """Return a name that graphs allow: the layer's path where it is one."""
    if path != "input" and NAME.fullmatch(path):
        return path
    return f"layer{number}.{re.sub('[^A-Za-z0-9_.-]', '_', path)}"[:64]

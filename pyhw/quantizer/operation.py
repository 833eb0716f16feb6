"""From a stage to the graph's operation, all but its post-processing."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyhw.graph.ops import Conv, Operation, Pointwise, Pool
from pyhw.graph.post import Post
from pyhw.graph.verify import NAME
from pyhw.hdl.formats import Format

from .forms import Quantised, form_of
from .settings import Settings
from .stage import Stage

__all__ = ["Draft", "Value", "Weights", "draft", "operation_name", "round_weights"]


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


class Weights:
    """Weights as integers, made once: a layer that is used again has the same.

    So a graph's file and the accelerator's memory hold the weights of a recursion once. The first
    use chooses their steps, for its multipliers to be exact; those of the others are near.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], tuple[Quantised, float]] = {}

    def quantise(
        self, stage: Stage, read: Value, scale: float, bits: int, settings: Settings
    ) -> Quantised:
        """Return a stage's integer weights; arguments are those of `draft`."""
        form = form_of(stage)
        if not form.linear:
            return form.quantise(stage, read.scale, read.fmt, scale, bits, settings)
        assert stage.weight is not None
        content = hashlib.sha256(np.ascontiguousarray(stage.weight).tobytes()).digest()
        key = (content, stage.weight.shape, bits, read.fmt)
        if key not in self._made:
            made = form.quantise(stage, read.scale, read.fmt, scale, bits, settings)
            self._made[key] = made, read.scale
        made, known = self._made[key]
        return replace(made, slope=made.slope * (read.scale / known))


def draft(
    stage: Stage, name: str, read: Value, scale: float, bits: int, settings: Settings,
    weights: Weights,
) -> Draft:  # fmt: skip
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
    weights : Weights
        Made so far.
    """
    common: dict[str, Any] = {"name": name, "input": read.name}
    if stage.kind == "point":
        slope = np.full(stage.channels, read.scale)
        return Draft(lambda post: Pointwise(**common, post=post), slope)
    common |= {"stride": stage.stride, "padding": stage.padding}
    if stage.weight is None:
        common |= {"kind": stage.kind, "kernel": stage.kernel}
        slope = np.full(stage.channels, read.scale / stage.divides_by)
        return Draft(lambda post: Pool(**common, post=post), slope)
    common |= {"dilation": stage.dilation, "groups": stage.groups}
    made = weights.quantise(stage, read, scale, bits, settings)
    common |= made.fields
    if stage.pad is not None and any(stage.padding):
        common["pad_value"] = read.fmt.clamp(np.rint(stage.pad / read.scale)).astype(np.int64)
    return Draft(lambda post: Conv(**common, post=post), made.slope, made.digits)


def round_weights(stage: Stage, read: Value, bits: int, digits: int) -> Stage:
    """Return a stage whose real weights are rounded as `draft` will round them.

    A network trained with rounded weights has batch norms that fit those: they are what its
    integers are compared with. What clipping takes goes into the bias.
    """
    if stage.weight is None:
        return stage
    return form_of(stage).rounded(stage, read.scale, read.fmt, bits, digits)


def operation_name(path: str, number: int) -> str:
    """Return a name that graphs allow: the layer's path where it is one."""
    if path != "input" and NAME.fullmatch(path):
        return path
    return f"layer{number}.{re.sub('[^A-Za-z0-9_.-]', '_', path)}"[:64]

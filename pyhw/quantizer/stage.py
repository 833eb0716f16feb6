"""A stage: one layer that computes, with all that follows it up to the next stored value.

Stages are what the quantiser works on. They hold plain arrays, channels last, and nothing of
torch; a network is a list of them in which each reads only earlier ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .activations import Activation

__all__ = ["IMAGES", "Affine", "Norm", "Residual", "Stage"]

Pair = tuple[int, int]

IMAGES = ""
"""The path that stands for the network's input."""


@dataclass(frozen=True, eq=False)
class Norm:
    """``scale * (y - mean) + shift`` per channel, three float64 arrays (O,).

    Of a batch norm: gamma / sqrt(variance + eps), running mean, beta.
    """

    scale: np.ndarray
    mean: np.ndarray
    shift: np.ndarray

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """Apply it to y, float64 (..., O)."""
        return self.scale * (y - self.mean) + self.shift

    def then(self, other: "Norm") -> "Norm":
        """Return the norm that does this one first."""
        shift = other.scale * (self.shift - other.mean) + other.shift
        return Norm(other.scale * self.scale, self.mean, shift)


@dataclass(frozen=True, eq=False)
class Residual:
    """A stored value that is added, times `gain` per channel (O,) where it is not None."""

    path: str
    gain: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Affine:
    """``norm(y) + gain * residual``, either part optional: one step of the hardware."""

    norm: Norm | None = None
    residual: Residual | None = None

    @property
    def empty(self) -> bool:
        """Whether it changes nothing."""
        return self.norm is None and self.residual is None

    def gain(self, channels: int) -> np.ndarray:
        """Return what y is multiplied by, (O,)."""
        return np.ones(channels) if self.norm is None else self.norm.scale

    def residual_gain(self, channels: int) -> np.ndarray:
        """Return what the residual is multiplied by, (O,)."""
        known = self.residual is not None and self.residual.gain is not None
        return self.residual.gain if known else np.ones(channels)  # type: ignore

    def __call__(self, y: np.ndarray, added: np.ndarray | None = None) -> np.ndarray:
        """Apply it to y, float64 (..., O), and to the residual's values of the same shape."""
        if self.norm is not None:
            y = self.norm(y)
        if added is not None:
            y = y + self.residual_gain(y.shape[-1]) * added
        return y

    def then(self, norm: Norm) -> "Affine":
        """Return this step with a batch norm after it."""
        residual = self.residual
        if residual is not None:
            gain = norm.scale if residual.gain is None else norm.scale * residual.gain
            residual = replace(residual, gain=gain)
        return Affine(norm if self.norm is None else self.norm.then(norm), residual)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """``z = relu2?(second(activation(first(y))))`` of ``y``, what the layer computes.

    Attributes
    ----------
    path : str
        Of the layer in the model, as ``named_modules`` spells it; names the stage.
    kind : str
        Of a convolution (a linear layer covers its map) the form of its weights
        (`pyhw.quantizer.forms`): 'conv' ordinary, 'adder', 'coded', or that of an extension;
        else 'max' or 'sum' (an average) of pooling, 'point' the input itself, 'concat' the
        channels of all inputs, or a kind of `pyhw.quantizer.tokens`.
    channels : int
        Outputs.
    sources : tuple of str
        Paths of the stages read, or `IMAGES`; one but for 'concat'.
    weight : float64 array (O, KH, KW, C / groups) or None
        Of convolutions.
    codes : (int8 array, int8 array) or None
        Of 'coded', signs and exponents (terms, O, KH, KW, C / groups) of weights that are sums
        of signed powers of two.
    prototype : (int8 array, int8 array) or None
        Of a masked layer, signs and exponents (d,): weight i in PyTorch's order is entry
        ``i % d`` or 0.
    bias : float64 array (O,) or None
        The layer's own; part of y.
    kernel, stride, dilation : (int, int)
        Vertical, horizontal.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    pad : float64 array (C,) or None
        What padded taps read; 0 if None.
    groups : int
        Of convolutions.
    divisor : int or None
        Of a 'sum' what it is divided by; the taps of a window if None.
    whole : bool
        Of a 'sum' whether it makes one position of the whole map.
    first : Affine
        Batch norm and a residual before the activation.
    activation : Activation or None
        A function of single values (`pyhw.quantizer.activations`).
    second : Affine or None
        Batch norm and a residual after the activation.
    relu2 : bool
        Whether a ReLU follows the second step.
    options : mapping
        What a kind of `pyhw.quantizer.tokens` has beside: heads, slices, eps.
    """

    path: str
    kind: str
    channels: int
    sources: tuple[str, ...] = (IMAGES,)
    weight: np.ndarray | None = None
    codes: tuple[np.ndarray, np.ndarray] | None = None
    prototype: tuple[np.ndarray, np.ndarray] | None = None
    bias: np.ndarray | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad: np.ndarray | None = None
    groups: int = 1
    divisor: int | None = None
    whole: bool = False
    first: Affine = Affine()
    activation: "Activation | None" = None
    second: Affine | None = None
    relu2: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Path of the stage that it reads."""
        return self.sources[0]

    @property
    def residuals(self) -> tuple[str, ...]:
        """Paths of the stages whose values are added, first step first."""
        steps = (self.first, self.second or Affine())
        return tuple(step.residual.path for step in steps if step.residual is not None)

    @property
    def reads(self) -> tuple[str, ...]:
        """Paths of all stages whose values it reads."""
        return (*self.sources, *self.residuals)

    @property
    def divides_by(self) -> int:
        """What sums are divided by: of an average by its taps, of others by 1."""
        if self.kind != "sum":
            return 1
        return self.divisor or self.kernel[0] * self.kernel[1]

    @property
    def bare_pool(self) -> bool:
        """Whether it only pools, so that its result can keep the input's step.

        Not an average of the whole map, which varies far less than the values do, nor one with a
        divisor of its own, which may be larger than they are: they get steps of their own.
        """
        bare = self.first.empty and self.activation is None and self.second is None
        kept = self.kind == "max" or (self.kind == "sum" and self.divisor is None)
        return bare and kept and not self.whole

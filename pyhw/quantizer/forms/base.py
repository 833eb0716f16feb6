"""The contract of a form of weights: how real weights become those of a `Conv`.

A new form is one module: a class given to `weight_form`; layers name it in
`pyhw.nn.kinds.LayerClass.form`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.hdl.registry import Registry

from ..settings import Settings
from ..stage import Stage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pyhw.nn.kinds import LayerClass

    from ..fake import FakeValue

__all__ = ["FORMS", "Codes", "Quantised", "ReadWeights", "WeightForm", "form_of", "weight_form"]

Codes = tuple[np.ndarray, np.ndarray]
"""Signs and exponents, int8 arrays of one shape."""


@dataclass(frozen=True, kw_only=True)
class ReadWeights:
    """What a layer holds, arrays in PyTorch's order.

    Attributes
    ----------
    weight : float64 array (O, C / groups, KH, KW), or (O, I) of a linear layer
    codes : (int8 array, int8 array), optional
        Signs and exponents (terms, *weight shape) of weights that are sums of powers of two.
    prototype : (int8 array, int8 array), optional
        Of a masked layer, signs and exponents (d,).
    """

    weight: np.ndarray
    codes: Codes | None = None
    prototype: Codes | None = None


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A convolution's weights as integers.

    Attributes
    ----------
    fields : dict
        Of `pyhw.graph.ops.Conv`: the term and its weights.
    slope : float64 array (O,)
        What one unit of the accumulator stands for.
    digits : int
        Digits of every weight; 0 where weights have none.
    """

    fields: dict[str, Any]
    slope: np.ndarray
    digits: int = 0


class WeightForm(ABC):
    """How weights of one form are read, rounded and computed with; one object serves all layers."""

    name: str
    wide_at_edges = False
    """Whether the first and the last layer get more bits."""
    linear = False
    """Whether the layer is linear in what it reads, so that a scale can go into its weights."""
    compares = False
    """Whether weights lie on the grid of what the layer reads, whose range must then cover them."""

    def read(self, layer: Any, known: "LayerClass") -> ReadWeights:
        """Return the weights of a layer.

        Raises
        ------
        Unsupported
            If they are not what the form says.
        """
        weight = known.weight(layer).detach().cpu().double().numpy()
        return ReadWeights(weight=weight)

    @abstractmethod
    def convolve(self, stage: Stage, x: "Tensor", weight: "Tensor") -> "Tensor":
        """Return what the layer computes, in float64, of a padded map (N, C, H, W)."""

    @abstractmethod
    def quantise(
        self, stage: Stage, scale: float, fmt: Format, wanted: float, bits: int, settings: Settings
    ) -> Quantised:
        """Return integer weights.

        Parameters
        ----------
        stage : Stage
            With weights, channels last.
        scale, fmt : float, Format
            Step and format of what it reads.
        wanted : float
            Step of the result of its first step.
        bits : int
            Of its weights.
        settings : Settings
            Of the whole quantisation.
        """

    @abstractmethod
    def rounded(self, stage: Stage, scale: float, fmt: Format, bits: int, digits: int) -> Stage:
        """Return the stage with real weights that are what `quantise` makes of them."""

    @abstractmethod
    def fake(
        self, stage: Stage, bits: int, settings: Settings, read: "FakeValue"
    ) -> "nn.Module | None":
        """Return a module that runs the layer with rounded weights (`pyhw.quantizer.fake`).

        None if its weights are what the accelerator's are. `read` rounds what it reads.
        """


FORMS: Registry[str, WeightForm] = Registry("Weight form")
"""Forms by name."""


def weight_form(cls: type[WeightForm]) -> type[WeightForm]:
    """Register the class of a form under its name.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    FORMS.add(cls.name, cls())
    return cls


def form_of(stage: Stage) -> WeightForm:
    """Return the form of a stage with weights."""
    return FORMS[stage.kind]

"""What became of each layer, and how much the integers lose."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from .operation import Value
from .reference import Real
from .stage import Stage

__all__ = ["LOSS", "LayerReport", "QuantisationWarning", "error_chart", "lost", "report_of",
           "unsaid"]  # fmt: skip

LOSS = 0.5
"""Share of the results' spread that integers may lose on the calibration images without a word."""


PER_MARK = 1.5
"""Decibels of one mark of a chart."""
WIDEST = 40
"""Most marks of a line."""


class QuantisationWarning(UserWarning):
    """Says what is probably not meant."""


@contextmanager
def unsaid() -> Iterator[None]:
    """Keep such warnings back, where the notes of what is made are shown or do not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantisationWarning)
        yield


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What became of one layer.

    Attributes
    ----------
    name, kind : str
        Operation; the form of its weights (``adder``, ``conv``, ``coded``), or ``max``, ``sum``,
        ``point`` or ``concat``.
    shape : (int, int, int)
        Height, width and channels of its result.
    fmt : str
        Format of its result.
    scale : float
        What one step of the result stands for.
    weight_bits : int or None
        Of a layer with weights.
    digits : int
        Digits of every weight of a 'conv'; 0 for others.
    saturated : float
        Share of the calibration's results beyond the format (below 0 after a ReLU not counted).
    error : float
        Root mean square of the result's error in calibration, over that of the real result.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    fmt: str
    scale: float
    weight_bits: int | None
    digits: int
    saturated: float
    error: float

    @property
    def decibels(self) -> float:
        """Signal over error in calibration, decibels; infinite where every value is exact."""
        return -20 * math.log10(self.error) if self.error > 0 else math.inf


def error_chart(layers: Sequence[LayerReport]) -> str:
    """Draw the signal over the error of every layer's value, lines of plain text.

    A layer that loses more than those before it has the shorter bar. A signal of 0 dB is as large
    as its error; each bit of a value that is rounded alone adds 6 dB.

    Parameters
    ----------
    layers : sequence of LayerReport
        In the network's order.
    """
    name = max(len("layer"), *(len(layer.name) for layer in layers))
    kind = max(len("kind"), *(len(layer.kind) for layer in layers))
    lines = [f"{'layer':<{name}}  {'kind':<{kind}}  format  signal over error, dB"]
    for layer in layers:
        value = layer.decibels
        drawn = min(max(round(value / PER_MARK), 0), WIDEST) if math.isfinite(value) else WIDEST
        shown = f"{value:5.1f}" if math.isfinite(value) else "exact"
        lines.append(f"{layer.name:<{name}}  {layer.kind:<{kind}}  {layer.fmt:<6}  {shown}  "
                     f"{'#' * drawn}".rstrip())  # fmt: skip
    return "\n".join(lines) + "\n"


def report_of(
    stage: Stage, value: Value, real: Real, bits: int | None, digits: int, saturated: float
) -> LayerReport:
    """Return the report of a stage's value; the numbers are as `LayerReport` says."""
    size = float(np.sqrt(np.mean(real.z**2))) or 1.0
    return LayerReport(
        name=value.name,
        kind=stage.kind,
        shape=(value.x.shape[1], value.x.shape[2], value.x.shape[3]),
        fmt=str(value.fmt),
        scale=value.scale,
        weight_bits=bits,
        digits=digits,
        saturated=saturated,
        error=float(np.sqrt(np.mean((value.x * value.scale - real.z) ** 2))) / size,
    )


def lost(value: Value, real: Real) -> float:
    """Return the error of the integers over the spread of the real values, within channels."""
    error = float(np.sqrt(np.mean((value.x * value.scale - real.z) ** 2)))
    spread = float((real.z - real.z.mean(axis=(0, 1, 2))).std())
    return error / spread if spread > 0 else 0.0

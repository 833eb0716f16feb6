"""Steps of activations: how much of the range is worth its rounding error."""

from collections.abc import Callable

import numpy as np

from pyhw.hdl.formats import Format

__all__ = ["activation_scale", "output_scale"]

FRACTIONS = np.concatenate([np.geomspace(0.05, 0.6, 24, endpoint=False), np.linspace(0.6, 1, 41)])
"""Ranges tried, as fractions of the largest magnitude seen."""
SAMPLES = 1 << 17
"""Values that a search looks at."""
HEADROOM = 2.0
"""Factor that outputs may grow beyond what calibration showed."""
FINEST = 1 << 10
"""Most steps of an output per unit of its accumulator."""


def activation_scale(
    values: np.ndarray,
    fmt: Format,
    weight: np.ndarray | None = None,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    """Return the step with the least mean squared error of clamping and rounding.

    Parameters
    ----------
    values : float array
        Activations seen in calibration, of any shape.
    fmt : Format
        They are to be stored in.
    weight : float array, optional
        Weights of the adder layer that reads them: they share the step. Only their rounding
        counts, since clipping them is exact.
    function : callable, optional
        What is computed of the stored value; the error is that of its results.

    Returns
    -------
    float
        1 / fmt.max if all values are 0.
    """
    flat = np.sort(values.reshape(-1))  # the sample does not depend on the order of the images
    stride = max(1, len(flat) // SAMPLES)
    flat = np.concatenate([flat[::stride], flat[-1:]])
    largest = float(np.abs(flat).max())
    if largest == 0:
        return 1 / fmt.max
    errors = []
    for fraction in FRACTIONS:
        scale = fraction * largest / fmt.max
        error = _squared(flat, scale, fmt, function)
        if weight is not None:
            inside = weight.reshape(-1).clip(fmt.min * scale, fmt.max * scale)
            error += _squared(inside, scale, fmt)
        errors.append(error)
    return float(FRACTIONS[int(np.argmin(errors))] * largest / fmt.max)


def _squared(
    values: np.ndarray,
    scale: float,
    fmt: Format,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    stored = fmt.clamp(np.rint(values / scale)) * scale
    if function is not None:
        stored, values = function(stored), function(values)
    return float(np.mean((stored - values) ** 2))


def output_scale(values: np.ndarray, fmt: Format, unit: float, exponent: int) -> float:
    """Return the step of the outputs: a power of two with room above the largest seen.

    Parameters
    ----------
    values : float array
        Outputs seen in calibration.
    fmt : Format
        They are to be stored in.
    unit : float
        Largest change of an output by one unit of its accumulator; a step much finer than that
        would only need larger multipliers.
    exponent : int
        Largest exponent of a multiplier's term.
    """
    largest = float(np.abs(values).max()) * HEADROOM or 1.0
    return float(2.0 ** np.ceil(np.log2(max(largest / fmt.max, unit / min(FINEST, 1 << exponent)))))

"""Integer weights: the exact clip of adder layers, digits of ordinary ones."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.hdl.signed_digits import signed_digits

__all__ = ["AdderWeights", "adder_weights", "clip_weights", "digit_grid", "digits_of",
           "fit_scales", "round_to"]  # fmt: skip

CODE_WIDTH, LARGEST = 4, 6
"""Bits of a stored digit, and its largest exponent."""
CANDIDATES = np.geomspace(0.5, 2, 97)
"""Weight scales tried, as multiples of the one that just reaches the largest weight."""


def clip_weights(weight: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip adder weights to the range of the inputs, and say what that costs: exactly nothing.

    For every x in [low, high], ``|x - w| = |x - clip(w)| + |w - clip(w)|``.

    Parameters
    ----------
    weight : array (O, ...)
        In steps of the input.
    low, high : int
        Range of the input.

    Returns
    -------
    clipped : array (O, ...)
    constant : array (O,)
        ``-sum |w - clip(w)|``, to be added to the layer's sums over the clipped weights.

    Source
    ------
    Zhang et al., "Redistribution of Weights and Activations for AdderNet Quantization",
    NeurIPS 2022 (the upper end); the lower end and signed inputs follow in the same way.
    """
    clipped = weight.clip(low, high)
    return clipped, -np.abs(weight - clipped).sum(axis=tuple(range(1, weight.ndim)))


@dataclass(frozen=True, eq=False)
class AdderWeights:
    """Integer weights of an adder layer: ``y = step * (-sum |(x << ex) - (w << ew)| + constant)``.

    `weight` is int64 (O, KH, KW, C), `constant` float64 (O,).
    """

    weight: np.ndarray
    ex: int
    ew: int
    step: float
    constant: np.ndarray


def adder_weights(weight: np.ndarray, scale: float, fmt: Format, bits: int) -> AdderWeights:
    """Put adder weights on the grid of the input, finer or coarser by a power of two.

    Parameters
    ----------
    weight : float64 array (O, KH, KW, C)
        As trained.
    scale : float
        Step of the input.
    fmt : Format
        Of the input.
    bits : int
        Of the weights: the same range as the input, in 2**bits steps.
    """
    ex, ew = max(bits - fmt.width, 0), max(fmt.width - bits, 0)
    step = scale / (1 << ex)
    low, high = fmt.min << ex, fmt.max << ex
    clipped, constant = clip_weights(weight / step, low, high)
    rounded = np.rint(clipped / (1 << ew)).astype(np.int64)
    return AdderWeights(rounded.clip(-(-low >> ew), high >> ew), ex, ew, step, constant)


@cache
def digit_grid(bits: int, digits: int) -> np.ndarray:
    """Return the integers of at most `bits` bits (symmetric) and `digits` digits, ascending."""
    top = (1 << (bits - 1)) - 1
    return np.array([v for v in range(-top, top + 1) if len(signed_digits(v, LARGEST)) <= digits])


def round_to(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the nearest entry of an ascending grid for every value, the lower one of a tie."""
    edges = (grid[:-1] + grid[1:]) / 2
    return grid[np.searchsorted(edges, values)]


def fit_scales(weight: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the scale per output channel that loses least when weights are put on a grid.

    Parameters
    ----------
    weight : float64 array (O, ...)
        As trained.
    grid : int array
        As `digit_grid` gives it.

    Returns
    -------
    float64 array (O,)
        Least squared error of ``scale * round_to(weight / scale)``; 1 where all weights are 0.
    """
    flat = weight.reshape(len(weight), -1)
    reach = np.abs(flat).max(axis=1) / grid[-1]
    empty = reach == 0
    reach[empty] = 1
    best, scales = np.where(empty, 0, np.inf), reach.copy()
    for factor in CANDIDATES:
        scale = (reach * factor)[:, None]
        error = ((round_to(flat / scale, grid) * scale - flat) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better] = error[better], scale[better, 0]
    return scales


def digits_of(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write integer weights with the fewest digits that are exact for all of them.

    Parameters
    ----------
    weight : int array (O, KH, KW, C)
        Integers.

    Returns
    -------
    sign, exponent : int8 array (K, O, KH, KW, C)
    """
    forms = {int(v): signed_digits(int(v), LARGEST) for v in np.unique(weight)}
    count = max(1, *(len(form) for form in forms.values()))
    sign = np.zeros((count, *weight.shape), np.int8)
    exponent = np.zeros((count, *weight.shape), np.int8)
    for value, form in forms.items():
        for k, (s, e) in enumerate(form):
            sign[k][weight == value], exponent[k][weight == value] = s, e
    return sign, exponent

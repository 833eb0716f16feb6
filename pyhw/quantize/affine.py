"""The affine step of a stage: batch norm, scales and constants as m, B and S per channel."""

import math

import numpy as np

from hdl.formats import (
    BIAS_WIDTH,
    MAX_EXPONENT,
    MAX_SHIFT,
    TERMS,
    Format,
    nearest_terms,
    terms_value,
)
from pyhw.errors import UserError
from pyhw.graph.post import Step

__all__ = ["affine_step", "identity_step", "multiplier", "snap"]

Terms = tuple[tuple[int, int], ...]

LARGEST = TERMS << MAX_EXPONENT
"""Greatest multiplier that the terms can write."""
GAIN = 1e-3
"""A larger shift is taken only if it lowers the error by more than this, in output steps."""


def multiplier(
    slope: float, anchor_acc: float, anchor_out: float, deviation: float
) -> tuple[Terms, int, int] | None:
    """Choose m, B and S of one channel: ``(m * acc + B) >> S`` near the real line.

    B is computed from the m that was chosen, so that the line goes through the anchor, and an
    error of m acts only on the deviation from it.

    Parameters
    ----------
    slope : float
        Output steps per accumulator step.
    anchor_acc, anchor_out : float
        A point of the line: an accumulator, near the mean, and the real output it stands for.
    deviation : float
        Typical distance of accumulators from the anchor; weighs the error of m.

    Returns
    -------
    terms, bias, shift
        Or None where m or B is too large without any shift.
    """
    best, least = None, np.inf
    limit = (1 << (BIAS_WIDTH - 1)) - 1
    for shift in range(MAX_SHIFT + 1):
        unit = 1 << shift
        if abs(slope) * unit > LARGEST:
            break
        terms = nearest_terms(slope * unit)
        m = terms_value(terms)
        exact = anchor_out * unit - m * anchor_acc
        bias = round(exact)
        if abs(bias) > limit:
            continue
        error = (abs(m - slope * unit) * deviation + abs(bias - exact)) / unit
        if error < least - GAIN:
            best, least = (terms, bias, shift), error
    return best


def snap(slope: float) -> float:
    """Return the nearest number that a multiplier and a shift can write."""
    _, exponent = math.frexp(slope)
    unit = 2.0 ** (MAX_EXPONENT - 1 - exponent)
    return terms_value(nearest_terms(slope * unit)) / unit


def affine_step(
    slope: np.ndarray,
    anchor_acc: np.ndarray,
    anchor_out: np.ndarray,
    deviation: np.ndarray,
    fmt: Format,
    path: str,
) -> Step:
    """Return the step of a stage, each argument as in `multiplier` per channel.

    Raises
    ------
    UserError
        If a channel's scale or constant cannot be written; the text names the layer.
    """
    chosen = []
    for c, numbers in enumerate(zip(slope, anchor_acc, anchor_out, deviation)):
        found = multiplier(*(float(v) for v in numbers))
        if found is None:
            raise UserError(
                f"layer {path!r}, channel {c}: its batch norm scales by {numbers[0]:.4g} output "
                f"steps to an offset of {numbers[2]:.4g}, more than the accelerator's "
                f"{TERMS}-term multipliers and {BIAS_WIDTH}-bit constants can write; "
                "its running variance is close to 0: train it longer or remove the channel"
            )
        chosen.append(found)
    terms = np.array([t for t, _, _ in chosen])  # (C, T, 2)
    return Step(
        m_sign=terms[:, :, 0].T,
        m_exponent=terms[:, :, 1].T,
        bias=np.array([b for _, b, _ in chosen]),
        shift=np.array([s for _, _, s in chosen]),
        fmt=fmt,
    )


def identity_step(channels: int, fmt: Format, divisor: int = 1) -> Step:
    """Return the step that keeps a value, or divides it by a pool's number of taps."""
    found = multiplier(1 / divisor, 0.0, 0.0, float(divisor * fmt.max))
    assert found is not None
    terms, _, shift = found
    sign, exponent = np.repeat(np.array(terms).T[:, :, None], channels, axis=2)  # (2, T, C)
    zero = np.zeros(channels, np.int64)
    return Step(m_sign=sign, m_exponent=exponent, bias=zero, shift=zero + shift, fmt=fmt)

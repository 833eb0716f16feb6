"""The affine step of a stage: batch norm, scales and constants as m, B and S per channel."""

import math
from dataclasses import dataclass

import numpy as np

from pyhw.errors import UserError
from pyhw.graph.post import Step
from pyhw.hdl.formats import BIAS_WIDTH, MAX_EXPONENT, MAX_SHIFT, TERMS, Format, terms_value
from pyhw.hdl.signed_digits import nearest_terms

__all__ = ["ANY", "Line", "Multipliers", "affine_step", "identity_step", "multiplier", "snap"]

Terms = tuple[tuple[int, int], ...]

GAIN = 1e-3
"""A larger shift is taken only if it lowers the error by more than this, in output steps."""


@dataclass(frozen=True)
class Multipliers:
    """The multipliers m that there are.

    Attributes
    ----------
    terms : int
        Most signed powers of two.
    exponent : int
        Largest exponent of one.
    """

    terms: int = TERMS
    exponent: int = MAX_EXPONENT

    def nearest(self, value: float) -> Terms | None:
        """Return the terms of the multiplier nearest to a value; None if it is too large."""
        if abs(value) > self.terms << self.exponent:
            return None
        return nearest_terms(value, self.terms, self.exponent)


ANY = Multipliers()


@dataclass(frozen=True)
class Line:
    """One channel's real line from integers to output steps, ``slope * v + r * residual + ...``.

    Attributes
    ----------
    slope : float
        Output steps per step of the value v (an accumulator).
    mean, deviation : float
        Of v: a point near the mean, and the typical distance from it, which weighs the error of m.
    out : float
        Real output, in steps, that stands for the means.
    r_slope, r_mean, r_deviation : float
        As the first three, of the residual; 0 without one.
    """

    slope: float
    mean: float
    deviation: float
    out: float
    r_slope: float = 0.0
    r_mean: float = 0.0
    r_deviation: float = 0.0


def multiplier(
    line: Line, allowed: Multipliers = ANY, r_allowed: Multipliers = ANY
) -> tuple[Terms, Terms, int, int] | None:
    """Choose m, r, B and S of one channel: ``(m * v + r * residual + B) >> S`` near the line.

    B is computed from the m and r that were chosen, so that the line goes through the means, and
    an error of m acts only on the deviation from them.

    Parameters
    ----------
    line : Line
        What to come near to.
    allowed, r_allowed : Multipliers
        What to choose m and r from.

    Returns
    -------
    m, r, bias, shift
        Or None where m, r or B is too large without any shift.
    """
    best, least = None, np.inf
    limit = (1 << (BIAS_WIDTH - 1)) - 1
    for shift in range(MAX_SHIFT + 1):
        unit = 1 << shift
        terms = allowed.nearest(line.slope * unit)
        r_terms = r_allowed.nearest(line.r_slope * unit)
        if terms is None or r_terms is None:
            break
        m, r = terms_value(terms), terms_value(r_terms)
        exact = line.out * unit - m * line.mean - r * line.r_mean
        bias = round(exact)
        if abs(bias) > limit:
            continue
        lost = abs(m - line.slope * unit) * line.deviation
        lost += abs(r - line.r_slope * unit) * line.r_deviation
        error = (lost + abs(bias - exact)) / unit
        if error < least - GAIN:
            best, least = (terms, r_terms, bias, shift), error
    return best


def snap(slope: float, allowed: Multipliers = ANY) -> float:
    """Return the nearest number that a multiplier and a shift can write."""
    _, exponent = math.frexp(slope)
    unit = 2.0 ** (allowed.exponent - 1 - exponent)
    terms = allowed.nearest(slope * unit)
    assert terms is not None
    return terms_value(terms) / unit


def affine_step(
    lines: list[Line],
    fmt: Format,
    path: str,
    residual: bool = False,
    allowed: Multipliers = ANY,
    r_allowed: Multipliers = ANY,
) -> Step:
    """Return the step of a stage, from the line of every channel.

    Parameters
    ----------
    lines : list of Line
        One a channel.
    fmt : Format
        Of the result.
    path : str
        Of the layer, for the error's text.
    residual : bool
        Whether a residual is added.
    allowed, r_allowed : Multipliers
        What to choose m and r from.

    Raises
    ------
    UserError
        If a channel's scale or constant cannot be written; the text names the layer.
    """
    chosen = []
    for c, line in enumerate(lines):
        found = multiplier(line, allowed, r_allowed)
        if found is None:
            raise UserError(
                f"layer {path!r}, channel {c}: its batch norm scales by {line.slope:.4g} output "
                f"steps to an offset of {line.out:.4g}, more than the accelerator's "
                f"{allowed.terms}-term multipliers of exponents up to {allowed.exponent} and "
                f"{BIAS_WIDTH}-bit constants can write; "
                "its running variance is close to 0: train it longer or remove the channel"
            )
        chosen.append(found)
    terms = np.array([m for m, _, _, _ in chosen])  # (C, T, 2)
    r_terms = np.array([r for _, r, _, _ in chosen])
    return Step(
        m_sign=terms[:, :, 0].T,
        m_exponent=terms[:, :, 1].T,
        bias=np.array([b for _, _, b, _ in chosen]),
        shift=np.array([s for _, _, _, s in chosen]),
        fmt=fmt,
        r_sign=r_terms[:, :, 0].T if residual else None,
        r_exponent=r_terms[:, :, 1].T if residual else None,
    )


def identity_step(
    channels: int, fmt: Format, divisor: int = 1, allowed: Multipliers = ANY
) -> Step:
    """Return the step that keeps a value, or divides it by a pool's number of taps."""
    found = multiplier(Line(1 / divisor, 0.0, float(divisor * fmt.max), 0.0), allowed)
    assert found is not None
    terms, _, _, shift = found
    sign, exponent = np.repeat(np.array(terms).T[:, :, None], channels, axis=2)  # (2, T, C)
    zero = np.zeros(channels, np.int64)
    return Step(m_sign=sign, m_exponent=exponent, bias=zero, shift=zero + shift, fmt=fmt)

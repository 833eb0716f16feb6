"""Multipliers as few signed powers of two: exactly, or as near as so many terms come."""

import math

from .formats import MAX_EXPONENT, TERMS, terms_value

__all__ = ["digit_codes", "nearest_terms", "signed_digits"]


def _non_adjacent(value):
    """Return the non-adjacent form of a natural number, lowest digit first: the fewest digits."""
    digits: list[tuple[int, int]] = []
    exponent = 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((digit, exponent))
            value -= digit
        value >>= 1
        exponent += 1
    return digits


def signed_digits(value, max_exponent):
    """Write an integer as the fewest signed powers of two with bounded exponents.

    Parameters
    ----------
    value : int
    max_exponent : int
        Largest exponent allowed; it may be used more than once.

    Returns
    -------
    list of (sign, exponent)
        Descending exponents; empty for 0. The sum of ``sign << exponent`` is `value`.
    """
    sign = -1 if value < 0 else 1
    top = 1 << max_exponent
    count, rest = divmod(abs(value), top)
    # What is above the bound is written as repeats of the largest power. One repeat more, with
    # the excess subtracted, can be shorter.
    below = [(1, max_exponent)] * count + _non_adjacent(rest)
    above = [(1, max_exponent)] * (count + 1) + [(-s, e) for s, e in _non_adjacent(top - rest)]
    digits = min(below, above, key=len)
    return sorted(((sign * s, e) for s, e in digits), key=lambda digit: -digit[1])


def digit_codes(value, digits, code):
    """Return the codes of a value's `signed_digits`, filled up with the code of 0.

    Parameters
    ----------
    value : int
    digits : int
        How many codes.
    code : ShiftCode

    Raises
    ------
    ValueError
        If it has more digits, or its non-adjacent form one further up than a place above the
        largest exponent, which hardware does not take apart.
    """
    top = code.max_exponent
    if abs(value) > (1 << (top + 3)) // 3:
        raise ValueError(f"{value} has a digit above place {top + 1}")
    found = [code.encode(sign, exponent) for sign, exponent in signed_digits(value, top)]
    if len(found) > digits:
        raise ValueError(f"{value} has {len(found)} digits, more than {digits}")
    return found + [code.zero] * (digits - len(found))


def nearest_terms(value, terms=TERMS, max_exponent=MAX_EXPONENT):
    """Approximate a real number by at most `terms` signed powers of two, as well as they can.

    Parameters
    ----------
    value : float
        Magnitude below ``2 ** (max_exponent + 1)``.
    terms : int
        Number of terms.
    max_exponent : int
        Exponents lie in 0..max_exponent.

    Returns
    -------
    tuple of (sign, exponent)
        Exactly `terms` pairs, unused ones ``(0, 0)``.
    """
    digits = tuple(signed_digits(round(value), max_exponent))
    if len(digits) > terms:
        digits = _nearest(value, terms, max_exponent)
    return digits + ((0, 0),) * (terms - len(digits))


def _nearest(value, terms, max_exponent):
    """Return the terms nearest to a value: the first is the power below it or the one above."""
    size = abs(value)
    if terms == 0 or size <= 0.5:
        return ()
    sign = -1 if value < 0 else 1
    below = min(max(math.frexp(size)[1] - 1, 0), max_exponent)
    found = []
    for exponent in {below, min(below + 1, max_exponent)}:
        rest = size - (1 << exponent)
        found.append(((1, exponent), *_nearest(rest, terms - 1, max_exponent)))
    best = min(found, key=lambda digits: (abs(size - terms_value(digits)), len(digits)))
    return tuple((sign * s, e) for s, e in best)

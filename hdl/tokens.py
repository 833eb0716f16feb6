"""Records of tokens: what the statistics of a row become, written once (``docs/transformers.md``).

A record (m, B, S) acts on a value of its token as a channel's does, ``(m * v + B + half) >> S``.
Neither divider nor multiplier makes one: a leading one is found, a reciprocal or the reciprocal of
a root is looked up in a table of at most 256 entries, and what is multiplied is multiplied by the
T signed digits of an entry. All functions take Python integers.
"""

import math
from dataclasses import dataclass
from functools import cache

from .formats import MAX_SHIFT, terms_value
from .signed_digits import nearest_terms, signed_digits

__all__ = [
    "FRACTION", "INDEX", "MAX_STATISTIC", "PRECISION", "TokenRecord", "digits_of",
    "largest_shift", "layer_record", "max_record", "normalise", "reciprocal_table", "root_table",
    "sum_record",
]

PRECISION = 8
"""Bits of a looked-up multiplier: entries are at most ``2**PRECISION`` (K of the contract)."""
INDEX = 8
"""Bits that a table is looked up with, the leading one included."""
FRACTION = 8
"""Largest binary places of a result (F of the contract)."""
MAX_STATISTIC = 1 << 52
"""Every variance and every sum of a row lies below it."""


@dataclass(frozen=True)
class TokenRecord:
    """Multiplier, bias and shift of one token and head.

    `m` is the gain of the kind (C for norms, else 1) times at most T signed powers of two.
    """

    m: int
    bias: int
    shift: int


def normalise(value, even):
    """Return what a table is looked up with, and the exponent that was taken off.

    Parameters
    ----------
    value : int
        From 1.
    even : bool
        Whether the exponent is rounded down to an even number, for roots.

    Returns
    -------
    index, exponent : int
        ``index = floor(value * 2**(p - exponent))`` with p = 6 for roots (index 64..255) and 7
        else (128..255).
    """
    exponent = value.bit_length() - 1
    if even:
        exponent -= exponent & 1
    places = INDEX - 2 if even else INDEX - 1
    return (value << places) >> exponent, exponent


@cache
def root_table(terms):
    """Return T-digit multipliers near ``2**K / sqrt((i + 1/2) / 64)``, by index; 0 below 64.

    Parameters
    ----------
    terms : int
        T, 1 to 4.

    Returns
    -------
    tuple of 256 int
    """
    return _table(1 << (INDEX - 2), terms, lambda x: (1 << PRECISION) / math.sqrt(x))


@cache
def reciprocal_table(terms):
    """Return T-digit multipliers near ``2**K / ((i + 1/2) / 128)``, by index; 0 below 128."""
    return _table(1 << (INDEX - 1), terms, lambda x: (1 << PRECISION) / x)


def _table(first, terms, function):
    entries = [0] * first
    for index in range(first, 1 << INDEX):
        wanted = function((index + 0.5) / first)
        entries.append(terms_value(nearest_terms(wanted, terms, PRECISION)))
    return tuple(entries)


def layer_record(row, fraction, floor, terms, centred=True):
    """Return the record of a layer norm's row, or of an L2 norm's if it is not centred.

    Applied to x it gives ``(C x - s1) / sqrt(v) * 2**fraction`` with ``v = C s2 - s1**2``, the
    sums over the row; ``s1 = 0`` if it is not centred.

    Parameters
    ----------
    row : sequence of int
        The C values of a token and head.
    fraction : int
        Binary places of the result, 0..8.
    floor : int
        Least v, from 1.
    terms : int
        T of the multiplier.
    centred : bool
        Whether the mean is taken off.
    """
    count = len(row)
    total = sum(row) if centred else 0
    spread = max(count * sum(x * x for x in row) - total * total, floor)
    index, exponent = normalise(spread, even=True)
    m = root_table(terms)[index]
    return TokenRecord(count * m, -m * total, PRECISION + exponent // 2 - fraction)


def max_record(row, octave):
    """Return the record that takes a row's maximum off, rounded up to a multiple of 2**octave."""
    return TokenRecord(1, -(-(-max(row) >> octave) << octave), 0)


def sum_record(row, fraction, floor, terms):
    """Return the record that divides by a row's sum: ``v / sum * 2**fraction``.

    Parameters are those of `layer_record`; `floor` is the least sum.
    """
    index, exponent = normalise(max(sum(row), floor), even=False)
    return TokenRecord(reciprocal_table(terms)[index], 0, PRECISION + exponent - fraction)


def largest_shift(statistic, even, fraction):
    """Return the largest shift of a record whose variance or sum is at most `statistic`."""
    exponent = statistic.bit_length() - 1
    return PRECISION + (exponent // 2 if even else exponent) - fraction


@cache
def digits_of(value, max_exponent):
    """Return the signed powers of two of a run-time weight, as (sign, exponent) pairs.

    The non-adjacent form, fewest digits, with exponents that a code holds.
    """
    return tuple(signed_digits(value, max_exponent))


assert PRECISION + MAX_STATISTIC.bit_length() // 2 - FRACTION <= MAX_SHIFT

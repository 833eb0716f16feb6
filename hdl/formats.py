"""The numeric contract: every term, multiplier, rounding and clamp of the accelerator.

All functions are written with plain operators, so that they take Python integers and
integer numpy arrays alike. The golden executor (`pyhw.graph`) and the gateware's
``compute`` functions both call them; nothing else defines arithmetic.
"""

from dataclasses import dataclass

__all__ = [
    "Format", "ShiftCode", "TERMS", "MAX_EXPONENT", "MAX_SHIFT", "BIAS_WIDTH",
    "l1_term", "shift_term", "apply_terms", "terms_value", "half", "round_shift",
    "requantise", "width_of",
]

TERMS = 3
"""Default number of signed power-of-two terms in a multiplier (T of the contract)."""
MAX_EXPONENT = 16
"""Largest exponent of a multiplier's term (E of the contract)."""
MAX_SHIFT = 31
"""Largest right shift S of a rounding step."""
BIAS_WIDTH = 32
"""Width of the signed bias B, bits."""


@dataclass(frozen=True)
class Format:
    """An integer number format, symmetric around a zero point of 0.

    Parameters
    ----------
    width : int
        Bits, 1 to 32.
    signed : bool
        Two's complement if true, else unsigned.
    """

    width: int
    signed: bool = False

    def __post_init__(self):
        if not isinstance(self.width, int) or not 1 <= self.width <= 32:
            raise ValueError(f"Format width must be an integer from 1 to 32, not {self.width!r}")

    @property
    def min(self):
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def max(self):
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def bytes(self):
        """Bytes that one stored value takes: 1, 2 or 4."""
        return 1 if self.width <= 8 else 2 if self.width <= 16 else 4

    def clamp(self, value):
        """Saturate an integer or integer array to the format."""
        if hasattr(value, "clip"):
            return value.clip(self.min, self.max)
        return min(max(value, self.min), self.max)

    def __str__(self):
        return f"{'s' if self.signed else 'u'}{self.width}"

    @classmethod
    def parse(cls, text):
        """Read a format from its text form, such as ``u8`` or ``s20``."""
        if (not isinstance(text, str) or text[:1] not in ("s", "u") or not text[1:].isdecimal()
                or len(text) > 3):
            raise ValueError(f"Format must read like 'u8' or 's20', not {text!r}")
        return cls(int(text[1:]), text[0] == "s")


@dataclass(frozen=True)
class ShiftCode:
    """The stored form of one signed power of two or zero.

    The sign is the top bit, the exponent the others; the largest exponent with a clear
    sign bit is zero, with a set one it is reserved.

    Parameters
    ----------
    width : int
        Bits of a code: 3 (exponents 0..2), 4 (0..6) or 5 (0..14).
    """

    width: int = 4

    def __post_init__(self):
        if self.width not in (3, 4, 5):
            raise ValueError(f"ShiftCode width must be 3, 4 or 5, not {self.width!r}")

    @property
    def zero(self):
        """The code of the weight 0."""
        return (1 << (self.width - 1)) - 1

    @property
    def max_exponent(self):
        """Largest exponent that has a code."""
        return self.zero - 1

    def encode(self, sign, exponent):
        """Return the code of ``sign * 2**exponent``, sign in {-1, 0, 1}."""
        if sign == 0:
            return self.zero
        if sign not in (-1, 1) or not 0 <= exponent <= self.max_exponent:
            raise ValueError(
                f"Shift weight must be 0 or ±2^e with e from 0 to {self.max_exponent}, "
                f"not sign {sign!r}, exponent {exponent!r}")
        return exponent | ((sign < 0) << (self.width - 1))

    def decode(self, code):
        """Return ``(sign, exponent)`` of a code; zero is ``(0, 0)``."""
        if not 0 <= code < 1 << self.width or code == (1 << self.width) - 1:
            raise ValueError(f"Shift code must be a {self.width}-bit code that is not reserved, "
                             f"not {code!r}")
        if code == self.zero:
            return 0, 0
        return (-1 if code >> (self.width - 1) else 1), code & self.zero


def l1_term(x, w, ex=0, ew=0):
    """Return ``-|(x << ex) - (w << ew)|``, the term of the L1 engine (AdderNet, eq. 2)."""
    return -abs((x << ex) - (w << ew))


def shift_term(x, sign, exponent):
    """Return ``sign * (x << exponent)`` for sign in {-1, 0, 1}, the term of the shift engine."""
    return sign * (x << exponent)


def apply_terms(value, terms):
    """Return ``A(value; m)``: the sum of ``s * (value << e)`` over the terms, exactly.

    Parameters
    ----------
    value : int or integer array
    terms : sequence of (s, e)
        s in {-1, 0, 1}; s and e may be arrays that broadcast against `value`.
    """
    return sum((s * (value << e) for s, e in terms), start=0 * value)


def terms_value(terms):
    """Return the integer multiplier that the terms stand for."""
    return apply_terms(1, terms)


def half(shift):
    """Return the rounding constant of a right shift: ``1 << (shift - 1)``, 0 for shift 0."""
    return (1 << shift) >> 1


def round_shift(value, shift):
    """Shift right arithmetically with rounding half up."""
    return (value + half(shift)) >> shift


def requantise(acc, m, bias, shift, fmt, res=0, r=()):
    """Return one step of the contract: scale, add, round and clamp.

    ``clamp((A(acc; m) + A(res; r) + bias + half(shift)) >> shift)`` to `fmt`.
    """
    return fmt.clamp(round_shift(apply_terms(acc, m) + apply_terms(res, r) + bias, shift))


def width_of(low, high):
    """Return the bits of the smallest two's complement format that holds [low, high]."""
    return max(int(v if v >= 0 else ~v).bit_length() for v in (low, high)) + 1

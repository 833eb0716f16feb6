"""Comparisons with constants, as plain logic."""

from amaranth.hdl import Const

__all__ = ["thermometer"]


def thermometer(value, count):
    """Return a list of `count` bits; bit k says whether an unsigned value is above k.

    A comparison operator would spend a carry chain on every bit.
    """
    def above(bits, constant):
        if constant < 0:
            return Const(1)
        if constant >= (1 << len(bits)) - 1:
            return Const(0)
        half = 1 << (len(bits) - 1)
        top = bits[-1]
        if constant >= half:
            return top & above(bits[:-1], constant - half)
        if constant == half - 1:
            return top
        return top | above(bits[:-1], constant)

    return [above(value, k) for k in range(count)]

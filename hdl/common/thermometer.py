"""Comparisons with constants, as plain logic."""

from amaranth.hdl import Const

__all__ = ["above", "thermometer"]


def above(value, constant):
    """Return whether an unsigned value is above a constant.

    A comparison operator would spend a carry chain on it.
    """
    if constant < 0:
        return Const(1)
    if constant >= (1 << len(value)) - 1:
        return Const(0)
    half = 1 << (len(value) - 1)
    top = value[-1]
    if constant >= half:
        return top & above(value[:-1], constant - half)
    if constant == half - 1:
        return top
    return top | above(value[:-1], constant)


def thermometer(value, count):
    """Return a list of `count` bits; bit k says whether an unsigned value is above k."""
    return [above(value, k) for k in range(count)]

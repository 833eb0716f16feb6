"""Layouts of what travels to the engines: `Token`, `Load` and `ResultRequest`.

Widths depend on as little as possible, so that one signal can be handed to every engine of an
accelerator whatever its number of rows; an engine ignores the upper bits that it does not need.
"""

from amaranth.hdl import unsigned
from amaranth.lib import data

__all__ = ["ResultRequest", "Load", "Token", "position_shape"]


def position_shape(burst_depth):
    """Return the shape of an address in an accumulator bank."""
    return unsigned(max(1, (burst_depth - 1).bit_length()))


class Token(data.StructLayout):
    """What accompanies an activation vector through an engine.

    Parameters
    ----------
    burst_depth : int
        Positions of an accumulator bank.

    Members
    -------
    valid : 1
        A vector is there; the other fields mean nothing without it.
    clear : 1
        First step of a burst: the accumulator starts from this sum.
    last : 1
        Last vector of a burst.
    lead : 1
        The vector enters a chain of taps, but nothing is accumulated.
    bank : 1
        Accumulator bank that fills.
    position : range(burst_depth)
        Accumulator within the bank.
    """

    def __init__(self, burst_depth):
        super().__init__({
            "valid": 1, "clear": 1, "last": 1, "warmup": 1, "bank": 1,
            "position": position_shape(burst_depth),
        })


class Load(data.StructLayout):
    """One weight-memory word on its way to the shadow registers.

    Parameters
    ----------
    load_bits : int
        Bits of a word.

    Members
    -------
    valid : 1
        A word is there.
    index : unsigned(16)
        Which word of the step's codes, from 0.
    word : unsigned(load_bits)
        The codes, the first one in the lowest bits.
    """

    def __init__(self, load_bits):
        super().__init__({"valid": 1, "index": unsigned(16), "word": unsigned(load_bits)})


class ResultRequest(data.StructLayout):
    """A request for one vector of results.

    Parameters
    ----------
    burst_depth : int
        Positions of an accumulator bank.

    Members
    -------
    bank, position
        Which accumulators; the bank must not be the one that fills.
    group : unsigned(4)
        Which group.
    vector : unsigned(8)
        Rows ``vector * post_width`` and up, unless `serial`.
    row : unsigned(8)
        The one row to read into lane 0 when `serial`.
    single : 1
        Read one row.
    """

    def __init__(self, burst_depth):
        super().__init__({
            "bank": 1, "position": position_shape(burst_depth), "group": unsigned(4),
            "vector": unsigned(8), "row": unsigned(8), "serial": 1,
        })

"""The host half: what the compiler writes into memories, and what the fitter reckons with."""

import numpy as np

from pyhw.engines import EngineLuts, HostEngine, register
from pyhw.graph.terms import term_of

LUTS = EngineLuts(lane=20.0, tap=11.0)
"""LUT4s of ECP5: 9 of a term and about as many of its share of the tree; a tap's sum."""


class TernaryHost(HostEngine):
    """Two bits a weight, and a constant of 1 for each negative one."""

    name = "ternary"

    def encode(self, conv, shape, fmt):
        """Return the codes: 0, 1 for 1, 3 for -1."""
        weight = conv.weight.reshape(1, conv.out_channels, -1)
        return np.array([0, 1, 3], np.uint8)[weight]  # -1 is the last entry

    def constant(self, conv, fmt, idle):
        """Return what the engine's sum is more than the layer's: -1 for each negative weight."""
        return -(conv.weight < 0).sum(axis=(1, 2, 3)).astype(np.int64)

    def sum_bits(self, conv, fmt, constant):
        """Return the bits of every partial sum, which may lie lower by the constant."""
        low, high = term_of(self.name).partial_bounds(conv, fmt)
        return max(int(-1 - (low + constant).min()).bit_length(),
                   int(high.max()).bit_length()) + 1

    def chain_bits(self, conv, fmt):
        """Return the same for chains, which make the same sums."""
        return self.sum_bits(conv, fmt, self.constant(conv, fmt, 0))

    def code_width(self, conv, fmt):
        """Return the bits of a code."""
        return 2

    def luts(self, code_width):
        """Return the sizes of the engine's parts."""
        return LUTS


register(TernaryHost())

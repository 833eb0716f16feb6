"""The meaning: what a convolution with the term 'ternary' sums, and which weights it may have."""

import numpy as np

from pyhw.graph.ops.base import Counts
from pyhw.graph.records import frozen_array
from pyhw.graph.rules import require
from pyhw.graph.terms import LinearTerm, term


@term
class Ternary(LinearTerm):
    """``x``, ``-x`` or 0; weights stand in `Conv.weight`.

    The sums and their exports are those of every linear term: software may multiply by 1.
    """

    name = "ternary"

    def check_fields(self, conv):
        """Require integers, and nothing that belongs to another term."""
        if conv.weight is None or conv.sign is not None or conv.exponent is not None:
            raise ValueError("Conv with term 'ternary' must have weight, no sign and no exponent")
        conv._set("weight", frozen_array("Conv", "weight", conv.weight, np.int16, 4))

    def check(self, conv, fmt):
        """Require weights -1, 0 and 1."""
        require(conv, conv.ex == conv.ew == 0, "ex and ew must be 0 for ternary terms")
        require(conv, np.abs(conv.weight).max() <= 1, "ternary weights must be -1, 0 or 1")

    def draw(self, draw, shape, fmt, make):
        """Draw weights for a random network."""
        conv = make(weight=draw.rng.integers(-1, 2, shape))
        return conv if draw.fits_accumulator(self.partial_bounds(conv, fmt)) else None

    def counts(self, conv, positions):
        """Return an addition for each weight and position."""
        weights = conv.weight.size
        return Counts(terms=positions * weights, kind=self.name, additions=positions * weights,
                      weights=weights, weight_bits=2 * weights)

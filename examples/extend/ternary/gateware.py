"""The hardware: a row adds x, or minus x, or nothing, for each of its lanes."""

from amaranth.hdl import Signal, signed

from pyhw.hdl.common.links import DIRECT
from pyhw.hdl.engines.registry import Descriptor, register
from pyhw.hdl.engines.row_array import RowArray, row_latency
from pyhw.hdl.engines.rows import Row

USED, NEGATIVE = 1, 2
"""The bits of a code: 0 is the weight 0, 1 is 1, 3 is -1."""


class TernaryRow(Row):
    """Add up ``x``, ``~x`` or 0 of 9-bit two's complement x: one LUT4 a bit."""

    def __init__(self, lanes, register_every=1, tap=False, links=DIRECT):
        super().__init__(lanes, 9, 2, signed(9), register_every, tap, links=links)

    def _term(self, m, x, code, name):
        term = Signal(signed(9), name=f"term{name}", reset_less=True)
        used, negative = code[0].replicate(9), code[1].replicate(9)
        m.d.sync += term.eq((x ^ negative) & used)
        if self._tap:  # of a chain, for depthwise layers
            with m.If(~self.i_use):
                m.d.sync += term.eq(0)
            m.d.comb += self.o_terms.word_select(int(name), 9).eq(term)
        return term


class TernaryEngine(RowArray):
    """Rows of ternary weights.

    ``~x`` is ``-x - 1``: for each negative weight a sum lies 1 too low, which `host` gives back
    as a constant that the compiler adds to the bias.

    Parameters
    ----------
    config : Config
        Has a `ternary` engine.

    Ports, latency and throughput are those of `RowArray`.
    """

    name = "ternary"

    def __init__(self, config, *, register_every=1):
        super().__init__(config, term=signed(9), register_every=register_every)

    def _row(self, index, tap):
        return TernaryRow(self.lanes, self._register_every, tap, self.links)

    def compute(self, vectors, codes):
        """Return each row's sum, from a vector and the rows' codes for every step."""
        def term(x, code):
            return (~x if code & NEGATIVE else x) if code & USED else 0

        return [sum(term(x, code) for vector, rows in zip(vectors, codes, strict=True)
                    for x, code in zip(vector, rows[row], strict=True))
                for row in range(self.rows)]


register(Descriptor(name=TernaryEngine.name, title="ternary", array=TernaryEngine,
                    latency=row_latency(TernaryEngine.name), code_widths=(2,)))

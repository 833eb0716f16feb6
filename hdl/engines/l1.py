"""L1 distances: rows, array and descriptor."""

from amaranth.hdl import Cat, Const, Mux, Signal, signed
from amaranth.lib.wiring import In

from ..common.links import DIRECT
from .registry import Descriptor
from .row_array import RowArray, row_latency
from .rows import Row, SumRow

__all__ = ["ENGINE", "L1Engine", "L1Row"]


class L1Row(Row):
    """Add up ``max(x - w, 0)`` of unsigned bytes; as a tap, term + carry is ``256 - |x - w|``."""

    def __init__(self, lanes, register_every=1, tap=False, links=DIRECT):
        super().__init__(lanes, 8, 8, 8, register_every, tap, carries=True, links=links)

    def _term(self, m, x, code, name):
        difference = Signal(signed(9), name=f"difference{name}")
        excess = Signal(8, name=f"excess{name}", reset_less=True)
        m.d.comb += difference.eq(x - code)
        # A synchronous reset by the sign, so that it takes no logic.
        m.d.sync += excess.eq(Mux(difference < 0, 0, difference[:8]))
        if self._tap:
            term, carry = Signal(8, reset_less=True), Signal(reset_less=True)
            below = difference[8]
            m.d.sync += [term.eq(difference[:8] ^ ~below.replicate(8)), carry.eq(~below)]
            with m.If(~self.i_use):
                m.d.sync += [term.eq(0), carry.eq(0)]
            m.d.comb += [self.o_terms.word_select(int(name), 8).eq(term),
                         self.o_carries[int(name)].eq(carry)]
        return excess


class L1Engine(RowArray):
    """Add up ``2 min(x, w) - x`` over the lanes: ``w - |x - w|``, with w left to the bias.

    The accumulators hold ``E = sum max(x - w, 0)`` of each row and, once for each group,
    ``X = sum x``; a result is ``X - 2 E``. Operands are unsigned bytes: the producer has shifted
    x, and flipped its top bit if it is signed; the engine does the same to the weight codes when
    it loads them.

    Parameters
    ----------
    config : Config
        Has an `l1` engine.

    Members
    -------
    i_x, i_on, o_sums, i_load, i_swap, i_tap_use, o_tap_terms
        As in `RowArray`; the ninth bit of x is not used, the sum of x comes behind the rows'. A
        tap's term is ``256 - |x - w|``.
    i_w_signed : 1
        Codes are two's complement. Valid with the codes.
    i_w_shift : unsigned(3)
        Left shift of the codes. Valid with the codes.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    name, x_width = "l1", 8

    def __init__(self, config, *, register_every=1):
        super().__init__(config, term=8, carry=True, register_every=register_every,
                         ports={"i_w_signed": In(1), "i_w_shift": In(3)})

    def controls(self, terms):
        """Return the statements that set what an instruction says of the codes."""
        return [self.i_w_signed.eq(terms.x_signed), self.i_w_shift.eq(terms.w_shift)]

    def result(self, value, extra):
        """Return ``X - 2 E``."""
        bits = self.shape.width
        return extra[:bits] - (value[:bits] << 1)

    def _converter(self, m):
        # As the words that they convert.
        w_signed = self.links.undelayed(m, self.i_w_signed, "w_signed")
        w_shift = self.links.undelayed(m, self.i_w_shift, "w_shift")

        def convert(code):
            extended = Cat(code, (code[-1] & w_signed).replicate(8 - len(code)))
            return (extended << w_shift)[:8] ^ Cat(Const(0, 7), w_signed)

        return convert

    def _row(self, index, tap):
        if index < self.rows:
            return L1Row(self.lanes, self._register_every, tap, self.links)
        return SumRow(self.lanes, self._register_every, self.links)

    def compute(self, vectors, weights):
        """Return the results of one burst position, from the numbers that enter the lanes.

        Parameters
        ----------
        vectors : sequence of sequences of int
            One vector of unsigned bytes (lanes) per step.
        weights : sequence of sequences of sequences of int
            For each step and row the unsigned bytes (lanes).

        Returns
        -------
        list of int
            A result for each row.
        """
        return [sum(2 * min(x, w) - x for vector, rows in zip(vectors, weights)
                    for x, w in zip(vector, rows[row])) for row in range(self.rows)]


ENGINE = Descriptor(
    name=L1Engine.name, title="L1", array=L1Engine, latency=row_latency(L1Engine.name),
    code_widths=tuple(range(2, 9)), flipped=True, value_bits=2, signed=False, extra=1)

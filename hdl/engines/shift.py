"""Signed power-of-two products: rows, array and descriptor."""

from amaranth.hdl import Cat, Mux, Signal, signed

from ..common.links import DIRECT
from ..formats import ShiftCode
from .registry import Descriptor
from .row_array import RowArray, row_latency
from .rows import Row

__all__ = ["ENGINE", "ShiftEngine", "ShiftRow"]


class ShiftRow(Row):
    """Add up ``(x xor s) << e`` of 9-bit two's complement x.

    A code is the stored one with a bit on top that says zero, so that no lane has to find out.

    Parameters
    ----------
    lanes : int
    code : ShiftCode
    """

    def __init__(self, lanes, code, register_every=1, tap=False, links=DIRECT):
        self._code = code
        super().__init__(lanes, 9, code.width + 1, signed(9 + code.max_exponent), register_every,
                         tap, links=links)

    def _term(self, m, x, code, name):
        """One LUT4 a bit and stage: the first takes the sign in, the last the zero.

        What the last stage fills up with is a synchronous reset, which takes no logic.
        """
        exponent_bits = self._code.width - 1
        sign, zero = code[exponent_bits], code[exponent_bits + 1]
        value, width = (x ^ sign.replicate(9)).as_signed(), 9
        for stage in range(exponent_bits):
            select, amount, unmoved = code[stage], 1 << stage, value
            width = min(width + amount, 9 + self._code.max_exponent)
            value = Mux(select, value << amount, value)[:width].as_signed()
        term = Signal(signed(width), name=f"term{name}", reset_less=True)
        m.d.sync += term.eq(Cat(Mux(select | zero, 0, unmoved[:amount]),
                                Mux(zero, 0, value[amount:])))
        if self._tap:
            with m.If(~self.i_use):
                m.d.sync += term.eq(0)
            m.d.comb += self.o_terms.word_select(int(name), width).eq(term)
        return term


class ShiftEngine(RowArray):
    """Add up ``(x xor s) << e`` over the lanes: ``±(x << e)``, short of ``1 << e`` where s is set.

    What is left out is a constant of the weights and part of the bias. The code of zero adds 0.

    Parameters
    ----------
    config : Config
        Has a `shift` engine.

    Members
    -------
    i_x, i_on, o_sums, i_load, i_swap, i_tap_use, o_tap_terms
        As in `RowArray`; x is 9-bit two's complement, codes are those of `ShiftCode`, a tap's
        terms as above.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    name = "shift"

    def __init__(self, config, *, register_every=1):
        shape = getattr(config, "engines", {}).get(self.name)
        self._code = ShiftCode(shape.code_width if shape else 3)
        super().__init__(config, term=signed(9 + self._code.max_exponent),
                         register_every=register_every)

    def _converter(self, m):
        return lambda code: Cat(code, code == self._code.zero)

    def _row(self, index, tap):
        return ShiftRow(self.lanes, self._code, self._register_every, tap, self.links)

    def compute(self, vectors, codes):
        """Return the results of one burst position.

        Parameters
        ----------
        vectors : sequence of sequences of int
            One vector of 9-bit integers (lanes) per step.
        codes : sequence of sequences of sequences of int
            For each step and row the stored codes (lanes).

        Returns
        -------
        list of int
            A result for each row.
        """
        def term(x, code):
            sign, exponent = self._code.decode(code)
            return 0 if sign == 0 else (x ^ (-1 if sign < 0 else 0)) << exponent

        return [sum(term(x, code) for vector, rows in zip(vectors, codes)
                    for x, code in zip(vector, rows[row])) for row in range(self.rows)]


ENGINE = Descriptor(
    name=ShiftEngine.name, title="shift", array=ShiftEngine, latency=row_latency(ShiftEngine.name),
    code_widths=(3, 4, 5), zero=lambda code_width: ShiftCode(code_width).zero, masked=True,
    digits=ShiftCode)

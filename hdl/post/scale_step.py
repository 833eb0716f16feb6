"""One step of the numeric contract: scale, add, round and clamp."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.thermometer import thermometer
from ..formats import MAX_EXPONENT, MAX_SHIFT, apply_terms
from .term_sum import TERM, add_carry, add_levels, shifted_terms, sum_levels

__all__ = ["ScaleStep"]


class ScaleStep(wiring.Component):
    """``clamp((A(value; m) + addend + bias) >> shift)``, fully pipelined.

    The bias holds the rounding constant. Terms, bias and shift come with every value, so
    that results of different channels may follow each other.

    Parameters
    ----------
    value_width : int
        Bits of the signed value.
    terms, exponent : int
        Signed powers of two of the multiplier, 1..4, and the largest exponent of one, 1..16.
    sum_width : int
        Bits of the signed sum; the compiler proves that it fits. Parts of it, and the bias, may
        be beyond: they add up modulo ``2 ** sum_width``.
    result_width : int
        Largest format width, 1..32.
    addend_width : int
        Bits of the signed addend; 0 leaves it out.
    addend_delay : int
        Cycles from the value to the addend; raised to the least possible.

    Members
    -------
    i_value : In(signed(value_width)), i_terms : In(TERM x terms), i_bias : In(signed(sum_width))
    i_shift : In(5)
        Right shift.
    i_addend : In(signed(addend_width)), i_addend_carry : In(1)
        A summand, `addend_delay` cycles after the value it belongs to. Without `addend_width`
        there are no such ports.
    i_signed : In(1), i_width : In(6)
        Result format, stable from two cycles before its first value to its last result
        (it is decoded into registers).
    o_result : Out(result_width)
        The result, sign-extended if signed.

    Latency `latency` cycles (shifts 1, adders, addend, right shift 1, clamp 1), one result a
    cycle, no back-pressure.
    """

    def __init__(self, value_width, terms, sum_width, result_width, addend_width=0,
                 addend_delay=0, exponent=MAX_EXPONENT):
        if result_width not in range(1, 33):
            raise ValueError(f"ScaleStep result_width must be from 1 to 32, not {result_width!r}")
        self._terms, self._exponent = terms, exponent
        self._sum_width = sum_width
        self._result_width = result_width
        self._addend_width = addend_width
        tree = 1 + sum_levels(terms + 1)
        self.addend_delay = max(tree, addend_delay) if addend_width else tree
        self._wait = self.addend_delay - tree
        self.latency = self.addend_delay + bool(addend_width) + 2
        addend = {}
        if addend_width:
            addend = {"i_addend": In(signed(addend_width)), "i_addend_carry": In(1)}
        super().__init__({
            "i_value": In(signed(value_width)), "i_terms": In(data.ArrayLayout(TERM, terms)),
            "i_bias": In(signed(sum_width)), "i_shift": In(range(MAX_SHIFT + 1)),
            **addend, "i_signed": In(1), "i_width": In(6), "o_result": Out(result_width),
        })

    @staticmethod
    def compute(value, terms, bias, shift, fmt, addend=0):
        """Return the result as an integer; `terms` are pairs (sign, exponent)."""
        return fmt.clamp((apply_terms(value, terms) + addend + bias) >> shift)

    def elaborate(self, platform):
        m = Module()
        terms = [self.i_terms[t] for t in range(self._terms)]
        operands, carries = shifted_terms(m, self.i_value, terms, self._exponent)
        bias = delay(m, self.i_bias, 1, "bias")
        # As many adders as carries: none is left over.
        total, _ = add_levels(m, [*operands, bias], carries, self._sum_width)
        if self._addend_width:
            total = delay(m, total, self._wait, "wait")
            partial, total = total, Signal(signed(self._sum_width), name="total",
                                           reset_less=True)
            m.d.sync += total.eq(add_carry(partial, self.i_addend, self.i_addend_carry))
        shift = delay(m, self.i_shift, self.latency - 2, "shift")

        # Magnitude bits (xor with the sign) make overflow "a bit is set too high". Each level
        # of the shift, largest first, keeps the bits that may still matter and notes the rest.
        width = self._result_width
        sign = total[-1]
        bits = total[:-1] ^ sign.replicate(len(total) - 1)
        over = Const(0)
        for level in reversed(range(5)):
            step = 1 << level
            keep = width + step - 1
            over |= bits[keep + step:].any() | (~shift[level] & bits[keep:keep + step].any())
            narrowed = Signal(keep, name=f"right{step}")
            m.d.comb += narrowed.eq(Mux(shift[level], bits[step:], bits))
            bits = narrowed
        magnitude, negative, high = (Signal(n, name=name, reset_less=True) for n, name in (
            (width, "magnitude"), (1, "negative"), (1, "high")))
        m.d.sync += [magnitude.eq(bits), negative.eq(sign), high.eq(over)]
        with m.If(sign & ~self.i_signed):
            m.d.sync += [magnitude.eq(0), negative.eq(0), high.eq(0)]

        # Bits from the mask on are sign extension; with overflow the others are all ones.
        mask, result = Signal(width, reset_less=True), Signal(width, reset_less=True)
        limit = Signal(6, reset_less=True)
        m.d.sync += [limit.eq(self.i_width - self.i_signed),
                     mask.eq(~Cat(thermometer(limit, width)))]
        clamped = high | (magnitude & mask).any()
        m.d.sync += result.eq(((magnitude | clamped.replicate(width)) & ~mask)
                              ^ negative.replicate(width))
        m.d.comb += self.o_result.eq(result)
        return m

    def result_value(self, raw, fmt):
        """Return the integer that the raw output bits stand for."""
        return raw - (1 << self._result_width) if fmt.signed and raw >> (
            self._result_width - 1) else raw

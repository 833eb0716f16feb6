"""The record of a row, from its sums: products by digits, a leading one, a table."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..signed_digits import signed_digits
from ..tokens import PRECISION, reciprocal_table, root_table

__all__ = ["COUNT_BITS", "ROW_CYCLES", "SQUARE_BITS", "SUM_BITS", "Kind", "RowRecords",
           "token_layout"]  # fmt: skip

COUNT_BITS = 12
"""Bits of the values of a row: 1 to 4,095."""
SUM_BITS = 9 + COUNT_BITS
"""Bits of a row's sum, signed."""
SQUARE_BITS = 16 + COUNT_BITS
"""Bits of the sum of its squares."""
SPREAD_BITS = 16 + 2 * COUNT_BITS
"""Bits of ``C s2 - s1^2``; even, because roots are normalised by even shifts."""
PRODUCT_CYCLES = (SUM_BITS - 1) // 2
"""Cycles of a product, two bits of a factor a cycle."""
ROW_CYCLES = PRODUCT_CYCLES + 3
"""Fewest cycles from a row to the next, so that no register is taken before its time."""
_SHIFTS = (32, 16, 8, 4, 2, 1)
"""What a value is moved up by, if nothing is lost; the last for reciprocals alone."""


class Kind(enum.Enum, shape=2):
    """What is made of a row (`pyhw.hdl.tokens`)."""

    LAYER = 0
    L2 = 1
    MAX = 2
    SUM = 3


def token_layout(terms):
    """Return the layout of a record: B with the rounding constant, S, and the terms of m.

    A term is an exponent, its sign, and whether it counts.
    """
    return data.StructLayout({
        "bias": signed(36), "shift": 5, "m": data.ArrayLayout(data.StructLayout(
            {"exponent": 5, "negative": 1, "there": 1}), terms)})


class RowRecords(wiring.Component):
    """Turn the sums of a row into its record; at least `ROW_CYCLES` from one to the next.

    Parameters
    ----------
    terms : int
        Signed powers of two in a multiplier, T.

    Members
    -------
    i_kind, i_count, i_gain, i_fraction, i_floor : In
        As in `StatsRun`; stable. `i_count` is C.
    i_valid : In(1), i_sum, i_squares, i_most : In
        The sums of the values and of their squares, and the greatest value.
    o_valid : Out(1), o_record : Out(token_layout)
        The record, `latency` cycles after the sums.

    No back-pressure.
    """

    def __init__(self, terms):
        self._terms, self.layout = terms, token_layout(terms)
        # Taking, tripling, digits; difference, floor, shifts; table, terms, rounding.
        self.latency = 2 + PRODUCT_CYCLES + 2 + len(_SHIFTS) + 2 + terms
        super().__init__({
            "i_kind": In(Kind), "i_count": In(COUNT_BITS), "i_gain": In(4), "i_fraction": In(4),
            "i_floor": In(32), "i_valid": In(1), "i_sum": In(signed(SUM_BITS)),
            "i_squares": In(SQUARE_BITS), "i_most": In(signed(9)), "o_valid": Out(1),
            "o_record": Out(self.layout),
        })

    def elaborate(self, platform):
        m = Module()
        # Every row goes the same way in the same time: each action is a delay of its strobe.
        self._strobes = [self.i_valid]
        for number in range(self.latency):
            strobe = Signal(name=f"step{number + 1}")
            m.d.sync += strobe.eq(self._strobes[-1])
            self._strobes.append(strobe)
        total, spread, most = self._multiply(m)
        total, top, places, most = self._normalise(m, total, spread, most)
        self._finish(m, total, top, places, most)
        m.d.comb += self.o_valid.eq(self._strobes[-1])
        return m

    def _multiply(self, m):
        """Make ``C s2`` and ``s1^2``; return s1, both products, and the greatest value."""
        steps = self._strobes
        total = Signal(signed(SUM_BITS), reset_less=True)
        most = Signal(signed(9), reset_less=True)
        size = Signal(SUM_BITS - 1)
        m.d.comb += size.eq(Mux(self.i_sum < 0, -self.i_sum, self.i_sum))
        products = []
        for name, factor, digits in (("own", size, size),
                                     ("squares", self.i_squares, self.i_count)):
            once = Signal(len(factor), name=f"{name}_once", reset_less=True)
            thrice = Signal(len(factor) + 2, name=f"{name}_thrice", reset_less=True)
            left = Signal(2 * PRODUCT_CYCLES, name=f"{name}_left", reset_less=True)
            made = Signal(SPREAD_BITS, name=f"{name}_made", reset_less=True)
            digit = left[-2:]
            with m.If(steps[0]):
                m.d.sync += [once.eq(factor), left.eq(digits), made.eq(0)]
            with m.If(steps[1]):
                m.d.sync += thrice.eq(once + (once << 1))
            with m.If(Cat(steps[2:2 + PRODUCT_CYCLES]).any()):
                part = Mux(digit[1], Mux(digit[0], thrice, once << 1), Mux(digit[0], once, 0))
                m.d.sync += [made.eq((made << 2) + part), left.eq(left << 2)]
            products.append(made)
        with m.If(steps[0]):
            m.d.sync += [total.eq(self.i_sum), most.eq(self.i_most)]
        return total, products, most

    def _normalise(self, m, total, products, most):
        """Move the statistic up to its leading one.

        Return s1, the moved statistic, by how much it was moved, and the greatest value.
        """
        steps = self._strobes[2 + PRODUCT_CYCLES:]
        sums = self.i_kind == Kind.SUM
        total_now, most_now = (Signal.like(part, name=name) for part, name in (
            (total, "total_now"), (most, "most_now")))
        value = Signal(SPREAD_BITS, reset_less=True)
        moved = Signal(range(SPREAD_BITS), reset_less=True)
        with m.If(steps[0]):
            own = Mux(self.i_kind == Kind.LAYER, products[0], 0)
            m.d.sync += [total_now.eq(total), most_now.eq(most), moved.eq(0),
                         value.eq(Mux(sums, total, products[1] - own))]
        with m.If(steps[1] & (value < self.i_floor)):
            m.d.sync += value.eq(self.i_floor)
        for step, by in zip(steps[2:], _SHIFTS):
            here = step & (sums if by == 1 else 1)
            with m.If(here & ~value[-by:].any()):
                m.d.sync += [value.eq(value << by), moved.eq(moved + by)]
        return total_now, value, moved, most_now

    def _finish(self, m, total, value, moved, most):
        """Look the multiplier up, and multiply the mean by it."""
        steps = self._strobes[2 + PRODUCT_CYCLES + 2 + len(_SHIFTS):]
        record, kind = self.o_record, self.i_kind
        term = data.StructLayout({"exponent": 4, "negative": 1, "there": 1})
        entry = data.ArrayLayout(term, self._terms)
        m.submodules.table = table = Memory(shape=entry, depth=512, init=[
            [{"exponent": exponent, "negative": sign < 0, "there": 1}
             for sign, exponent in signed_digits(number, PRECISION)]
            for number in (*root_table(self._terms), *reciprocal_table(self._terms))])
        port = table.read_port()
        m.d.comb += [port.en.eq(steps[0]), port.addr.eq(Cat(value[-8:], kind == Kind.SUM))]
        mean = Signal.like(total)
        shift = Signal(range(64), reset_less=True)
        octave, greatest = Signal(signed(10)), Signal(signed(9), reset_less=True)
        ones = Signal(9)
        m.d.comb += [ones.eq((1 << self.i_fraction) - 1), octave.eq((greatest + ones) & ~ones)]
        norm = (kind == Kind.LAYER) | (kind == Kind.L2)
        exponent = SPREAD_BITS - 1 - norm - moved
        with m.If(steps[0]):
            m.d.sync += [
                mean.eq(Mux(kind == Kind.LAYER, total, 0)), greatest.eq(most), record.bias.eq(0),
                shift.eq(PRECISION - self.i_fraction
                         + Mux(kind == Kind.SUM, exponent, exponent >> 1)[:6]),
            ]
        gain = Mux(norm, self.i_gain, 0)
        with m.If(steps[1]):
            m.d.sync += record.shift.eq(Mux(kind == Kind.MAX, 0, shift))
            for number in range(self._terms):
                found, kept = port.data[number], record.m[number]
                m.d.sync += [kept.exponent.eq(found.exponent + gain),
                             kept.negative.eq(found.negative), kept.there.eq(found.there)]
            with m.If(kind == Kind.MAX):
                m.d.sync += record.bias.eq(-octave)
                for number in range(self._terms):
                    m.d.sync += [record.m[number].exponent.eq(0),
                                 record.m[number].negative.eq(0),
                                 record.m[number].there.eq(number == 0)]
        for number in range(self._terms):
            here = port.data[number]
            part = mean << here.exponent
            with m.If(steps[1 + number] & here.there & (kind == Kind.LAYER)):
                m.d.sync += record.bias.eq(Mux(here.negative, record.bias + part,
                                               record.bias - part))
        with m.If(steps[1 + self._terms]):
            rounding = Mux(record.shift == 0, 0, (Const(1, 32) << record.shift) >> 1)
            m.d.sync += record.bias.eq(record.bias + rounding)

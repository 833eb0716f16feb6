"""`A(v; m)`: the sum of signed shifts of a value, the only "multiplication" there is."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..formats import MAX_EXPONENT, apply_terms

__all__ = ["TERM", "TermSum", "add_levels", "record_terms", "shifted_terms", "sum_levels"]

TERM = data.StructLayout({"exponent": 5, "negative": 1, "present": 1})
"""One signed power of two."""


def record_terms(record, prefix, count):
    """Return the terms of one multiplier in a post-processing record as `TERM` bits."""
    terms = []
    for t in range(count):
        exponent, negative = record[f"{prefix}{t}_exponent"], record[f"{prefix}{t}_negative"]
        rest = Const(0, TERM["exponent"].width - len(exponent))
        terms.append(Cat(exponent, rest, negative, ~exponent.all()))
    return Cat(terms)


def sum_levels(count):
    """Return the levels of adders, one register each, that `add_levels` takes."""
    return (count - 1).bit_length()


def shifted_terms(m, value, terms, most=MAX_EXPONENT, enable=None, name="term"):
    """Shift a signed value by every term, into registers.

    Exponents must not be above `most`. A negative term is the one's complement of the shifted
    value with a carry of 1 still to be added, which an adder does for nothing.

    Returns
    -------
    (list of Signal, list of Signal)
        Values and carries, one cycle later.
    """
    operands, carries = [], []
    for index, term in enumerate(terms):
        exponent, shifted = term.exponent, value
        stages = [(1 << bit, exponent[bit]) for bit in range(most.bit_length())]
        if most == 16:
            # 16 = 1 + 1 + 2 + 4 + 8: the extra shift by one sits where the value is narrowest.
            top = exponent[4]
            stages = [(1, top), *((step, take | top) for step, take in stages[:4])]
        for number, (step, take) in enumerate(stages):
            width = min(len(shifted) + step, len(value) + most)
            wider = Signal(signed(width), name=f"{name}{index}_stage{number}")
            m.d.comb += wider.eq(Mux(take, shifted << step, shifted))
            shifted = wider
        operand = Signal(signed(len(value) + most), name=f"{name}{index}", reset_less=True)
        carry = Signal(name=f"{name}{index}_carry", reset_less=True)
        m.d.sync += [operand.eq(shifted ^ term.negative.replicate(len(operand)).as_signed()),
                     carry.eq(term.negative)]
        # Last assignment wins and becomes the flip-flops' synchronous reset: no LUT.
        with m.If(~(term.present if enable is None else term.present & enable)):
            m.d.sync += [operand.eq(0), carry.eq(0)]
        operands.append(operand)
        carries.append(carry)
    return operands, carries


def add_levels(m, operands, carries, width, name="sum"):
    """Add operands in pairs, a register after each level; every adder takes one carry in.

    Returns
    -------
    (Signal, list of Signal)
        The sum modulo ``2 ** width``, and the carries that found no adder, beside it.
    """
    level = 0
    while len(operands) > 1:
        level += 1
        above, rest = [], list(carries)
        for index in range(0, len(operands), 2):
            pair = operands[index:index + 2]
            grown = min(width, max(len(v) for v in pair) + len(pair) - 1)
            partial = Signal(signed(grown), name=f"{name}{level}_{index // 2}", reset_less=True)
            if len(pair) == 1:
                m.d.sync += partial.eq(pair[0])
            else:
                carry = rest.pop(0) if rest else None
                m.d.sync += partial.eq(add_carry(*pair, carry))
            above.append(partial)
        operands = above
        carries = [delay(m, carry, 1, f"{name}{level}_carry{k}") for k, carry in enumerate(rest)]
    return operands[0], carries


def add_carry(a, b, carry=None):
    """Return ``a + b + carry`` as one carry chain.

    Three operands would become a row of full adders and a chain. A bit below the others,
    the same in both operands, brings the carry in.
    """
    if carry is None:
        return a + b
    return (Cat(carry, a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()


class TermSum(wiring.Component):
    """Sum the signed shifts of a value.

    Parameters
    ----------
    value_width : int
        Bits of the signed value.
    terms : int
        Signed powers of two, 1..4.

    Members
    -------
    i_value : In(signed(value_width))
    i_terms : In(TERM x terms)
    i_enable : In(1)
        The result is 0 without it.
    o_sum : Out(signed), o_carry : Out(1)
        ``o_sum + o_carry`` is the result. (The carry waits for the adder that comes next.)

    Latency ``1 + sum_levels(terms)`` cycles, one result a cycle, no back-pressure.
    """

    def __init__(self, value_width, terms):
        if terms not in range(1, 5):
            raise ValueError(f"TermSum terms must be from 1 to 4, not {terms!r}")
        self._terms = terms
        self.latency = 1 + sum_levels(terms)
        self.sum_width = value_width + MAX_EXPONENT + sum_levels(terms)
        super().__init__({
            "i_value": In(signed(value_width)), "i_terms": In(data.ArrayLayout(TERM, terms)),
            "i_enable": In(1), "o_sum": Out(signed(self.sum_width)), "o_carry": Out(1),
        })

    @staticmethod
    def compute(value, terms):
        """Return the sum; `terms` are pairs (sign, exponent)."""
        return apply_terms(value, terms)

    def elaborate(self, platform):
        m = Module()
        terms = [self.i_terms[t] for t in range(self._terms)]
        operands, carries = shifted_terms(m, self.i_value, terms, enable=self.i_enable)
        total, carries = add_levels(m, operands, carries, self.sum_width)
        m.d.comb += [self.o_sum.eq(total), self.o_carry.eq(carries[0] if carries else Const(0))]
        return m

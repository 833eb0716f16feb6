"""One output channel of one group: the terms of all lanes and the tree that adds them up."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.adder_tree import adder_tree, tree_latency, tree_shape
from ..common.links import DIRECT

__all__ = ["L1Row", "ShiftRow", "SumRow"]


class _Row(wiring.Component):
    """Terms into registers, then the tree.

    Members
    -------
    i_x : In
        A vector, lane 0 in the low bits.
    i_codes : In, i_swap : In(1)
        Codes, likewise, and when they become active: for vectors from two cycles later on (none
        for `SumRow`).
    i_on : In(1)
        Low: the sum is 0 from the next cycle on.
    o_sum : Out
        Sum of the terms.
    i_use : In(1), o_terms : Out, o_carries : Out(lanes)
        Only with `tap`: what a `TapChain` takes, one cycle after the vector; all 0 where `i_use`
        is low with the vector, and so is then `o_sum` of a `ShiftRow`, which has no carries.

    Latency `latency` cycles, one vector a cycle, no back-pressure. No control state.

    `i_on`, a wire that reaches all rows, ends in a link; where that has a register the row must
    have no `tap`.
    """

    def __init__(self, lanes, x_width, code_width, term_shape, register_every, tap=False,
                 carries=False, links=DIRECT):
        self._lanes, self._register_every, self._tap = lanes, register_every, tap
        self._x_width, self._code_width, self._links = x_width, code_width, links
        members = {"i_x": In(lanes * x_width), "i_on": In(1, init=1),
                   "o_sum": Out(tree_shape([term_shape] * lanes))}
        if code_width:
            members |= {"i_codes": In(lanes * code_width), "i_swap": In(1)}
        if tap:
            members |= {"i_use": In(1), "o_terms": Out(lanes * Shape.cast(term_shape).width)}
            if carries:
                members["o_carries"] = Out(lanes)
        super().__init__(members)

    @property
    def latency(self):
        """Cycles from a vector to its sum."""
        return 1 + tree_latency(self._lanes, self._register_every)

    def _term(self, m, x, code, name):
        """Add the register of one lane's term and return it."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        on, codes = self._links.delay(m, self.i_on, "on"), None
        if self._code_width:
            codes = Signal.like(self.i_codes, name="codes", reset_less=True)
            swap = Signal(reset_less=True)
            m.d.sync += swap.eq(self.i_swap)
            with m.If(swap):
                m.d.sync += codes.eq(self.i_codes)
        terms = [self._term(m, self.i_x.word_select(lane, self._x_width),
                            None if codes is None else codes.word_select(lane, self._code_width),
                            str(lane))
                 for lane in range(self._lanes)]
        total, latency = adder_tree(m, terms, self._register_every)
        if latency:
            # A synchronous reset of the last register takes no logic.
            with m.If(~on):
                m.d.sync += total.eq(0)
            m.d.comb += self.o_sum.eq(total)
        else:
            m.d.comb += self.o_sum.eq(Mux(on, total, 0))
        return m


class L1Row(_Row):
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


class SumRow(_Row):
    """Add up unsigned bytes, as late as `L1Row` does."""

    def __init__(self, lanes, register_every=1, links=DIRECT):
        super().__init__(lanes, 8, 0, 8, register_every, links=links)

    def _term(self, m, x, code, name):
        waiting = Signal(8, name=f"waiting{name}", reset_less=True)
        m.d.sync += waiting.eq(x)
        return waiting


class ShiftRow(_Row):
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

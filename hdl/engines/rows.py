"""One output channel of one group: the terms of all lanes and the tree that adds them up."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.adder_tree import adder_tree, tree_latency, tree_shape
from ..common.links import DIRECT

__all__ = ["Row", "SumRow"]


class Row(wiring.Component):
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
        is low with the vector, and so is then `o_sum` of a row without carries.

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


class SumRow(Row):
    """Add up unsigned bytes, as late as rows of weights do."""

    def __init__(self, lanes, register_every=1, links=DIRECT):
        super().__init__(lanes, 8, 0, 8, register_every, links=links)

    def _term(self, m, x, code, name):
        waiting = Signal(8, name=f"waiting{name}", reset_less=True)
        m.d.sync += waiting.eq(x)
        return waiting

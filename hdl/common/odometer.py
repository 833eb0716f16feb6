"""Nested counters whose ends are known before they are reached."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Odometer"]


class Odometer(wiring.Component):
    """Count through nested loops, each from 1 to its limit, the first one innermost.

    Outputs are registers: what is decided by them begins with no comparison.

    Parameters
    ----------
    widths : dict of str to int
        Bits that count each loop.

    Members
    -------
    i_{name} : In
        Limits, from 1; stable from a start to the next.
    i_start : In(1)
        Strobe: all loops begin in the next cycle.
    i_step : In(1)
        Strobe: the next turn of the innermost loop; the first of all after the last of all.
    o_{name}_last : Out(1), o_last : Out(1)
        The loop is in its last turn; all of them are.
    """

    def __init__(self, widths):
        self._widths = dict(widths)
        members = {"i_start": In(1), "i_step": In(1), "o_last": Out(1)}
        for name, width in self._widths.items():
            members |= {f"i_{name}": In(width), f"o_{name}_last": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        moves, ends = self.i_step, Const(1)
        for name, width in self._widths.items():
            limit, last = getattr(self, f"i_{name}"), getattr(self, f"o_{name}_last")
            turn = Signal(width, name=name, reset_less=True)
            after, restarts = Signal(width, name=f"{name}_after"), self.i_start | last
            next_last = Signal(name=f"{name}_next_last")
            m.d.comb += [after.eq(turn + 1), next_last.eq(last)]
            with m.If(self.i_start | moves):
                m.d.comb += next_last.eq(Mux(restarts, limit == 1, after == limit))
                m.d.sync += turn.eq(Mux(restarts, 1, after))
            m.d.sync += last.eq(next_last)
            moves, ends = moves & last, ends & next_last
        m.d.sync += self.o_last.eq(ends)
        return m

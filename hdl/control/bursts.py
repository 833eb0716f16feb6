"""Bursts of a block and their positions: which are the last ones."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Bursts"]


class Bursts(wiring.Component):
    """Cut a block's positions into bursts of equal length, but for the last one.

    All outputs are registers: what is decided by them begins with no comparison.

    Parameters
    ----------
    count_width : int
        Bits that count the positions of a block.
    depth : int
        Most positions of a burst.

    Members
    -------
    i_total : In(count_width), i_burst : In(range(depth + 1))
        Positions of a block and of a burst, at least 1; stable while bursts are walked.
    i_start : In(1)
        Strobe: the first burst of a block from the next cycle on.
    i_next : In(1)
        Strobe: the next burst from the next cycle on; the first of a block after its last. The
        position is the last one, and stepped, if positions count.
    i_step : In(1)
        Strobe: the next position of this burst; the first after the last.
    o_last : Out(1)
        It is the last burst of a block.
    o_final : Out(range(depth))
        Its last position, counted from 0.
    o_position : Out(range(depth)), o_position_last : Out(1)
        The position, and whether it is the last one.
    """

    def __init__(self, count_width, depth):
        self._count_width = count_width
        super().__init__({
            "i_total": In(count_width), "i_burst": In(range(depth + 1)), "i_start": In(1),
            "i_next": In(1), "i_step": In(1), "o_last": Out(1), "o_final": Out(range(depth)),
            "o_position": Out(range(depth)), "o_position_last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # The last position of the block, counted from this burst's or the next one's first.
        after, ahead, beyond = (Signal(signed(self._count_width + 1), name=name, reset_less=True)
                                for name in ("after", "ahead", "beyond"))
        last = Signal()
        m.d.comb += [
            ahead.eq(Mux(self.i_start | last, self.i_total - 1, after)),
            beyond.eq(ahead - self.i_burst), last.eq(after < 0), self.o_last.eq(last),
        ]
        position, following = self.o_position, Signal.like(self.o_position)
        m.d.comb += following.eq(Mux(self.o_position_last, 0, position + 1))
        with m.If(self.i_step):
            m.d.sync += [position.eq(following),
                         self.o_position_last.eq(following == self.o_final)]
        with m.If(self.i_start):
            m.d.sync += position.eq(0)
        with m.If(self.i_start | self.i_next):
            m.d.sync += [
                after.eq(beyond), self.o_final.eq(Mux(beyond < 0, ahead, self.i_burst - 1)),
                self.o_position_last.eq(Mux(beyond < 0, ahead == 0, self.i_burst == 1)),
            ]
        return m

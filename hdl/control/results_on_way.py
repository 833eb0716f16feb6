"""Results on their way from their request to memory: whether any are, and of which burst."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ResultsOnWay"]


class ResultsOnWay(wiring.Component):
    """Count results that are requested and not stored yet.

    Parameters
    ----------
    tail : bool
        Know those of the last burst from those before.

    Members
    -------
    i_issue : In(1), i_written : In(1)
        Strobes: a result vector is requested; one is stored.
    i_burst_end : In(1), i_last_burst : In(1)
        Strobe: with `i_issue`, it is the last one of a burst; the burst is the layer's last.
    o_any : Out(1)
        Some are on their way.
    o_older : Out(1)
        Some of them belong to bursts before the one being drained; only with `tail`.
    """

    def __init__(self, tail):
        self._tail = tail
        super().__init__({
            "i_issue": In(1), "i_written": In(1), "i_burst_end": In(1), "i_last_burst": In(1),
            "o_any": Out(1), "o_older": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        in_flight = Signal(6)
        m.d.sync += in_flight.eq(in_flight + self.i_issue - self.i_written)
        m.d.comb += self.o_any.eq(in_flight != 0)
        if self._tail:
            # What the compute stage waits for begins in registers.
            older, left, none = Signal(6), Signal(6), Signal(init=1)
            m.d.comb += [left.eq(older), self.o_older.eq(~none)]
            with m.If(self.i_burst_end & ~self.i_last_burst):
                m.d.comb += left.eq(in_flight + 1 - self.i_written)
            with m.Elif(self.i_written & ~none):
                m.d.comb += left.eq(older - 1)
            m.d.sync += [older.eq(left), none.eq(left == 0)]
        return m

"""A register in a stream."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamRegister"]


class StreamRegister(wiring.Component):
    """Hand a stream on a cycle later, so that its payload and `valid` begin in registers.

    Parameters
    ----------
    shape : shape-like
        Of the payload.
    spare : bool
        Whether `i.ready` begins in a register too, which takes another one for a payload.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
    o_ahead : Out(1)
        `o.valid` of the next cycle.

    One payload a cycle; without `spare` `i.ready` follows `o.ready` in the same cycle.
    """

    def __init__(self, shape, *, spare=False):
        self._spare = spare
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "o_ahead": Out(1)})

    def elaborate(self, platform):
        m = Module()
        payload = Signal.like(self.o.payload, name="payload", reset_less=True)
        moves, comes, value = Signal(), self.i.valid, self.i.payload
        m.d.comb += [moves.eq(~self.o.valid | self.o.ready), self.o.payload.eq(payload)]
        if self._spare:
            # What comes when nothing moves waits, and goes first.
            waits, spare = Signal(), Signal.like(payload, name="spare", reset_less=True)
            comes, value = comes | waits, Mux(waits, spare, value)
            m.d.sync += waits.eq(comes & ~moves)
            m.d.comb += self.i.ready.eq(~waits)
            with m.If(~waits):
                m.d.sync += spare.eq(self.i.payload)
        else:
            m.d.comb += self.i.ready.eq(moves)
        m.d.comb += self.o_ahead.eq(comes | ~moves)
        m.d.sync += self.o.valid.eq(self.o_ahead)
        with m.If(moves):
            m.d.sync += payload.eq(value)
        return m

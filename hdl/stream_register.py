"""A register in a stream."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamRegister"]


class StreamRegister(wiring.Component):
    """Hand a stream on a cycle later, so that its payload and `valid` begin in registers.

    Parameters
    ----------
    shape : shape-like
        Of the payload.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
    o_ahead : Out(1)
        `o.valid` of the next cycle.

    One payload a cycle; `i.ready` follows `o.ready` in the same cycle.
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "o_ahead": Out(1)})

    def elaborate(self, platform):
        m = Module()
        payload = Signal.like(self.o.payload, name="payload", reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready), self.o.payload.eq(payload),
            self.o_ahead.eq(self.i.valid | (self.o.valid & ~self.o.ready)),
        ]
        m.d.sync += self.o.valid.eq(self.o_ahead)
        with m.If(self.i.ready):
            m.d.sync += payload.eq(self.i.payload)
        return m

"""Performance counters that share one adder."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .isa import Counter

__all__ = ["COUNTER_WIDTH", "Counters"]

COUNTER_WIDTH = 40
"""Bits of a counter; read as 8 bytes."""


class Counters(wiring.Component):
    """Count strobes, one counter for each `Counter`.

    Every counter has 4 bits of its own; their contents move into a 40-bit memory word, one
    counter a cycle in turn, so that a single wide adder serves all.

    Members
    -------
    i_increment : In(8)
        Bit k counts `Counter` k; may be high in every cycle.
    i_clear : In(1)
        Strobe: all counters are 0 from the next cycle on (increments in this cycle are lost).
    i_read : stream of 6 bits
        Byte address: counter * 8 + byte, little endian. Bytes 5 to 7 are 0.
    o_read : stream of 8 bits
        The byte. Reading byte 0 keeps a copy of the counter for its other bytes, so that a
        counter read from byte 0 up is consistent while it counts. At most 10 cycles after the
        address; what was counted 10 cycles before is in it. One byte at a time.
    """

    i_increment: In(len(Counter))
    i_clear: In(1)
    i_read: In(stream.Signature(6))
    o_read: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.values = values = memory.Memory(
            shape=COUNTER_WIDTH, depth=len(Counter), init=[])
        read, write = values.read_port(), values.write_port()

        turn = Signal(range(len(Counter)))
        small = Array(Signal(4, name=f"small{k}") for k in range(len(Counter)))
        fresh = Signal(len(Counter), init=-1)  # the memory word is to be taken as 0
        value = Signal(COUNTER_WIDTH)
        m.d.sync += turn.eq(turn + 1)
        m.d.comb += [
            read.addr.eq(turn + 1),
            value.eq(Mux(fresh.bit_select(turn, 1), 0, read.data)),
            write.addr.eq(turn),
            write.data.eq(value + small[turn]),
            write.en.eq(~self.i_clear),
        ]
        for k in range(len(Counter)):
            increment = self.i_increment[k]
            m.d.sync += small[k].eq(Mux(turn == k, 0, small[k]) + increment)
            with m.If(turn == k):
                m.d.sync += fresh[k].eq(0)
            with m.If(self.i_clear):
                m.d.sync += [small[k].eq(0), fresh[k].eq(1)]

        copy = Signal(COUNTER_WIDTH, reset_less=True)
        address = Signal(6, reset_less=True)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_read.ready.eq(1)
                m.d.sync += address.eq(self.i_read.payload)
                with m.If(self.i_read.valid):
                    m.next = "REPLY"
                    with m.If(self.i_read.payload[:3] == 0):
                        m.next = "COPY"
            with m.State("COPY"):
                m.d.sync += copy.eq(value)
                with m.If(address[3:] == turn):
                    m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += self.o_read.valid.eq(1)
                with m.Switch(address[:3]):
                    for k in range(COUNTER_WIDTH // 8):
                        with m.Case(k):
                            m.d.comb += self.o_read.payload.eq(copy.word_select(k, 8))
                with m.If(self.o_read.ready):
                    m.next = "IDLE"
        return m

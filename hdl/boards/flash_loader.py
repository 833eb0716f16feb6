"""Plays commands out of an SPI flash before the host is heard."""

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..frames import FLASH_ADDRESS, SYNC

__all__ = ["FlashLoader"]

WAKE, READ = 0xab, 0x03
"""Commands: release from power-down, and read on from an address of 24 bits."""
COMMAND = 95
"""Slot of the first bit of READ, so that its last one ends a byte's eight slots; those of `WAKE`
are the first eight, and 87 are more than the 3 microseconds that a flash takes to wake up, up to
58 MHz."""


class FlashLoader(wiring.Component):
    """Stand between a line and an accelerator, and speak first: frames from a flash.

    A flash holds the frames of a load (BEGIN, WRITE ..., COMMIT) from `FLASH_ADDRESS` on, one
    behind the other. They are sent as a host would send them, and their replies are dropped. The
    line has its turn when the reply of COMMIT has been dropped, when the flash does not begin with
    a frame, or when a byte has come over the line, so that a host is heard whatever the flash
    holds.

    Members
    -------
    i, o : stream of 8 bits
        From the line, and to the accelerator.
    i_reply, o_reply : stream of 8 bits
        From the accelerator, and to the line.
    i_last, i_program : In(1)
        The byte of ``i_reply`` is the last one of a reply; a program is loaded.
    o_select, o_clock, o_data : Out(1), i_data : In(1)
        Of the flash: mode 0, half the clock's rate, ``o_select`` high where it is chosen; from
        registers.

    A byte takes 17 cycles, and waits for the accelerator.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    i_reply: In(stream.Signature(8))
    o_reply: Out(stream.Signature(8))
    i_last: In(1)
    i_program: In(1)
    o_select: Out(1)
    o_clock: Out(1)
    o_data: Out(1)
    i_data: In(1)

    def elaborate(self, platform):
        m = Module()
        active, reading, first = Signal(init=1), Signal(), Signal(init=1)
        # What the pins do in a slot of two cycles is decided at the end of the one before.
        slot, byte, full = Signal(range(128)), Signal(8, reset_less=True), Signal()
        bits = [0] * 128
        for start, value, count in ((0, WAKE, 8), (COMMAND, READ << 24 | FLASH_ADDRESS, 32)):
            bits[start:start + count] = [value >> (count - 1 - k) & 1 for k in range(count)]
        with m.If(active & ~full):
            m.d.sync += self.o_clock.eq(~self.o_clock)
            with m.If(self.o_clock):
                m.d.sync += [
                    slot.eq(slot + 1), byte.eq(Cat(self.i_data, byte[:-1])),
                    self.o_select.eq(reading | (slot < 8) | (slot >= COMMAND)),
                    self.o_data.eq(Array(C(bit, 1) for bit in bits)[slot]),
                    full.eq(reading & (slot[:3] == 7)), reading.eq(reading | (slot == 127)),
                ]
        with m.If(full & self.o.ready):
            m.d.sync += [full.eq(0), first.eq(0)]
        with m.If(self.i.valid | (full & first & (byte != SYNC[0]))
                  | (self.i_reply.valid & self.i_last & self.i_program)):
            m.d.sync += active.eq(0)
        with m.If(~active):
            m.d.sync += [self.o_select.eq(0), full.eq(0)]
        m.d.comb += [
            self.o.valid.eq(Mux(active, full, self.i.valid)),
            self.o.payload.eq(Mux(active, byte, self.i.payload)),
            self.i.ready.eq(~active & self.o.ready),
            self.o_reply.valid.eq(~active & self.i_reply.valid),
            self.o_reply.payload.eq(self.i_reply.payload),
            self.i_reply.ready.eq(active | self.o_reply.ready),
        ]
        return m

"""Replies to bytes: SYNC, header, status, data, CRC."""

from amaranth.hdl import Array, C, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..frames import CRC_BYTES, FRAME_VERSION, HEADER_BYTES, SYNC
from .bus import ReplyHeader
from .crc32 import Crc32

__all__ = ["FrameTx"]


class FrameTx(wiring.Component):
    """Send reply frames.

    Members
    -------
    i_reply : stream of `ReplyHeader`
        A reply; taken at once when nothing is being sent, and kept until it is out.
    i_data : stream of 8 bits
        The ``length`` bytes of data of the reply that was taken last.
    o : stream of 8 bits
        Bytes to the host, one a cycle from the cycle after the reply is taken (7 of header, the
        status, the data, 4 of CRC); they wait for the host and for the data.
    o_last : Out(1)
        The byte is the last one of its frame.
    """

    i_reply: In(stream.Signature(ReplyHeader))
    i_data: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    o_last: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32()
        reply = Signal(ReplyHeader, reset_less=True)
        length = Signal(16)  # of the payload, status included
        index = Signal(3)
        sent = Signal()
        m.d.comb += [
            sent.eq(self.o.valid & self.o.ready),
            length.eq(reply.length + 1),
            crc.i_data.eq(self.o.payload),
        ]
        head = Array([
            *(C(byte, 8) for byte in SYNC), C(FRAME_VERSION, 8), reply.sequence, reply.opcode,
            length[:8], length[8:], reply.as_value()[16:24]])
        assert len(head) == HEADER_BYTES + 1

        with m.If(sent):
            m.d.sync += index.eq(index + 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.i_reply.ready.eq(1), crc.i_start.eq(1)]
                m.d.sync += [reply.eq(self.i_reply.payload), index.eq(0)]
                with m.If(self.i_reply.valid):
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(head[index]),
                             crc.i_valid.eq(sent & (index >= len(SYNC)))]
                with m.If(sent & (index == len(head) - 1)):
                    m.d.sync += index.eq(0)
                    m.next = "DATA"
                    with m.If(reply.length == 0):
                        m.next = "CRC"
            with m.State("DATA"):
                m.d.comb += [self.o.valid.eq(self.i_data.valid), self.i_data.ready.eq(self.o.ready),
                             self.o.payload.eq(self.i_data.payload), crc.i_valid.eq(sent)]
                with m.If(sent):
                    m.d.sync += [reply.length.eq(reply.length - 1), index.eq(0)]
                    with m.If(reply.length == 1):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(crc.o_crc[:8]),
                             crc.i_valid.eq(sent), crc.i_turn.eq(1),
                             self.o_last.eq(index == CRC_BYTES - 1)]
                with m.If(sent & self.o_last):
                    m.next = "IDLE"
        return m

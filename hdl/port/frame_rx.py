"""Bytes to frames: find SYNC, check version, length and CRC, keep the payload."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.thermometer import above
from ..frames import CRC_BYTES, FRAME_VERSION, SYNC, Status
from .bus import FrameHeader
from .crc32 import Crc32

__all__ = ["FrameRx"]


class FrameRx(wiring.Component):
    """Receive frames; nothing leaves before a frame's CRC is right.

    The payload memory has two halves: while one frame is being executed, the next one is
    received. A frame that cannot be read becomes an error event in the same stream, and the hunt
    for SYNC goes on with the byte that gave it away. Bytes outside a frame are skipped.

    Members
    -------
    i : stream of 8 bits
        Bytes from the host. One byte a cycle; pauses for one cycle after a frame, and for longer
        only when a whole frame waits behind one that is still being executed.
    o_frame : stream of `FrameHeader`
        A frame or an error event, offered until it is taken, which also frees its payload. Two
        cycles after the last byte of the CRC when nothing is before it.
    o_payload : stream of 8 bits
        Payload of the offered frame from its start, one byte a cycle, the first one a cycle
        after the frame; what is not read is dropped when the frame is taken.
    o_pending : Out(1)
        Another frame or error event waits behind the offered one.
    """

    def __init__(self, config):
        self._max_payload = config.port.max_payload
        self._timeout = config.port.frame_timeout
        super().__init__({
            "i": In(stream.Signature(8)),
            "o_frame": Out(stream.Signature(FrameHeader)),
            "o_payload": Out(stream.Signature(8)),
            "o_pending": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32()
        m.submodules.payload = payload = memory.Memory(
            shape=8, depth=2 * self._max_payload, init=[], attrs={"no_rw_check": 1})
        write, read = payload.write_port(), payload.read_port()

        byte, take = self.i.payload, Signal()
        status = Signal(Status)
        sequence = Signal(8, reset_less=True)
        opcode = Signal(8, reset_less=True)
        length = Signal(16, reset_less=True)
        position = Signal(ceil_log2(self._max_payload) + 1)
        next_position = Signal.like(position)
        half = Signal()
        resync = Signal()  # the byte that gave an error away may be the first of SYNC
        silence = Signal(range(-1, self._timeout), init=self._timeout - 2)
        last, some = Signal(8 * CRC_BYTES, reset_less=True), Signal()  # checksum of a good frame
        load = Signal()
        release = Signal()

        m.d.comb += [
            take.eq(self.i.valid & self.i.ready),
            next_position.eq(position + 1),
            crc.i_data.eq(byte),
            write.addr.eq(Cat(position[:-1], half)),
            write.data.eq(byte),
            release.eq(self.o_frame.valid & self.o_frame.ready),
        ]

        def fail(code):
            m.d.sync += [status.eq(code), resync.eq(take & (byte == SYNC[0]))]
            m.next = "OFFER"

        def in_frame():
            m.d.comb += self.i.ready.eq(1)
            with m.If(take):
                m.d.sync += position.eq(next_position)
            with m.Elif(silence[-1]):
                fail(Status.TRUNCATED)

        m.d.sync += silence.eq(Mux(take, self._timeout - 2, silence - 1))
        with m.FSM():
            with m.State("SYNC0"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(take & (byte == SYNC[0])):
                    m.next = "SYNC1"
            with m.State("SYNC1"):
                m.d.comb += [self.i.ready.eq(1), crc.i_start.eq(1)]
                m.d.sync += [status.eq(Status.OK), sequence.eq(0), position.eq(0)]
                with m.If(take):
                    with m.If(byte == SYNC[1]):
                        m.next = "HEADER"
                    with m.Elif(byte != SYNC[0]):
                        m.next = "SYNC0"
            with m.State("HEADER"):
                in_frame()
                m.d.comb += crc.i_valid.eq(take)
                with m.If(take):
                    with m.Switch(position[:3]):
                        with m.Case(0):
                            with m.If(byte != FRAME_VERSION):
                                fail(Status.BAD_VERSION)
                        with m.Case(1):
                            m.d.sync += sequence.eq(byte)
                        with m.Case(2):
                            m.d.sync += opcode.eq(byte)
                        with m.Case(3):
                            m.d.sync += length.eq(byte)
                        with m.Default():
                            total = Cat(length[:8], byte)
                            m.d.sync += [length.eq(total), position.eq(0)]
                            m.next = "PAYLOAD"
                            with m.If(total == 0):
                                m.next = "CRC"
                            with m.Elif(above(total, self._max_payload)):
                                fail(Status.BAD_LENGTH)
            with m.State("PAYLOAD"):
                in_frame()
                m.d.comb += [crc.i_valid.eq(take), write.en.eq(take)]
                with m.If(take & (next_position == length[:len(position)])):
                    m.d.sync += position.eq(0)
                    m.next = "CRC"
            with m.State("CRC"):
                in_frame()
                m.d.comb += [crc.i_valid.eq(take), crc.i_turn.eq(1)]
                with m.If(take):
                    with m.If(byte != crc.o_crc[:8]):
                        fail(Status.BAD_CRC)
                    with m.Elif(position == CRC_BYTES - 1):
                        m.d.sync += resync.eq(0)
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [load.eq(~self.o_frame.valid),
                             self.o_pending.eq(self.o_frame.valid)]
                with m.If(load):
                    m.next = "SYNC0"
                    with m.If(resync):
                        m.next = "SYNC1"

        offered = self.o_frame.payload
        with m.If(load):
            m.d.sync += [
                self.o_frame.valid.eq(1),
                offered.status.eq(status),
                offered.sequence.eq(sequence),
                offered.opcode.eq(opcode),
                offered.length.eq(Mux(status == Status.OK, length[:len(position)], 0)),
                offered.again.eq(some & (crc.o_crc == last)),
                half.eq(~half),
            ]
            with m.If(status == Status.OK):
                m.d.sync += [some.eq(1), last.eq(crc.o_crc)]
        with m.Elif(release):
            m.d.sync += self.o_frame.valid.eq(0)

        self._play(m, read, half, release)
        return m

    def _play(self, m, read, half, release):
        """Add the way of the offered frame's payload out of the memory, into a register: block RAM
        is late with its words.
        """
        length = self.o_frame.payload.length
        index, there, moves = Signal(range(self._max_payload + 1)), Signal(), Signal()
        m.d.comb += [
            moves.eq(~self.o_payload.valid | self.o_payload.ready),
            read.en.eq(self.o_frame.valid & ~release & (index != length)
                       & (~there | moves)),
            read.addr.eq(Cat(index[:ceil_log2(self._max_payload)], ~half)),
        ]
        with m.If(moves):
            m.d.sync += [there.eq(0), self.o_payload.valid.eq(there),
                         self.o_payload.payload.eq(read.data)]
        with m.If(read.en):
            m.d.sync += [index.eq(index + 1), there.eq(1)]
        with m.If(release):
            m.d.sync += [index.eq(0), there.eq(0), self.o_payload.valid.eq(0)]

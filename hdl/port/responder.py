"""Answers to replies: the header, and the data of IDENTIFY, STATUS and READ."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import ISA_VERSION
from ..frames import REPLIES, REPLY_BIT, Command, State, Status
from ..isa import Space
from .bus import MemoryRead, ReplyHeader

__all__ = ["Answer", "Responder", "identity"]


class Answer(data.Struct):
    """What to reply."""

    sequence: 8
    opcode: 8
    """Of the command."""
    status: Status
    length: 13
    """Bytes of data."""
    state: State
    layers_done: 16
    space: Space
    """READ: where the next byte is."""
    address: 32


def identity(config):
    """Return the data of an IDENTIFY reply."""
    values = {
        "isa": ISA_VERSION, "hash": int.from_bytes(config.hash, "little"),
        "groups": config.groups, "max_payload": config.port.max_payload,
    }
    return b"".join(values[name].to_bytes(size, "little")
                    for name, size in REPLIES[Command.IDENTIFY])


class Responder(wiring.Component):
    """Hand a reply and its data to `FrameTx`.

    Members
    -------
    i_answer : stream of `Answer`
        Taken when its last byte has been handed on (without data: as soon as the frame before
        is out).
    o_step : Out(1)
        Strobe: the answer's address moves on to the next byte.
    o_read, i_read
        See `CommandPort`; a byte takes 3 cycles and the time of the memory.
    o_reply, o_data
        To `FrameTx`.
    """

    def __init__(self, config):
        self._identity = identity(config)
        super().__init__({
            "i_answer": In(stream.Signature(Answer)),
            "o_step": Out(1),
            "o_read": Out(stream.Signature(MemoryRead)),
            "i_read": In(stream.Signature(8)),
            "o_reply": Out(stream.Signature(ReplyHeader)),
            "o_data": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        answer, header = self.i_answer.payload, self.o_reply.payload
        sent = Signal(13)
        byte = Signal(8, reset_less=True)
        m.d.comb += [
            header.sequence.eq(answer.sequence),
            header.opcode.eq(answer.opcode | REPLY_BIT),
            header.status.eq(answer.status),
            header.length.eq(answer.length),
            self.o_read.payload.space.eq(answer.space),
            self.o_read.payload.address.eq(answer.address),
        ]
        with m.Switch(answer.opcode):
            with m.Case(Command.IDENTIFY.value):
                with m.Switch(sent[:4]):
                    for k, value in enumerate(self._identity):
                        with m.Case(k):
                            m.d.comb += self.o_data.payload.eq(value)
            with m.Case(Command.STATUS.value):
                with m.Switch(sent[:2]):
                    with m.Case(0):
                        m.d.comb += self.o_data.payload.eq(answer.state)
                    with m.Case(1):
                        m.d.comb += self.o_data.payload.eq(answer.layers_done[:8])
                    with m.Default():
                        m.d.comb += self.o_data.payload.eq(answer.layers_done[8:])
            with m.Default():
                m.d.comb += self.o_data.payload.eq(byte)

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.o_reply.valid.eq(self.i_answer.valid)
                m.d.sync += sent.eq(0)
                with m.If(self.i_answer.valid & self.o_reply.ready):
                    with m.If(answer.length == 0):
                        m.d.comb += self.i_answer.ready.eq(1)
                    with m.Elif(answer.opcode == Command.READ.value):
                        m.next = "ASK"
                    with m.Else():
                        m.next = "SEND"
            with m.State("ASK"):
                m.d.comb += self.o_read.valid.eq(1)
                with m.If(self.o_read.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.i_read.ready.eq(1)
                m.d.sync += byte.eq(self.i_read.payload)
                with m.If(self.i_read.valid):
                    m.d.comb += self.o_step.eq(1)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o_data.valid.eq(1)
                with m.If(self.o_data.ready):
                    m.d.sync += sent.eq(sent + 1)
                    with m.If(sent + 1 == answer.length):
                        m.d.comb += self.i_answer.ready.eq(1)
                        m.next = "HEADER"
                    with m.Elif(answer.opcode == Command.READ.value):
                        m.next = "ASK"
        return m

"""Frames to commands: arguments, length, and whether the frame is new."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..frames import ARGUMENTS, FRAME_ERROR, WITH_DATA, Command, Status
from .bus import FrameHeader

__all__ = ["CommandIntake", "Request", "argument"]


def _size(command):
    """Return the bytes of a command's arguments."""
    return sum(size for _, size in ARGUMENTS[command])


ARGUMENT_BYTES = max(map(_size, ARGUMENTS))


class Request(data.Struct):
    """A command with its arguments, or what to answer without executing it."""

    execute: 1
    status: Status
    """The answer if it is not to be executed."""
    sequence: 8
    opcode: 8
    """`FRAME_ERROR` for an error event."""
    arguments: 8 * ARGUMENT_BYTES
    length: 13
    """Bytes of data after the arguments."""


def _end(command):
    """Return the byte of a request's arguments behind those of a command.

    They are shifted in from the top, except that a WRITE begins where a READ does.
    """
    if command is Command.WRITE:
        return _end(Command.READ) - _size(Command.READ) + _size(Command.WRITE)
    return ARGUMENT_BYTES


def argument(request, command, name):
    """Return the bits of a command's argument."""
    start = _end(command) - _size(command)
    for field, size in ARGUMENTS[command]:
        if field == name:
            return request.arguments[8 * start:8 * (start + size)]
        start += size
    raise KeyError(name)


class CommandIntake(wiring.Component):
    """Read a command's arguments and decide whether it is to be executed.

    A frame that repeats the last answered one and changes anything is not executed again: its
    request carries the status of the first time.

    Members
    -------
    i_frame, i_payload
        From `FrameRx`.
    o_request : stream of `Request`
        Offered ``arguments + 3`` cycles after the frame, until it has been answered.
    o_data : stream of 8 bits
        The data of the offered request, one byte a cycle.
    i_status : In(Status)
        The answer's status, in the cycle in which the request is taken.
    i_rotate : In(1)
        Move the arguments round by a byte, the lowest of a WRITE to the top; after 5 times they
        are as before.
    """

    i_frame: In(stream.Signature(FrameHeader))
    i_payload: In(stream.Signature(8))
    o_request: Out(stream.Signature(Request))
    o_data: Out(stream.Signature(8))
    i_status: In(Status)
    i_rotate: In(1)

    def elaborate(self, platform):
        m = Module()
        frame, request = self.i_frame.payload, self.o_request.payload
        arguments = Signal(8 * ARGUMENT_BYTES, reset_less=True)
        left = Signal(range(ARGUMENT_BYTES + 1))
        status, execute = Signal(Status), Signal()
        answered = Signal(Status, reset_less=True)  # the status of the last frame's answer

        needs = Signal(range(ARGUMENT_BYTES + 1))
        known, with_data, replayed = Signal(), Signal(), Signal()
        with m.Switch(frame.opcode):
            for command in ARGUMENTS:
                with m.Case(command.value):
                    m.d.comb += [
                        known.eq(1), needs.eq(_size(command)),
                        with_data.eq(command in WITH_DATA),
                        replayed.eq(command not in (
                            Command.IDENTIFY, Command.STATUS, Command.READ)),
                    ]
        error = Signal()
        m.d.comb += [
            error.eq(frame.status != Status.OK),
            request.execute.eq(execute),
            request.status.eq(status),
            request.sequence.eq(frame.sequence),
            request.opcode.eq(Mux(error, FRAME_ERROR, frame.opcode)),
            request.arguments.eq(arguments),
            request.length.eq(frame.length - needs),
        ]

        fresh, answer = Signal(), Signal(Status)
        with m.If(error):
            m.d.comb += answer.eq(frame.status)
        with m.Elif(frame.again & replayed):
            m.d.comb += answer.eq(answered)
        with m.Elif(~known):
            m.d.comb += answer.eq(Status.UNKNOWN_COMMAND)
        with m.Elif(Mux(with_data, frame.length < needs, frame.length != needs)):
            m.d.comb += answer.eq(Status.BAD_LENGTH)
        with m.Else():
            m.d.comb += fresh.eq(1)

        incoming, moved = Signal(8), Signal.like(arguments)
        m.d.comb += [incoming.eq(self.i_payload.payload), moved.eq(Cat(arguments[8:], incoming))]
        with m.If(frame.opcode == Command.WRITE.value):
            m.d.comb += moved.word_select(_end(Command.WRITE) - 1, 8).eq(incoming)

        with m.FSM():
            with m.State("CHECK"):
                m.d.sync += [status.eq(answer), execute.eq(fresh), left.eq(needs)]
                with m.If(self.i_frame.valid):
                    m.next = "OFFER"
                    with m.If(fresh & (needs != 0)):
                        m.next = "ARGUMENTS"
            with m.State("ARGUMENTS"):
                m.d.comb += self.i_payload.ready.eq(1)
                with m.If(self.i_payload.valid):
                    m.d.sync += [arguments.eq(moved), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [
                    self.o_request.valid.eq(1),
                    self.o_data.valid.eq(self.i_payload.valid),
                    self.o_data.payload.eq(self.i_payload.payload),
                    self.i_payload.ready.eq(self.o_data.ready),
                    self.i_frame.ready.eq(self.o_request.ready),
                ]
                with m.If(self.i_rotate):
                    m.d.comb += incoming.eq(argument(request, Command.WRITE, "space"))
                    m.d.sync += arguments.eq(moved)
                with m.If(self.o_request.ready):
                    m.next = "CHECK"
                    with m.If(~error):
                        m.d.sync += answered.eq(self.i_status)
        return m

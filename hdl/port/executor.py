"""Carries out commands, one after the other."""

from contextlib import nullcontext

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..contents import NOTHING
from ..frames import ARGUMENTS, Command, State, Status
from ..isa import Space
from .bus import control_members
from .checks import Known, refusals
from .crc32 import Crc32
from .intake import Request, argument
from .responder import Answer, identity
from .space_cursor import SpaceCursor

__all__ = ["CommandExecutor"]


class CommandExecutor(wiring.Component):
    """Execute requests in order and answer each exactly once; all checks come before any effect.

    Members
    -------
    i_request, i_data
        From `CommandIntake`; taken together with the answer.
    o_rotate : Out(1)
        To `CommandIntake`.
    o_answer : stream of `Answer`
        To `Responder`.
    i_step : In(1)
        From `Responder`: the next byte of a READ.
    i_pending : In(1)
        Another frame waits: a STATUS that waits for the end of a run is answered at once.
    others
        See `CommandPort`.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        super().__init__({
            "i_request": In(stream.Signature(Request)),
            "i_data": In(stream.Signature(8)),
            "o_rotate": Out(1),
            "o_answer": Out(stream.Signature(Answer)),
            "i_step": In(1),
            "i_pending": In(1),
            **control_members(),
        })

    def elaborate(self, platform):
        m = Module()
        request = self.i_request.payload
        m.submodules.cursor = cursor = SpaceCursor(self._config)
        m.submodules.checksum = checksum = Crc32(self._contents.crc)
        known = Known(self._contents)
        known.compare(m, request, self._config, checksum.o_crc)
        is_read, in_program = Signal(), Signal()
        left, length = (Signal(range(self._config.port.max_payload + 1), name=name)
                        for name in ("left", "length"))
        status, state, layers_done = Signal(Status), Signal(State), Signal(16, reset_less=True)
        space = argument(request, Command.READ, "space")
        m.d.comb += [is_read.eq(request.opcode == Command.READ.value),
                     in_program.eq(space != Space.SCRATCH.value)]
        self._hand_out(m, cursor, checksum, known, Mux(
            is_read, argument(request, Command.READ, "length"), left))
        m.d.comb += [
            self.o_answer.payload.status.eq(status), self.o_answer.payload.length.eq(length),
            self.o_answer.payload.state.eq(state),
            self.o_answer.payload.layers_done.eq(layers_done),
        ]

        def finish(code, data_bytes=0):
            m.d.sync += [status.eq(code), length.eq(data_bytes)]
            m.next = "ANSWER"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += left.eq(request.length)
                with m.If(self.i_request.valid):
                    m.d.sync += [known.valid.eq(known.valid | known.untouched),
                                 known.untouched.eq(0)]
                    finish(request.status)
                    with m.If(request.execute):
                        m.next = "DECODE"
            with m.State("DECODE"):
                self._decode(m, cursor, checksum, known, finish)
            with m.State("CHECK"):
                with m.If(cursor.o_done):
                    finish(cursor.o_status)
                    with m.If(cursor.o_status == Status.OK):
                        with m.If(is_read):
                            finish(Status.OK, argument(request, Command.READ, "length"))
                        with m.Elif(in_program):
                            m.d.sync += left.eq(sum(s for _, s in ARGUMENTS[Command.WRITE]))
                            m.next = "COUNT-IN"
                        with m.Else():
                            m.next = "WRITE"
            # Only the arguments of a write that is carried out enter the checksum.
            with m.State("COUNT-IN"):
                m.d.comb += [self.o_rotate.eq(1), checksum.i_valid.eq(1),
                             checksum.i_data.eq(argument(request, Command.WRITE, "space"))]
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.d.sync += left.eq(request.length)
                    m.next = "WRITE"
            with m.State("WRITE"):
                passed = self._pass_data(m, self.o_write, left, after="DONE")
                m.d.comb += [cursor.i_step.eq(passed), checksum.i_valid.eq(passed & in_program)]
            with m.State("IMAGE"):
                with m.If(self._pass_data(m, self.o_image, left, after="UNFOLD")):
                    m.d.sync += known.image_count.eq(known.image_count + 1)
            with m.State("UNFOLD"):
                with m.If(~self.i_image_busy):
                    m.next = "DONE"
            with m.State("STATUS"):
                m.d.sync += [
                    layers_done.eq(self.i_layers_done),
                    state.eq(Mux(self.i_running, State.RUNNING,
                                 Mux(known.valid, State.IDLE, State.NO_PROGRAM))),
                ]
                wait = argument(request, Command.STATUS, "flags")[0]
                with m.If(~wait | ~self.i_running | self.i_pending):
                    finish(Status.OK, 3)
            with m.State("RESET"):
                m.d.comb += self.o_reset.eq(self.i_running)
                with m.If(~self.i_running):
                    m.next = "DONE"
            with m.State("DONE"):
                finish(Status.OK)
            with m.State("ANSWER"):
                m.d.comb += [self.o_answer.valid.eq(1), cursor.i_step.eq(self.i_step),
                             self.i_request.ready.eq(self.o_answer.ready)]
                with m.If(self.o_answer.ready):
                    m.next = "IDLE"
        return m

    def _hand_out(self, m, cursor, checksum, known, length):
        """Connect what comes from the request alone, whatever is done with it."""
        request, answer = self.i_request.payload, self.o_answer.payload
        space = argument(request, Command.READ, "space")
        m.d.comb += [
            cursor.i_space.eq(space),
            cursor.i_address.eq(argument(request, Command.READ, "address")),
            cursor.i_length.eq(length),
            answer.sequence.eq(request.sequence), answer.opcode.eq(request.opcode),
            answer.space.eq(space[:4]), answer.address.eq(cursor.o_address),
            self.o_write.payload.space.eq(space[:4]),
            self.o_write.payload.address.eq(cursor.o_address),
            self.o_write.payload.lane.eq(cursor.o_lane),
            self.o_write.payload.data.eq(self.i_data.payload),
            self.o_image.payload.eq(self.i_data.payload),
            self.o_image_start.group.eq(known.group),
            self.o_image_start.base.eq(argument(request, Command.IMAGE, "base")),
            self.o_run.resume.eq(argument(request, Command.RUN, "flags")[0]),
            self.o_run.layers.eq(argument(request, Command.RUN, "layers")),
            self.o_run.count.eq(argument(request, Command.RUN, "count")),
            self.o_program_valid.eq(known.valid | known.untouched),
            checksum.i_data.eq(self.i_data.payload),
        ]

    def _decode(self, m, cursor, checksum, known, finish):
        """Refuse a command, or begin to carry it out."""
        request = self.i_request.payload

        def address():
            m.d.comb += cursor.i_start.eq(1)
            m.next = "CHECK"

        def begin():
            m.d.comb += checksum.i_start.eq(1)
            m.d.sync += [known.valid.eq(0), known.loading.eq(1), known.image_open.eq(0)]
            finish(Status.OK)

        def commit():
            # Outside a load, the checksum is that of the program there is.
            m.d.sync += known.loading.eq(0)
            finish(Status.BAD_CHECKSUM)
            with m.If(known.right_crc):
                m.d.sync += known.valid.eq(1)
                finish(Status.OK)

        def image():
            with m.If(known.at_start):
                to = argument(request, Command.IMAGE, "group")
                m.d.comb += [self.o_image_start.strobe.eq(1), self.o_image_start.group.eq(to)]
                m.d.sync += [known.group.eq(to), known.image_open.eq(1),
                             known.image_count.eq(0)]
            m.next = "IMAGE"

        def run():
            m.d.comb += self.o_run.strobe.eq(1)
            finish(Status.OK)

        def status():
            m.next = "STATUS"

        def reset():
            m.d.comb += self.o_reset.eq(1)
            m.next = "RESET"

        effects = {
            Command.IDENTIFY: lambda: finish(Status.OK, len(identity(self._config))),
            Command.BEGIN: begin, Command.WRITE: address, Command.COMMIT: commit,
            Command.IMAGE: image, Command.RUN: run, Command.STATUS: status,
            Command.READ: address, Command.RESET: reset,
        }
        checks = refusals(self._config, request, known, self.i_running)
        with m.Switch(request.opcode):
            for command, effect in effects.items():
                with m.Case(command.value):
                    refused = checks.get(command, [])
                    for number, (condition, code) in enumerate(refused):
                        with m.Elif(condition) if number else m.If(condition):
                            finish(code)
                    with m.Else() if refused else nullcontext():
                        effect()

    def _pass_data(self, m, sink, left, after):
        """Hand the data on; return the condition for a byte that passes."""
        m.d.comb += [sink.valid.eq(self.i_data.valid & (left != 0)),
                     self.i_data.ready.eq(sink.ready & (left != 0))]
        with m.If(left == 0):
            m.next = after
        with m.If(sink.valid & sink.ready):
            m.d.sync += left.eq(left - 1)
        return sink.valid & sink.ready

"""Carries out commands, one after the other."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import above
from ..contents import NOTHING
from ..frames import ARGUMENTS, Command, State, Status
from ..isa import Space
from .bus import control_members
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
        config, request, answer = self._config, self.i_request.payload, self.o_answer.payload
        m.submodules.cursor = cursor = SpaceCursor(config)
        m.submodules.checksum = checksum = Crc32(self._contents.crc)

        def field(command, name):
            return argument(request, command, name)

        # What is known of the program and of the image under way.
        valid, loading, image_open = Signal(), Signal(), Signal()
        # No command yet since configuration: resets until then leave the first program valid, later
        # ones do not, so that a host sees them. Without contents nothing depends on initial values.
        untouched = Signal(init=1, reset_less=True) if self._contents.sections else Signal()
        image_count = Signal(24, reset_less=True)
        group = Signal(8, reset_less=True)

        is_read, in_program = Signal(), Signal()
        space = Signal(8)
        left = Signal(range(config.port.max_payload + 1))
        status, length = Signal(Status), Signal(range(config.port.max_payload + 1))
        state, layers_done = Signal(State), Signal(16, reset_less=True)
        m.d.comb += [
            is_read.eq(request.opcode == Command.READ.value),
            # READ and WRITE have space and address at the same place.
            space.eq(field(Command.READ, "space")),
            in_program.eq(space != Space.SCRATCH.value),
            cursor.i_space.eq(space),
            cursor.i_address.eq(field(Command.READ, "address")),
            cursor.i_length.eq(Mux(is_read, field(Command.READ, "length"), left)),
            answer.sequence.eq(request.sequence),
            answer.opcode.eq(request.opcode),
            answer.status.eq(status),
            answer.length.eq(length),
            answer.state.eq(state),
            answer.layers_done.eq(layers_done),
            answer.space.eq(space[:4]),
            answer.address.eq(cursor.o_address),
            self.o_write.payload.space.eq(space[:4]),
            self.o_write.payload.address.eq(cursor.o_address),
            self.o_write.payload.lane.eq(cursor.o_lane),
            self.o_write.payload.data.eq(self.i_data.payload),
            self.o_image.payload.eq(self.i_data.payload),
            self.o_image_start.group.eq(group),
            self.o_image_start.base.eq(field(Command.IMAGE, "base")),
            self.o_run.resume.eq(field(Command.RUN, "flags")[0]),
            self.o_run.layers.eq(field(Command.RUN, "layers")),
            self.o_run.count.eq(field(Command.RUN, "count")),
            self.o_program_valid.eq(valid | untouched),
            checksum.i_data.eq(self.i_data.payload),
        ]

        # A request lies there for a cycle before it is decoded: time for the long comparisons.
        right_config, right_crc, at_start, goes_on = (
            Signal(name=name, reset_less=True)
            for name in ("right_config", "right_crc", "at_start", "goes_on"))
        to, offset = field(Command.IMAGE, "group"), field(Command.IMAGE, "offset")
        m.d.sync += [
            right_config.eq(field(Command.BEGIN, "hash") == int.from_bytes(config.hash, "little")),
            right_crc.eq(field(Command.COMMIT, "crc") == checksum.o_crc),
            at_start.eq(offset == 0),
            goes_on.eq(image_open & (offset == image_count) & (to == group)),
        ]

        def finish(code, data_bytes=0):
            m.d.sync += [status.eq(code), length.eq(data_bytes)]
            m.next = "ANSWER"

        def pass_data(sink, after):
            """Hand the data on; the condition for a byte that passes."""
            m.d.comb += [sink.valid.eq(self.i_data.valid & (left != 0)),
                         self.i_data.ready.eq(sink.ready & (left != 0))]
            with m.If(left == 0):
                m.next = after
            with m.If(sink.valid & sink.ready):
                m.d.sync += left.eq(left - 1)
            return sink.valid & sink.ready

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += left.eq(request.length)
                with m.If(self.i_request.valid):
                    m.d.sync += [valid.eq(valid | untouched), untouched.eq(0)]
                    finish(request.status)
                    with m.If(request.execute):
                        m.next = "DECODE"
            with m.State("DECODE"):
                with m.Switch(request.opcode):
                    with m.Case(Command.IDENTIFY.value):
                        finish(Status.OK, len(identity(config)))
                    with m.Case(Command.BEGIN.value):
                        with m.If(self.i_running):
                            finish(Status.BUSY)
                        with m.Elif(~right_config):
                            finish(Status.WRONG_CONFIG)
                        with m.Else():
                            m.d.comb += checksum.i_start.eq(1)
                            m.d.sync += [valid.eq(0), loading.eq(1), image_open.eq(0)]
                            finish(Status.OK)
                    with m.Case(Command.WRITE.value):
                        with m.If((space == Space.COUNTERS.value)
                                  | above(space, max(s.value for s in Space))):
                            finish(Status.OUT_OF_RANGE)
                        with m.Elif(in_program & self.i_running):
                            finish(Status.BUSY)
                        with m.Elif(in_program & ~loading):
                            finish(Status.OUT_OF_ORDER)
                        with m.Else():
                            m.d.comb += cursor.i_start.eq(1)
                            m.next = "CHECK"
                    with m.Case(Command.COMMIT.value):
                        with m.If(self.i_running):
                            finish(Status.BUSY)
                        with m.Elif(~loading & ~valid):
                            finish(Status.OUT_OF_ORDER)
                        with m.Else():
                            # Outside a load, the checksum is that of the program there is.
                            m.d.sync += loading.eq(0)
                            finish(Status.BAD_CHECKSUM)
                            with m.If(right_crc):
                                m.d.sync += valid.eq(1)
                                finish(Status.OK)
                    with m.Case(Command.IMAGE.value):
                        base = field(Command.IMAGE, "base")
                        with m.If(~valid):
                            finish(Status.NO_PROGRAM)
                        with m.Elif(above(to, config.groups - 1)
                                    | above(base, config.memory.scratch_bytes - 1)):
                            finish(Status.OUT_OF_RANGE)
                        with m.Elif(at_start):
                            m.d.comb += [self.o_image_start.strobe.eq(1),
                                         self.o_image_start.group.eq(to)]
                            m.d.sync += [group.eq(to), image_open.eq(1), image_count.eq(0)]
                            m.next = "IMAGE"
                        with m.Elif(goes_on):
                            m.next = "IMAGE"
                        with m.Else():
                            finish(Status.OUT_OF_ORDER)
                    with m.Case(Command.RUN.value):
                        with m.If(~valid):
                            finish(Status.NO_PROGRAM)
                        with m.Elif(self.i_running):
                            finish(Status.BUSY)
                        with m.Else():
                            m.d.comb += self.o_run.strobe.eq(1)
                            finish(Status.OK)
                    with m.Case(Command.STATUS.value):
                        m.next = "STATUS"
                    with m.Case(Command.READ.value):
                        with m.If(in_program & (space != Space.COUNTERS.value)):
                            finish(Status.OUT_OF_RANGE)
                        with m.Elif(above(field(Command.READ, "length"),
                                          config.port.max_payload - 1)):
                            finish(Status.BAD_LENGTH)
                        with m.Elif(~in_program & self.i_running & (not config.reads_in_run)):
                            finish(Status.BUSY)
                        with m.Else():
                            m.d.comb += cursor.i_start.eq(1)
                            m.next = "CHECK"
                    with m.Case(Command.RESET.value):
                        m.d.comb += self.o_reset.eq(1)
                        m.next = "RESET"

            with m.State("CHECK"):
                with m.If(cursor.o_done):
                    finish(cursor.o_status)
                    with m.If(cursor.o_status == Status.OK):
                        with m.If(is_read):
                            finish(Status.OK, field(Command.READ, "length"))
                        with m.Elif(in_program):
                            m.d.sync += left.eq(sum(s for _, s in ARGUMENTS[Command.WRITE]))
                            m.next = "COUNT-IN"
                        with m.Else():
                            m.next = "WRITE"
            # Only the arguments of a write that is carried out enter the checksum.
            with m.State("COUNT-IN"):
                m.d.comb += [self.o_rotate.eq(1), checksum.i_valid.eq(1),
                             checksum.i_data.eq(field(Command.WRITE, "space"))]
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.d.sync += left.eq(request.length)
                    m.next = "WRITE"
            with m.State("WRITE"):
                passed = pass_data(self.o_write, after="DONE")
                m.d.comb += [cursor.i_step.eq(passed), checksum.i_valid.eq(passed & in_program)]
            with m.State("IMAGE"):
                with m.If(pass_data(self.o_image, after="UNFOLD")):
                    m.d.sync += image_count.eq(image_count + 1)
            with m.State("UNFOLD"):
                with m.If(~self.i_image_busy):
                    m.next = "DONE"
            with m.State("STATUS"):
                m.d.sync += [
                    layers_done.eq(self.i_layers_done),
                    state.eq(Mux(self.i_running, State.RUNNING,
                                 Mux(valid, State.IDLE, State.NO_PROGRAM))),
                ]
                wait = field(Command.STATUS, "flags")[0]
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

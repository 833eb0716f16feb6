"""The byte port of the accelerator: frames in, replies out, commands in between."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..contents import NOTHING
from ..frames import ARGUMENTS, Command
from ..isa import Space, space_bytes
from .bus import MemoryRead, control_members
from .executor import CommandExecutor
from .frame_rx import FrameRx
from .frame_tx import FrameTx
from .intake import CommandIntake
from .responder import Responder

__all__ = ["CommandPort"]


class CommandPort(wiring.Component):
    """Execute command frames (``docs/protocol.md``).

    One frame is received while the one before is executed and the reply to the one before that
    is sent. Data passes at one byte a cycle.

    Parameters
    ----------
    config : Config
    contents : Contents
        What the program memories hold from configuration on. It counts as a program until there is
        a load, or a reset after the first command.

    Members
    -------
    i, o : streams of 8 bits
        Bytes from and to the host.
    o_last : Out(1)
        The byte of ``o`` is the last one of a reply.
    o_write : stream of `MemoryWrite`
        Bytes for the memories, lanes of a word in order, words in order. Program memories get
        whole words, never while a run is going on. The range has been checked.
    o_read : stream of `MemoryRead`
        A byte to read from SCRATCH or COUNTERS. One at a time: the next one comes after the
        answer.
    i_read : stream of 8 bits
        The answer, any number of cycles later; it is taken at once (ready is high from the cycle
        after the request is taken).
    o_image_start : Out(ImageStart)
        Start of an image; the unfold unit forgets the one before. ``group`` holds until the next.
    o_image : stream of 8 bits
        Bytes of the image, from the cycle after the strobe on.
    i_image_busy : In(1)
        The unfold unit works on what it has taken. High from the cycle after a start or byte
        that gives it work, low when it waits for the next byte.
    o_run : Out(RunRequest)
        Start of a run.
    o_reset : Out(1)
        Stop the run: high for at least one cycle and until ``i_running`` is low.
    i_running : In(1)
        A run is going on: high from the first or second cycle after ``o_run.strobe``.
    i_layers_done : In(16)
        Layers completed, for STATUS.
    o_program_valid : Out(1)
        The program memories hold a whole program.
    """

    def __init__(self, config, contents=NOTHING):
        word = max(space_bytes(config, space) for space in Space)
        need = word + sum(size for _, size in ARGUMENTS[Command.WRITE])
        if config.port.max_payload < need:
            raise ValueError(f"Config.port.max_payload must hold a memory word and its address, "
                             f"{need} bytes, not {config.port.max_payload}")
        self._config = config
        self._contents = contents
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
            "o_last": Out(1),
            "o_read": Out(stream.Signature(MemoryRead)),
            "i_read": In(stream.Signature(8)),
            **control_members(),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rx = rx = FrameRx(self._config)
        m.submodules.intake = intake = CommandIntake()
        m.submodules.executor = executor = CommandExecutor(self._config, self._contents)
        m.submodules.responder = responder = Responder(self._config)
        m.submodules.tx = tx = FrameTx()
        connect(m, source=flipped(self.i), sink=rx.i)
        connect(m, frame=rx.o_frame, intake=intake.i_frame)
        connect(m, payload=rx.o_payload, intake=intake.i_payload)
        connect(m, request=intake.o_request, executor=executor.i_request)
        connect(m, data=intake.o_data, executor=executor.i_data)
        connect(m, answer=executor.o_answer, responder=responder.i_answer)
        connect(m, reply=responder.o_reply, tx=tx.i_reply)
        connect(m, data=responder.o_data, tx=tx.i_data)
        connect(m, source=tx.o, sink=flipped(self.o))
        connect(m, request=responder.o_read, memory=flipped(self.o_read))
        connect(m, memory=flipped(self.i_read), responder=responder.i_read)
        connect(m, writer=executor.o_write, memory=flipped(self.o_write))
        connect(m, image=executor.o_image, unfold=flipped(self.o_image))
        m.d.comb += [
            executor.i_pending.eq(rx.o_pending),
            executor.i_image_busy.eq(self.i_image_busy),
            executor.i_running.eq(self.i_running),
            executor.i_layers_done.eq(self.i_layers_done),
            intake.i_rotate.eq(executor.o_rotate),
            executor.i_step.eq(responder.o_step),
            intake.i_status.eq(executor.o_answer.payload.status),
            self.o_image_start.eq(executor.o_image_start),
            self.o_run.eq(executor.o_run),
            self.o_reset.eq(executor.o_reset),
            self.o_program_valid.eq(executor.o_program_valid),
            self.o_last.eq(tx.o_last),
        ]
        return m

"""Sequencer: fetches instructions and hands each layer to the compute stage, then to the store
stage.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.thermometer import above
from ..isa import LAYER, LOOP, Opcode
from ..ranges import narrowed

__all__ = ["LayerRun", "Sequencer"]


class LayerRun(data.Struct):
    """A layer at work: its fields, its positions in all slots, start strobe."""

    layer: LAYER.shape
    total: 32
    start: 1


class Sequencer(wiring.Component):
    """Run a program's instructions from `Opcode.LAYER` to `Opcode.END`.

    A layer goes to the *front* (what makes vectors and loads weights) as soon as that has done
    with the layer before, and from there to the *back* (what drains and stores results) as soon
    as the layer before is stored. The next instruction is fetched meanwhile. Without
    `Config.overlap` it is fetched when the layer is stored, and there is one set of registers for
    compute stage, store stage and fetch. The image slots of a layer and the turns of a loop may
    come from the RUN command.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_run : In(1), i_resume : In(1), i_layers : In(16), i_count : In(16)
        Start: from the first instruction or where the last run stopped; stop after so many
        layers (0: at END); run-time count.
    o_running : Out(1)
        A run is going on.
    o_layers_done : Out(16)
        Layers completed since a run that did not resume.
    o_layer_done : Out(1), o_between : Out(1)
        Strobe per completed layer; running, but no layer at work in the compute stage or back.
    o_address : Out(16), o_enable : Out(1), i_data : In(32)
        Program memory, synchronous read.
    o_compute : Out(LayerRun), o_store : Out(LayerRun)
        The layer, its positions in all slots, start strobe.
    i_compute_busy, i_store_busy : In(1)
        At work; valid from the cycle after the start strobe.
    o_stored : Out(1)
        The results of all layers before the one in the compute stage are stored.
    o_first : Out(1)
        No layer has started before since a run that did not resume.

    The compute stage takes a layer 1 cycle after it has done with the one before and that has gone
    to the store stage, if it has been fetched by then (`LAYER.words` + slots +
    `Timing.fetch_overhead` cycles after the start of the one before, or after it is stored); the
    store stage starts 1 cycle after the compute stage, or 1 cycle after it has ended.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "i_run": In(1), "i_resume": In(1), "i_layers": In(16), "i_count": In(16),
            "o_running": Out(1), "o_layers_done": Out(16), "o_layer_done": Out(1),
            "o_between": Out(1), "o_address": Out(16), "o_enable": Out(1), "i_data": In(32),
            "o_compute": Out(LayerRun), "i_compute_busy": In(1),
            "o_store": Out(LayerRun), "i_store_busy": In(1), "o_stored": Out(1),
            "o_first": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # The program counter runs ahead with the reads and ends behind the instruction.
        config = self._config
        pc = Signal(range(config.memory.program_words))
        count, limit, fetched = (Signal(16, name=name, reset_less=True)
                                 for name in ("count", "limit", "fetched"))
        words = [Signal(32, name=f"word{k}", reset_less=True) for k in range(LAYER.words)]
        staged = Signal(LAYER.shape)
        loop = Signal(LOOP.shape)
        opcode = Signal(Opcode)
        m.d.comb += [
            staged.as_value().eq(narrowed(config, LAYER, "layer", Cat(words))),
            loop.as_value().eq(Cat(words)), opcode.eq(self.i_data[:4]),
        ]

        # Reading: a word is asked for in one cycle and arrives in the next, or with `spread` is in
        # a register for the way to its place a cycle later; one bit goes from word to word with
        # them.
        arrives, reading, first = Signal(LAYER.words), Signal(), Signal()
        last_arrives = Signal()
        m.d.comb += self.o_address.eq(pc)
        with m.If(reading):
            m.d.comb += self.o_enable.eq(1)
        m.d.sync += arrives.eq(Mux(last_arrives, 0, Cat(first, arrives[:-1])))
        with m.If(reading & ~last_arrives):
            m.d.sync += pc.eq(pc + 1)
        late = int(config.build.links)
        data, final = delay(m, self.i_data, late, "data"), delay(m, last_arrives, late, "final")
        for word, here in zip(words, delay(m, arrives, late, "here"), strict=True):
            with m.If(here):
                m.d.sync += word.eq(data)

        loop_pc, loop_left = Signal.like(pc, reset_less=True), Signal(16, reset_less=True)
        loop_in, loop_out, loop_res = Signal(24), Signal(24), Signal(24)
        step_in, step_out, step_res = (Signal(24, name=f"step_{name}", reset_less=True)
                                       for name in ("in", "out", "res"))
        total = Signal(config.count_width, reset_less=True)
        slots = Signal(config.bits_of("layer.n_slots"), reset_less=True)
        free, launch, skip, idle = Signal(), Signal(), Signal(), Signal()
        layers_done = Signal(16)
        m.d.comb += [self.o_layers_done.eq(layers_done), skip.eq(launch & (total == 0))]

        # Counted a cycle later, while the run that has just ended is still going on.
        more_done = Signal(2)
        m.d.sync += [more_done.eq(self.o_layer_done + skip),
                     layers_done.eq(layers_done + more_done)]

        with m.FSM() as fsm:
            with m.State("HALT"):
                with m.If(self.i_run):
                    m.d.sync += [limit.eq(self.i_layers), count.eq(self.i_count), fetched.eq(0)]
                    with m.If(~self.i_resume):
                        m.d.sync += [pc.eq(0), layers_done.eq(0), loop_in.eq(0), loop_out.eq(0),
                                     loop_res.eq(0), self.o_first.eq(1)]
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [reading.eq(1), first.eq(1)]
                m.next = "WORDS"
            with m.State("WORDS"):
                # By the word that has arrived, not by the one that does: block RAM is late. So
                # `1 + late` words behind a short instruction have been read as well.
                short = (loop.opcode != Opcode.LAYER) & (loop.opcode != Opcode.LOOP)
                m.d.comb += [
                    reading.eq(~final if late else 1),
                    last_arrives.eq(
                        (arrives[1 + late] & short) | arrives[-1]
                        | (arrives[LOOP.words - 1] & (loop.opcode == Opcode.LOOP))),
                ]
                with m.If(final):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [total.eq(0),
                             slots.eq(Mux(staged.slots_from_run, count, staged.n_slots))]
                with m.Switch(loop.opcode):
                    with m.Case(Opcode.LAYER):
                        m.next = "TOTAL"
                    if config.loops:
                        with m.Case(Opcode.LOOP):
                            m.d.sync += [
                                loop_pc.eq(pc),
                                loop_left.eq(Mux(loop.count_from_run, count, loop.count)),
                                step_in.eq(loop.in_step), step_out.eq(loop.out_step),
                                step_res.eq(loop.res_step),
                                loop_in.eq(0), loop_out.eq(0), loop_res.eq(0)]
                            m.next = "READ"
                        with m.Case(Opcode.NEXT):
                            with m.If(above(loop_left, 1)):
                                m.d.sync += [
                                    pc.eq(loop_pc), loop_left.eq(loop_left - 1),
                                    loop_in.eq(loop_in + step_in), loop_out.eq(loop_out + step_out),
                                    loop_res.eq(loop_res + step_res)]
                            with m.Else():
                                m.d.sync += [pc.eq(pc - 1 - late),
                                             loop_in.eq(0), loop_out.eq(0), loop_res.eq(0)]
                            m.next = "READ"
                    with m.Default():  # a run that goes on finds it again
                        m.d.sync += pc.eq(pc - 2 - late)
                        m.next = "FINISH"
            with m.State("TOTAL"):
                with m.If(slots == 0):
                    m.next = "STAGED"
                with m.Else():
                    m.d.sync += [total.eq(total + staged.n_xy), slots.eq(slots - 1)]
            with m.State("STAGED"):
                m.d.comb += launch.eq(free)
                with m.If(free):
                    m.d.sync += fetched.eq(fetched + 1)
                    m.next = "READ"
                    with m.If(fetched + 1 == limit):
                        m.next = "FINISH"
                    if not config.build.overlap:
                        m.next = "PEEK"
            if not config.build.overlap:
                # The layer works on the words that were read. The next one is looked at only,
                # before the memory reads records.
                looked, end_next, ended = Signal(), Signal(), Signal()
                m.d.comb += end_next.eq(Mux(looked, opcode == Opcode.END, ended))
                m.d.sync += [looked.eq(0), ended.eq(end_next)]
                with m.State("PEEK"):
                    m.d.comb += self.o_enable.eq(1)
                    m.d.sync += looked.eq(1)
                    m.next = "WORK"
                with m.State("WORK"):
                    with m.If(self.o_layer_done | idle):
                        m.next = "READ"
                        with m.If((fetched == limit) | end_next):
                            m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(idle):
                    m.next = "HALT"
            m.d.comb += self.o_running.eq(~fsm.ongoing("HALT"))

        compute, store = self.o_compute, self.o_store
        looped = Signal(LAYER.shape)
        m.d.comb += [
            looped.eq(staged),
            looped.in_base.eq(staged.in_base + Mux(staged.loop_in, loop_in, 0)),
            looped.out_base.eq(staged.out_base + Mux(staged.loop_out, loop_out, 0)),
            looped.res_base.eq(staged.res_base + Mux(staged.loop_res, loop_res, 0)),
        ]
        # `waiting`: the layer in the compute stage has not gone to the store stage yet.
        waiting, compute_works, store_works = Signal(), Signal(), Signal()
        enter, hand_over = Signal(), Signal()
        m.d.comb += [
            free.eq(~compute.start & (~compute_works | ~(self.i_compute_busy | waiting))),
            enter.eq(launch & ~skip),
            self.o_layer_done.eq(store_works & ~store.start & ~self.i_store_busy),
            hand_over.eq(waiting & (~store_works | self.o_layer_done)),
            idle.eq(~compute_works & ~store_works),
            self.o_stored.eq(~waiting), self.o_between.eq(self.o_running & idle),
        ]
        m.d.sync += [
            compute.start.eq(enter), compute_works.eq(enter | (compute_works & ~free)),
            store.start.eq(hand_over),
            store_works.eq(hand_over | (store_works & ~self.o_layer_done)),
            waiting.eq(enter | (waiting & ~hand_over)),
        ]
        with m.If(compute.start):
            m.d.sync += self.o_first.eq(0)
        compute_layer, store_layer, compute_total, store_total = looped, looped, total, total
        if config.build.overlap:
            compute_layer, store_layer = (Signal(LAYER.shape, name=f"{name}_layer", reset_less=True)
                                       for name in ("compute", "store"))
            compute_total, store_total = (Signal.like(total, name=f"{name}_total", reset_less=True)
                                       for name in ("compute", "store"))
            with m.If(launch):
                m.d.sync += [compute_layer.eq(looped), compute_total.eq(total)]
            with m.If(hand_over):
                m.d.sync += [store_layer.eq(compute_layer), store_total.eq(compute_total)]
        m.d.comb += [compute.layer.eq(compute_layer), compute.total.eq(compute_total),
                     store.layer.eq(store_layer), store.total.eq(store_total)]
        return m

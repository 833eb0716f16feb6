"""Sequencer: fetches instructions and hands each layer to the compute stage, then to the store
stage.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.links import Links
from ..instruction import STORE_STAGE, compute_stage, instruction, opcodes, run_layout
from ..isa import Opcode
from ..ranges import narrowed

__all__ = ["Sequencer", "hand_records"]


class Sequencer(wiring.Component):
    """Run a program's instructions up to `Opcode.END`.

    A layer goes to the compute stage as soon as that has done with the layer before, and from there
    to the store stage as soon as the layer before is stored. When the next instruction is fetched,
    and which registers hold it, is a subclass's (`Stages` chooses one). The image slots of a layer
    may come from the RUN command.

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
        Strobe per completed layer; running, but no layer at work in either stage.
    o_address : Out(16), o_enable : Out(1), i_data : In(32)
        Program memory, synchronous read.
    o_compute : Out(compute_stage), o_store : Out(run_layout of STORE_STAGE)
        The layer's records, its positions in all slots, start strobe.
    i_compute_busy, i_store_busy : In(1)
        At work; valid from the cycle after the start strobe.
    o_stored : Out(1)
        The results of all layers before the one in the compute stage are stored.
    o_first : Out(1)
        No layer has started before since a run that did not resume.

    The compute stage takes a layer 1 cycle after it has done with the one before and that has gone
    to the store stage, if it has been fetched by then (the words of `instruction` + slots +
    `Timing.fetch_overhead` cycles after the start of the one before, or after it is stored); the
    store stage starts 1 cycle after the compute stage, or 1 cycle after it has ended.
    """

    def __init__(self, config):
        self._config, self._links = config, Links(config)
        self._format = instruction(config)
        super().__init__({
            "i_run": In(1), "i_resume": In(1), "i_layers": In(16), "i_count": In(16),
            "o_running": Out(1), "o_layers_done": Out(16), "o_layer_done": Out(1),
            "o_between": Out(1), "o_address": Out(16), "o_enable": Out(1), "i_data": In(32),
            "o_compute": Out(compute_stage(config)), "i_compute_busy": In(1),
            "o_store": Out(run_layout(config, *STORE_STAGE)), "i_store_busy": In(1),
            "o_stored": Out(1), "o_first": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # Strobes between fetching and handing out: the layer that is read may go on, and does.
        self._free, self._launch, self._skip, self._idle = (
            Signal(name=name) for name in ("free", "launch", "skip", "idle"))
        self._staged = Signal(self._format.shape, name="staged")
        self._total = Signal(self._config.count_width, name="total", reset_less=True)
        self._fetch(m)
        self._hand_out(m)
        return m

    def _read(self, m, first, reading, last_arrives):
        """Add the registers of an instruction's words; return the strobes of their arrival, and
        that the last one is in its place.

        A word is asked for in one cycle and arrives in the next, and at its place behind a link;
        one bit goes from word to word with them.
        """
        config, shape, links = self._config, self._format, self._links
        words = [Signal(32, name=f"word{k}", reset_less=True) for k in range(shape.words)]
        arrives = Signal(shape.words)
        m.d.sync += arrives.eq(Mux(last_arrives, 0, Cat(first, arrives[:-1])))
        data, final = links.delay(m, self.i_data, "data"), links.delay(m, last_arrives, "final")
        for word, here in zip(words, links.delay(m, arrives, "here"), strict=True):
            with m.If(here):
                m.d.sync += word.eq(data)
        raw = Cat(words)
        for name in shape.records:
            record = getattr(self._staged, name).as_value()
            m.d.comb += record.eq(narrowed(config, name, raw[:len(record)]))
            raw = raw[len(record):]
        return words[0][:4], arrives, final

    def _fetch(self, m):
        """Add what reads instructions, one after the other, until `END` or the last layer."""
        config, late, staged = self._config, self._links.cycles, self._staged
        free, launch, skip, idle = self._free, self._launch, self._skip, self._idle
        # The program counter runs ahead with the reads and ends behind the instruction.
        pc = Signal(range(config.memory.program_words))
        count, limit, fetched = (Signal(16, name=name, reset_less=True)
                                 for name in ("count", "limit", "fetched"))
        slots = Signal(config.bits_of("control.n_slots"), reset_less=True)
        total, layers_done = self._total, Signal(16)
        first, reading, last_arrives = Signal(), Signal(), Signal()
        number, arrives, final = self._read(m, first, reading, last_arrives)
        opcode = Signal(Opcode)
        m.d.comb += [opcode.eq(number), self.o_address.eq(pc)]
        is_known = [opcode == known for known in opcodes(config)]
        lengths = [instruction(config, known).words for known in opcodes(config)]
        with m.If(reading):
            m.d.comb += self.o_enable.eq(1)
        with m.If(reading & ~last_arrives):
            m.d.sync += pc.eq(pc + 1)

        # Counted a cycle later, while the run that has just ended is still going on.
        more_done = Signal(2)
        m.d.comb += [self.o_layers_done.eq(layers_done), skip.eq(launch & (total == 0))]
        m.d.sync += [more_done.eq(self.o_layer_done + skip),
                     layers_done.eq(layers_done + more_done)]

        with m.FSM() as fsm:
            with m.State("HALT"):
                with m.If(self.i_run):
                    m.d.sync += [limit.eq(self.i_layers), count.eq(self.i_count), fetched.eq(0)]
                    with m.If(~self.i_resume):
                        m.d.sync += [pc.eq(0), layers_done.eq(0), self.o_first.eq(1)]
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [reading.eq(1), first.eq(1)]
                m.next = "WORDS"
            with m.State("WORDS"):
                # By the word that has arrived, not by the one that does: block RAM is late. So
                # `1 + late` words behind a short instruction have been read as well.
                m.d.comb += [
                    reading.eq(~final if late else 1),
                    last_arrives.eq((arrives[1 + late] & ~Cat(is_known).any()) | Cat(
                        arrives[words - 1] & known for words, known in zip(
                            lengths, is_known, strict=True)).any()),
                ]
                with m.If(final):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [total.eq(0), slots.eq(Mux(staged.control.slots_from_run, count,
                                                       staged.control.n_slots))]
                m.next = "TOTAL"
                with m.If(~Cat(is_known).any()):  # a run that goes on finds it again
                    m.d.sync += pc.eq(pc - 2 - late)
                    m.next = "FINISH"
            with m.State("TOTAL"):
                with m.If(slots == 0):
                    m.next = "STAGED"
                with m.Else():
                    m.d.sync += [total.eq(total + staged.nest.n_xy), slots.eq(slots - 1)]
            with m.State("STAGED"):
                m.d.comb += launch.eq(free)
                with m.If(free):
                    m.d.sync += fetched.eq(fetched + 1)
                    self._leave(m, fetched + 1 == limit)
            self._wait(m, fetched == limit)
            with m.State("FINISH"):
                with m.If(idle):
                    m.next = "HALT"
            m.d.comb += self.o_running.eq(~fsm.ongoing("HALT"))

    def _leave(self, m, is_last):
        """Choose the state after that in which a layer goes to the compute stage."""
        raise NotImplementedError

    def _wait(self, m, was_last):
        """Add states of fetching, if there are more."""

    def _layers(self, m, hand_over):
        """Return records and positions of the compute stage, then those of the store stage."""
        raise NotImplementedError

    def _hand_out(self, m):
        """Add what starts layers in the compute stage, and then in the store stage."""
        free, launch = self._free, self._launch
        compute, store = self.o_compute, self.o_store
        # `waiting`: the layer in the compute stage has not gone to the store stage yet.
        waiting, compute_works, store_works = Signal(), Signal(), Signal()
        enter, hand_over = Signal(), Signal()
        m.d.comb += [
            free.eq(~compute.start & (~compute_works | ~(self.i_compute_busy | waiting))),
            enter.eq(launch & ~self._skip),
            self.o_layer_done.eq(store_works & ~store.start & ~self.i_store_busy),
            hand_over.eq(waiting & (~store_works | self.o_layer_done)),
            self._idle.eq(~compute_works & ~store_works),
            self.o_stored.eq(~waiting), self.o_between.eq(self.o_running & self._idle),
        ]
        m.d.sync += [
            compute.start.eq(enter), compute_works.eq(enter | (compute_works & ~free)),
            store.start.eq(hand_over),
            store_works.eq(hand_over | (store_works & ~self.o_layer_done)),
            waiting.eq(enter | (waiting & ~hand_over)),
        ]
        with m.If(compute.start):
            m.d.sync += self.o_first.eq(0)
        in_compute, compute_total, in_store, store_total = self._layers(m, hand_over)
        m.d.comb += [*hand_records(compute, in_compute), compute.total.eq(compute_total),
                     *hand_records(store, in_store), store.total.eq(store_total)]


def hand_records(port, records):
    """Return assignments that give a port the records that it has."""
    return [getattr(port, name).eq(getattr(records, name)) for name in port.shape().members
            if name not in ("total", "start")]

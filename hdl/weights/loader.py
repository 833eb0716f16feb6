"""Weight loader: fills the shadow registers of the running engine, one step ahead."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..engines.token import Load
from ..packing import codes_per_word
from ..records import Operand, Terms

__all__ = ["AheadLoader", "PlainLoader", "WeightLoader", "step_words"]


def step_words(config):
    """Return the most words with pads and the most with codes that a step can have."""
    return (config.most_pad_words,
            max(engine.load_words(config.weights.load_bits) for engine in config.engines.values()))


class WeightLoader(wiring.Component):
    """Take a step's words from the stream: pad values first, then codes.

    Members
    -------
    i_operand : In(Operand), i_terms : In(Terms)
        Of the running layer, stable from two cycles before its first word.
    i_stream : In(stream of load_bits), i_ahead : In(1)
        Words in step order, and `valid` of the next cycle; may stall in any cycle.
    i_take : In(1)
        The address generator moves on to the next step; only while `o_ready`.
    o_ready : Out(1)
        The next step's pads and codes are loaded (or end loading in this cycle).
    i_swap : In(1), i_swap_ahead : In(1)
        The address generator is at the next step, in this cycle and in the next one.
    o_hold : Out(1)
        It is, and the step is not `o_ready`: it has to wait.
    o_{engine} : Out(Load)
        Code words for each engine.
    o_swap : Out(1)
        One cycle after `i_take`: make the shadow codes active.
    o_pad : Out(read_lanes * 8)
        Active pad values, changed by `i_take`.

    A step's words take as many cycles as there are words; back-pressure is put on the stream
    while a loaded step has not been taken.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "i_operand": In(Operand.layout().shape), "i_terms": In(Terms.layout().shape),
            "i_stream": In(stream.Signature(config.weights.load_bits)), "i_ahead": In(1),
            "i_take": In(1), "i_swap": In(1), "i_swap_ahead": In(1),
            "o_ready": Out(1), "o_hold": Out(1), "o_swap": Out(1),
            "o_pad": Out(config.read_lanes * 8),
        } | {f"o_{name}": Out(Load(config.weights.load_bits)) for name in config.engines})

    def elaborate(self, platform):
        m = Module()
        operand = self.i_operand
        pad_bits = self._config.read_lanes * 8
        most = max(step_words(self._config))
        full, in_codes, codes_next = Signal(), Signal(), Signal()
        word = Signal(range(most))
        shadow, active = (Signal(pad_bits, name=name, reset_less=True)
                          for name in ("shadow", "active"))
        last, is_pad, kind_last, accept = Signal(), Signal(), Signal(), Signal()
        # A layer's first word comes two cycles after its start.
        some, some_next, final, final_next = (
            [Signal(name=f"{name}_{kind}") for kind in ("pads", "codes")]
            for name in ("some", "some_next", "final", "final_next"))

        def is_last(codes, final):
            """Return whether a word is a step's last one."""
            return Mux(~codes & some[0], final[0] & ~some[1], final[1])

        m.d.comb += [
            self.i_stream.ready.eq(~full), accept.eq(self.i_stream.valid & ~full),
            is_pad.eq(~in_codes & some[0]), kind_last.eq(Mux(is_pad, final[0], final[1])),
            last.eq(accept & is_last(in_codes, final)),
        ]
        # Pads and codes are counted by one counter, one after the other.
        coming = Signal(range(most + 1))
        m.d.comb += [coming.eq(word), codes_next.eq(in_codes)]
        with m.If(accept):
            m.d.comb += coming.eq(word + 1)
            with m.If(kind_last):
                m.d.comb += [coming.eq(0), codes_next.eq(~last)]
        m.d.sync += [word.eq(coming), in_codes.eq(codes_next)]
        for index, words in enumerate((operand.pad_words, operand.code_words)):
            m.d.comb += [some_next[index].eq(words != 0),
                         final_next[index].eq(coming + 1 == words[:most.bit_length()])]
            m.d.sync += [some[index].eq(some_next[index]), final[index].eq(final_next[index])]
        with m.If(self.i_take):
            m.d.sync += full.eq(0)
        with m.Elif(last):
            m.d.sync += full.eq(1)
        ends_next = self.i_ahead & is_last(codes_next, final_next)
        self._decide(m, full | last, ends_next, some, some_next)

        loaded = Signal(pad_bits)
        m.d.comb += loaded.eq(shadow)
        whole = 8 * codes_per_word(self._config.weights.load_bits, 8)
        for index in range(self._config.most_pad_words):
            low = index * whole
            high = min(low + whole, pad_bits)
            with m.If(accept & is_pad & (word == index)):
                m.d.comb += loaded[low:high].eq(self.i_stream.payload)
        m.d.sync += [shadow.eq(loaded), self.o_swap.eq(self.i_take)]
        self._take_pads(m, loaded, shadow, active, some[0])
        for name in self._config.engines:
            port, number = getattr(self, f"o_{name}"), self._config.number(name)
            m.d.comb += [
                port.valid.eq(accept & ~is_pad & (self.i_terms.engine == number)),
                port.index.eq(word),
                port.word.eq(self.i_stream.payload),
            ]
        return m

    def _decide(self, m, now, ahead, some, some_next):
        """Add what decides whether the address generator's pipeline moves.

        Parameters
        ----------
        m : Module
        now, ahead : Value
            The step's last word has come, or comes in the next cycle.
        some, some_next : list of Signal
            There are words with pads, and with codes, in this cycle and in the next. A layer
            without words has nothing to wait for.
        """
        raise NotImplementedError

    def _take_pads(self, m, loaded, shadow, active, some):
        """Add what makes pads active: those of words until now, if there are some."""
        raise NotImplementedError


class AheadLoader(WeightLoader):
    """What holds the pipeline begins in a register, and block RAM is late: what it gives goes no
    further than the shadow registers.
    """

    def _decide(self, m, now, ahead, some, some_next):
        ready = Signal(name="ready_ahead")
        m.d.comb += ready.eq((now & ~self.i_take) | ahead | ~(some_next[0] | some_next[1]))
        m.d.sync += [self.o_ready.eq(ready), self.o_hold.eq(self.i_swap_ahead & ~ready)]

    def _take_pads(self, m, loaded, shadow, active, some):
        with m.If(~some):
            m.d.sync += shadow.eq(0)
        with m.If(self.o_swap):
            m.d.sync += active.eq(shadow)
        m.d.comb += self.o_pad.eq(Mux(self.o_swap, shadow, active))


class PlainLoader(WeightLoader):
    """For the smallest devices, at low clocks: nothing waits in a register."""

    def _decide(self, m, now, ahead, some, some_next):
        m.d.comb += [self.o_ready.eq(now | ~(some[0] | some[1])),
                     self.o_hold.eq(self.i_swap & ~self.o_ready)]

    def _take_pads(self, m, loaded, shadow, active, some):
        with m.If(self.i_take):
            m.d.sync += active.eq(Mux(some, loaded, 0))
        m.d.comb += self.o_pad.eq(active)

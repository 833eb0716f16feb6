"""Weight loader: fills the shadow registers of the running engine, one step ahead."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .isa import LAYER, Engine
from .token import Load

__all__ = ["WeightLoader", "step_words"]


def step_words(config):
    """Return the most words with pads and the most with codes that a step can have."""
    return (-(-config.read_lanes * 8 // config.load_bits),
            max(engine.load_words(config.load_bits) for engine in config.engines.values()))


class WeightLoader(wiring.Component):
    """Take a step's words from the stream: pad values first, then codes.

    Members
    -------
    i_layer : In(LAYER)
        The running layer.
    i_stream : In(stream of load_bits)
        Words in step order; may stall in any cycle.
    i_take : In(1)
        The feeder moves on to the next step; only while `o_ready`.
    o_ready : Out(1)
        The next step's pads and codes are loaded (or end loading in this cycle).
    o_l1, o_shift : Out(Load)
        Code words for the engines.
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
            "i_layer": In(LAYER.shape),
            "i_stream": In(stream.Signature(config.load_bits)), "i_take": In(1),
            "o_ready": Out(1), "o_l1": Out(Load(config.load_bits)),
            "o_shift": Out(Load(config.load_bits)), "o_swap": Out(1),
            "o_pad": Out(config.read_lanes * 8),
        })

    def elaborate(self, platform):
        m = Module()
        layer = self.i_layer
        pad_bits = self._config.read_lanes * 8
        load_bits = self._config.load_bits
        most = max(step_words(self._config))
        # Pads and codes are counted by one counter, one after the other.
        pads, codes = layer.pad_words[:most.bit_length()], layer.code_words[:most.bit_length()]
        full, in_codes = Signal(), Signal()
        word, following, end = Signal(range(most)), Signal(range(most + 1)), Signal()
        shadow = Signal(pad_bits, reset_less=True)
        active = Signal(pad_bits)
        last, is_pad, accept = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i_stream.ready.eq(~full),
            accept.eq(self.i_stream.valid & self.i_stream.ready),
            is_pad.eq(~in_codes & (pads != 0)),
            following.eq(word + 1),
            end.eq(accept & (following == Mux(is_pad, pads, codes))),
            last.eq(end & (~is_pad | (codes == 0))),
            # A layer without words has nothing to wait for.
            self.o_ready.eq(full | last | ((pads == 0) & (codes == 0))),
        ]
        with m.If(accept):
            m.d.sync += word.eq(following)
        with m.If(end):
            m.d.sync += [word.eq(0), in_codes.eq(~last)]
        with m.If(self.i_take):
            m.d.sync += full.eq(0)
        with m.Elif(last):
            m.d.sync += full.eq(1)

        loaded = Signal(pad_bits)
        m.d.comb += loaded.eq(shadow)
        words_of_pads = -(-pad_bits // load_bits)
        for index in range(words_of_pads):
            low = index * load_bits
            high = min(low + load_bits, pad_bits)
            with m.If(accept & is_pad & (word == index)):
                m.d.comb += loaded[low:high].eq(self.i_stream.payload)
        m.d.sync += [shadow.eq(loaded), self.o_swap.eq(self.i_take)]
        with m.If(self.i_take):
            m.d.sync += active.eq(Mux(layer.pad_words == 0, 0, loaded))
        m.d.comb += self.o_pad.eq(active)
        for engine, port in ((Engine.L1, self.o_l1), (Engine.SHIFT, self.o_shift)):
            m.d.comb += [
                port.valid.eq(accept & ~is_pad & (layer.engine == engine)),
                port.index.eq(word),
                port.word.eq(self.i_stream.payload),
            ]
        return m

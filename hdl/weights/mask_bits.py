"""Mask bits: cuts the mask words of a layer into the bits that the weight expander asks for."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..instruction import run_layout

__all__ = ["MaskBits"]


class MaskBits(wiring.Component):
    """Show the next mask bits; begin again at the block's first bit with every burst.

    Words are cut into chunks of `width` bits, of which two are held.

    Members
    -------
    i_run : In(run_layout of nest, expansion)
        The layer, its positions in all slots, start strobe.
    i_stream : In(stream of load_bits)
        Words of every burst: those that hold a bit of the block, once per burst (`WeightFetch`).
    i_enable : In(1)
        Nothing changes in cycles without it, a start apart.
    o_ready : Out(1)
        There are `width` bits, or as many as are left of the block.
    o_bits : Out(width)
        They, the first one lowest.
    i_take : In(1), i_count : In, i_end : In(1)
        Go on by so many bits, 0 to `width`; it ends the burst. Only while `o_ready`.
    o_block_end, o_layer_end : Out(1)
        The burst is the last one of its block, of the layer.

    Takes back-pressure. A burst begins `BURST_RESTART` + 1 cycles after the end of the one
    before, if words do not lack; the first one 2 cycles after the first word.
    """

    def __init__(self, config):
        self._width, self._load_bits = config.expand_lanes, config.weights.load_bits
        super().__init__({
            "i_run": In(run_layout(config, "nest", "expansion")),
            "i_stream": In(stream.Signature(config.weights.load_bits)), "i_enable": In(1),
            "o_ready": Out(1), "o_bits": Out(self._width), "i_take": In(1),
            "i_count": In(range(self._width + 1)), "i_end": In(1),
            "o_block_end": Out(1), "o_layer_end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        nest, masks, width = self.i_run.nest, self.i_run.expansion, self._width
        bits = width.bit_length() - 1
        chunks = self._load_bits // width
        low, high = Signal(width, reset_less=True), Signal(width, reset_less=True)
        shift, held = Signal(range(width)), Signal()  # bits of `low` that are gone; `high` is there
        chunk, left = Signal(range(chunks)), Signal(signed(26))
        begin, block = Signal(range(self._load_bits)), Signal(16)
        positions = Signal.like(self.i_run.total)
        more, load = Signal(), Signal()
        m.d.comb += [
            more.eq(left > 0),  # chunks of the burst not loaded yet
            self.o_block_end.eq(positions <= nest.burst),
            self.o_layer_end.eq(self.o_block_end & (block == nest.n_blocks - 1)),
            self.o_bits.eq(Cat(low, high) >> shift),
            self.i_stream.ready.eq(load & ((chunk == chunks - 1) | (left <= width))),
        ]
        fresh = Signal(width)
        m.d.comb += fresh.eq(self.i_stream.payload.word_select(chunk, width))
        with m.If(load & self.i_stream.valid):
            m.d.sync += [left.eq(left - width), chunk.eq(chunk + 1)]

        # The next burst's first bit, and whether its block is the last one.
        first, number, last = Signal.like(begin), Signal.like(block), Signal()
        m.d.comb += [first.eq(begin), number.eq(block)]
        with m.If(self.o_block_end):
            m.d.comb += [first.eq(begin + masks.block_bits), number.eq(block + 1)]
        with m.If(self.i_run.start):  # only after the layer before has ended
            m.d.comb += [first.eq(masks.mask_bit), number.eq(0)]
        m.d.comb += last.eq(number == nest.n_blocks - 1)
        restart = [
            shift.eq(first[:bits]), chunk.eq(first[bits:]), held.eq(0), begin.eq(first),
            block.eq(number),
            left.eq(first[:bits] + Mux(last, masks.last_bits, masks.block_bits)),
        ]

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.i_run.start & masks.masked):
                    m.d.sync += [*restart, positions.eq(self.i_run.total)]
                    m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += load.eq(self.i_enable)
                with m.If(load & self.i_stream.valid):
                    m.d.sync += low.eq(fresh)
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += load.eq(self.i_enable & more)
                with m.If(load & self.i_stream.valid):
                    m.d.sync += [high.eq(fresh), held.eq(1)]
                with m.If(self.i_enable & (self.i_stream.valid | ~more)):
                    m.next = "TAKE"
            with m.State("TAKE"):
                after, over = Signal(range(2 * width)), Signal()
                m.d.comb += [
                    self.o_ready.eq(held | ~more),
                    after.eq(shift + self.i_count),
                    over.eq(self.i_take & (after >= width)),
                    load.eq(self.i_enable & more & (over | ~held)),
                ]
                with m.If(self.i_enable & self.i_take):
                    m.d.sync += shift.eq(after)
                    with m.If(over):
                        m.d.sync += [low.eq(high), held.eq(0)]
                with m.If(load & self.i_stream.valid):
                    m.d.sync += [high.eq(fresh), held.eq(1)]
                with m.If(self.i_enable & self.i_take & self.i_end):
                    m.d.sync += [*restart, positions.eq(Mux(
                        self.o_block_end, self.i_run.total, positions - nest.burst))]
                    m.next = "LOW"
                    with m.If(self.o_layer_end):
                        m.next = "IDLE"
        return m

"""Weight fetch: reads the weight words of a layer in the order in which steps use them."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.odometer import Odometer
from ..control.bursts import Bursts
from ..instruction import run_layout
from .loader import step_words

__all__ = ["WeightFetch"]


class WeightFetch(wiring.Component):
    """Stream the words of every burst: block by block, the block's words once per burst.

    The words of a masked layer's block are those that hold one of its mask bits; the next block
    may begin in the last of them.

    Members
    -------
    i_run : In(run_layout of nest, steps, operand, expansion)
        The layer in the compute stage, its positions in all slots, start strobe (layers without
        words produce nothing).
    o_address : Out(24), o_enable : Out(1), i_data : In(load_bits)
        Weight memory, synchronous read.
    o_stream : Out(stream of load_bits), o_ahead : Out(1)
        Words; `valid` of the next cycle.

    Latency 2 cycles from the start to the first word; one word a cycle; takes back-pressure.
    """

    def __init__(self, config):
        self._config, self._masks = config, config.weights.prototypes > 0
        super().__init__({
            "i_run": In(run_layout(config, "nest", "steps", "operand", "expansion")),
            "o_address": Out(24), "o_enable": Out(1), "i_data": In(config.weights.load_bits),
            "o_stream": Out(stream.Signature(config.weights.load_bits)), "o_ahead": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        run, nest, operand = self.i_run, self.i_run.nest, self.i_run.operand
        busy, valid = Signal(), Signal()
        depth = range(self._config.weights.words + 1)
        address, block_address = (Signal(depth, name=name, reset_less=True)
                                  for name in ("address", "block_address"))
        m.submodules.bursts = bursts = Bursts(self._config.count_width, self._config.burst_depth)
        # What is counted up to an end counts from 1, so that the ends need no subtraction.
        bits = self._config.counter_width
        block = Signal(bits("nest.n_blocks"), reset_less=True)
        most = depth if self._masks else range(sum(step_words(self._config)) + 1)
        word, words, unmasked = (Signal(most, name=name, reset_less=True)
                                 for name in ("word", "words", "unmasked"))
        masked, following = Signal(), Signal(depth)
        step, last = Signal(), Signal()
        burst_last = bursts.o_last
        # The steps of a burst, in the same nest as the address generator's.
        loops = ("digits", "chunks", "kx", "ky")
        m.submodules.steps = steps = Odometer({name: bits(f"steps.n_{name}") for name in loops})
        m.d.comb += [getattr(steps, f"i_{name}").eq(run.steps[f"n_{name}"]) for name in loops]
        # The first word is read a cycle after the start.
        m.d.sync += unmasked.eq(operand.pad_words + operand.code_words)
        step_ends = last & (steps.o_last | masked)
        m.d.comb += [
            words.eq(unmasked),
            masked.eq(run.expansion.masked if self._masks else 0),
            step.eq(busy & (~valid | self.o_stream.ready)),
            self.o_enable.eq(step), self.o_address.eq(address),
            self.o_stream.valid.eq(valid), self.o_stream.payload.eq(self.i_data),
            bursts.i_total.eq(run.total), bursts.i_burst.eq(nest.burst),
            bursts.i_start.eq(run.start), bursts.i_next.eq(step & step_ends),
            steps.i_start.eq(run.start), steps.i_step.eq(step & last),
            last.eq(word == words),
            following.eq(address + 1),
        ]
        if self._masks:
            # A masked layer's burst counts as one step with all words of the block.
            load_bits = len(self.i_data)
            log2 = load_bits.bit_length() - 1
            first, behind = Signal(log2), Signal(25)
            m.d.comb += behind.eq(first + Mux(block == nest.n_blocks, run.expansion.last_bits,
                                              run.expansion.block_bits))
            with m.If(masked):
                m.d.comb += words.eq((behind + load_bits - 1) >> log2)
                with m.If(last & burst_last & (behind[:log2] != 0)):
                    m.d.comb += following.eq(address)
            with m.If(step & last & burst_last):
                m.d.sync += first.eq(behind)
            with m.If(run.start):
                m.d.sync += first.eq(run.expansion.mask_bit)
        m.d.comb += self.o_ahead.eq(busy | (valid & ~self.o_stream.ready))
        m.d.sync += valid.eq(self.o_ahead)
        with m.If(step):
            m.d.sync += [address.eq(following), word.eq(word + 1)]
            with m.If(last):
                m.d.sync += word.eq(1)
            with m.If(step_ends):
                with m.If(burst_last):
                    m.d.sync += [block.eq(block + 1), block_address.eq(following)]
                    with m.If(block == nest.n_blocks):
                        m.d.sync += busy.eq(0)
                with m.Else():
                    m.d.sync += address.eq(block_address)
        with m.If(run.start):
            m.d.sync += [busy.eq(masked | (operand.pad_words != 0) | (operand.code_words != 0)),
                         address.eq(operand.w_base), block_address.eq(operand.w_base), block.eq(1),
                         word.eq(1)]
        return m

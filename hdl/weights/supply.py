"""Weight supply: from the weight memory to the engines' shadow registers."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..common.links import Links
from ..contents import NOTHING
from ..control.stages import Stages
from ..engines.token import Load
from ..instruction import hand, run_layout
from .expander import Expander, PrototypeWrite
from .fetch import WeightFetch

__all__ = ["WeightSupply"]


class WeightSupply(wiring.Component):
    """Fetch a layer's words, make those of masked layers, and load them one step ahead.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of the prototype memory, from configuration on.

    Members
    -------
    i_run : In(run_layout of nest, steps, chain, terms, operand, expansion)
        The layer in the compute stage, its positions in all slots, start strobe.
    i_prototype_write : In(PrototypeWrite)
        Host writes to the prototype memory.
    o_address : Out(24), o_enable : Out(1), i_data : In(load_bits)
        Weight memory, synchronous read.
    i_take, i_swap, i_swap_ahead : In(1), o_hold, o_swap : Out(1), o_{engine} : Out(Load)
        See `WeightLoader`.
    o_pad : Out(read_lanes * 8)
        Active pad values.

    Words come as `WeightFetch` and `Expander` make them, behind a link; the loader puts
    back-pressure on them.
    """

    def __init__(self, config, contents=NOTHING):
        self._config, self._contents = config, contents
        super().__init__({
            "i_run": In(run_layout(
                config, "nest", "steps", "chain", "terms", "operand", "expansion")),
            "i_prototype_write": In(PrototypeWrite),
            "o_address": Out(24), "o_enable": Out(1), "i_data": In(config.weights.load_bits),
            "i_take": In(1), "i_swap": In(1), "i_swap_ahead": In(1),
            "o_hold": Out(1), "o_swap": Out(1), "o_pad": Out(config.read_lanes * 8),
        } | {f"o_{name}": Out(Load(config.weights.load_bits)) for name in config.engines})

    def elaborate(self, platform):
        m = Module()
        config, run = self._config, self.i_run
        m.submodules.fetch = fetch = WeightFetch(config)
        m.submodules.loader = loader = Stages(config).loader(config)
        # Out of many block RAMs, and before the way to all rows.
        words, ahead = Links(config).stream(m, "word", fetch.o_stream, fetch.o_ahead)
        if config.weights.prototypes:
            m.submodules.expander = expander = Expander(config, self._contents)
            connect(m, words=words, expander=expander.i_stream)
            m.d.comb += [expander.i_ahead.eq(ahead), *hand(expander.i_run, run),
                         expander.i_write.eq(self.i_prototype_write)]
            words, ahead = expander.o_stream, expander.o_ahead
        connect(m, words=words, loader=loader.i_stream)
        m.d.comb += [
            *hand(fetch.i_run, run), fetch.i_data.eq(self.i_data),
            self.o_address.eq(fetch.o_address), self.o_enable.eq(fetch.o_enable),
            loader.i_ahead.eq(ahead), loader.i_operand.eq(run.operand),
            loader.i_terms.eq(run.terms), loader.i_take.eq(self.i_take),
            loader.i_swap.eq(self.i_swap), loader.i_swap_ahead.eq(self.i_swap_ahead),
            self.o_hold.eq(loader.o_hold), self.o_swap.eq(loader.o_swap),
            self.o_pad.eq(loader.o_pad),
            *(getattr(self, f"o_{name}").eq(getattr(loader, f"o_{name}"))
              for name in config.engines),
        ]
        return m

"""One engine with chains and accumulators of its own: what tests run and benchmarks measure."""

from amaranth.hdl import Module
from amaranth.lib import wiring

from .accumulator_array import AccumulatorArray
from .depthwise import Depthwise
from .registry import POOLING, engine_of

__all__ = ["LoneEngine"]


class LoneEngine(wiring.Component):
    """An engine, its `Chains` if there is a depthwise unit, and the `AccumulatorArray` of that
    engine alone.

    Parameters
    ----------
    config : Config
    name : str
        Of the engine.

    Members
    -------
    All ports of the parts but those between them and those that choose an engine.
    """

    def __init__(self, config, name):
        self._name, self._number = name, config.number(name)
        self.engine = engine = engine_of(name).array(config)
        self.results = results = AccumulatorArray(config, {name: engine})
        self.rows, self.lanes, self.latency = engine.rows, engine.lanes, results.latency(name)
        self.compute = engine.compute
        self.chains = None if name == POOLING else Depthwise(config).chains(engine)
        self._parts = [part for part in (engine, self.chains, results) if part is not None]
        self._inner = ("o_sums", "i_engine", "i_read_engine", f"i_{name}_sums",
                       *(f"{flow}_tap_{what}" for what in ("use", "terms", "carries")
                         for flow in "io"))
        if name != POOLING or not config.pool.maximum:
            self._inner += ("i_maximum",)
        super().__init__({
            port: member for part in self._parts
            for port, member in part.signature.members.items() if port not in self._inner})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.results = self.engine, self.results
        m.d.comb += [
            self.results.i_engine.eq(self._number), self.results.i_read_engine.eq(self._number),
            getattr(self.results, f"i_{self._name}_sums").eq(self.engine.o_sums),
        ]
        if self.chains is not None:
            m.submodules.chains = self.chains
            self.chains.connect(m, self.engine)
        for part in self._parts:
            for name in part.signature.members.keys() & self.signature.members.keys():
                mine, its = getattr(self, name), getattr(part, name)
                m.d.comb += mine.eq(its) if name.startswith("o_") else its.eq(mine)
        return m

"""One engine with accumulators of its own: what tests run and benchmarks measure."""

from amaranth.hdl import Module
from amaranth.lib import wiring

from ..isa import Engine
from .accumulator_array import AccumulatorArray
from .l1 import L1Engine
from .pool import PoolEngine
from .shift import ShiftEngine

__all__ = ["LoneEngine", "lone_l1", "lone_pool", "lone_shift"]

ENGINES = {Engine.L1: L1Engine, Engine.SHIFT: ShiftEngine, Engine.POOL: PoolEngine}


class LoneEngine(wiring.Component):
    """An engine and the `AccumulatorArray` of that engine alone.

    Members
    -------
    All ports of the engine but `o_sums`, all of `AccumulatorArray` but those that choose an engine.
    """

    def __init__(self, config, kind):
        self._kind = kind
        self.engine = engine = ENGINES[kind](config)
        self.results = results = AccumulatorArray(config, {kind: engine})
        self.rows, self.lanes, self.latency = engine.rows, engine.lanes, results.latency(kind)
        self.compute = engine.compute
        self._inner = ("o_sums", "i_engine", "i_l1", f"i_{kind.name.lower()}_sums")
        if kind != Engine.POOL or not config.pool.maximum:
            self._inner += ("i_maximum",)
        super().__init__({
            name: member for part in (engine, results)
            for name, member in part.signature.members.items() if name not in self._inner})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.results = self.engine, self.results
        m.d.comb += [
            self.results.i_engine.eq(self._kind), self.results.i_l1.eq(self._kind == Engine.L1),
            getattr(self.results, f"i_{self._kind.name.lower()}_sums").eq(self.engine.o_sums),
        ]
        for part in (self.engine, self.results):
            for name in part.signature.members.keys() & self.signature.members.keys():
                mine, its = getattr(self, name), getattr(part, name)
                m.d.comb += mine.eq(its) if name.startswith("o_") else its.eq(mine)
        return m


def lone_l1(config):
    """Return an L1 engine with accumulators of its own."""
    return LoneEngine(config, Engine.L1)


def lone_shift(config):
    """Return a shift engine with accumulators of its own."""
    return LoneEngine(config, Engine.SHIFT)


def lone_pool(config):
    """Return a pooling unit with accumulators of its own."""
    return LoneEngine(config, Engine.POOL)

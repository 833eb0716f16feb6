"""Accumulators of all engines: their sums accumulated, two banks in turn, and read for the store
unit.
"""

import functools
import operator

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.library import place
from ..common.links import Links
from ..common.technology import Technology
from .registry import POOLING
from .token import ResultRequest, Token

__all__ = ["AccumulatorArray", "result_latency"]

PART = 8
"""Accumulators that share addresses and control, where there are links."""


def result_latency(config):
    """Return the cycles from a result request to its values: read, gather (twice), finish."""
    return 3 + Links(config).cycles


def either(values):
    """Return the bitwise OR of all values, as a balanced tree."""
    values = list(values)
    while len(values) > 1:
        values = [functools.reduce(operator.or_, values[i:i + 2])
                  for i in range(0, len(values), 2)]
    return values[0]


class AccumulatorArray(wiring.Component):
    """Accumulate what one engine at a time makes of its vectors.

    Row i of every engine shares its accumulators, which are as wide as the widest of them; rows
    that engines of unsigned sums alone have are as wide as those need. Engines with an extra sum
    share its place, behind the rows of all.

    Parameters
    ----------
    config : Config
    engines : dict of str to BaseEngine
        By name.

    Members
    -------
    i_engine : In(2)
        The engine at work (`Config.number`). It may change when `o_busy` is low, up to a cycle
        before a valid token.
    i_token : In(Token)
        What accompanies a vector at that engine's input.
    i_maximum : In(1)
        Keep maxima instead of sums (pooling, only with `Config.pool.maximum`); like `i_engine`.
    i_{engine}_sums : In(groups x (rows + extra) x shape)
        The engine's `o_sums`, 0 of those that are not at work.
    o_busy : Out(1)
        A vector is on its way to the accumulators.
    o_last : Out(1)
        Strobe, `latency` after a token with `last`: its burst may be drained from the next cycle
        on.
    i_read : In(ResultRequest)
        Result vector to read. Any bank and position that is not filled in the same cycle.
    i_read_engine : In(2)
        Engine whose result it is.
    o_values : Out(post_width x signed(value_width))
        Results, `result_latency` cycles after `i_read`. Lane l is row
        ``vector * post_width + l``; with `serial` lane 0 is row `row`. Lanes without a row, and
        all lanes but the first with `serial`, mean nothing.

    Throughput: one vector and one result request a cycle, at any position. No back-pressure.
    """

    def __init__(self, config, engines):
        self._config, self._engines, self._links = config, dict(engines), Links(config)
        self._accumulators = Technology(config).accumulators
        self.rows = max(engine.rows for engine in engines.values())
        shared = [engine for engine in engines.values() if engine.shape.signed]
        self._shared = max((engine.rows for engine in shared), default=0)
        self._narrow = max((engine.shape.width for engine in engines.values()
                            if not engine.shape.signed), default=0)
        self._extra = max(engine.extra for engine in engines.values())
        widths = [engine.shape.width for engine in engines.values()]
        self._shape = signed(max(widths))
        super().__init__({
            "i_engine": In(2), "i_token": In(Token(config.burst_depth)),
            "o_busy": Out(1), "o_last": Out(1), "i_read": In(ResultRequest(config.burst_depth)),
            "i_read_engine": In(2), "i_maximum": In(1),
            "o_values": Out(data.ArrayLayout(Shape(config.value_width, True), config.post.width)),
        } | {f"i_{kind}_sums": In(engine.o_sums.shape())
             for kind, engine in engines.items()})

    def latency(self, kind):
        """Return the cycles from a token at an engine's input to its sums' being accumulated."""
        return self._engines[kind].latency + self._accumulators.latency - 1

    def elaborate(self, platform):
        m = Module()
        config = self._config
        here = {kind: Signal(name=f"is_{kind}") for kind in self._engines}
        m.d.comb += [signal.eq(self.i_engine == config.number(kind))
                     for kind, signal in here.items()]
        token = self._delayed(m, here)

        # Accumulators that are not asked for read as 0, so that OR gathers the others.
        request, count = self.i_read, self.rows + self._extra
        pools = self._engines.get(POOLING)
        maximum = pools.rows if pools is not None and config.pool.maximum else 0
        parts = []
        for group in range(config.groups):
            asked = Signal(name=f"drain{group}")
            m.d.comb += asked.eq(request.group == group)
            for own in self._links.split(count, PART):
                first = own.start
                maxima, wide = (min(max(limit - first, 0), len(own))
                                for limit in (maximum, self._shared))
                store = self._accumulators(
                    self._shape, count=len(own), depth=config.burst_depth, maximum=maxima,
                    maximum_bits=9, narrow=wide, narrow_width=self._narrow)
                m.submodules[f"accumulators{group}_{first}"] = place(
                    platform, store, len(own), maxima, wide)
                m.d.comb += [
                    store.i_token.eq(token), store.i_read.bank.eq(request.bank),
                    store.i_read.position.eq(request.position),
                ]
                if maxima:
                    m.d.comb += store.i_maximum.eq(self.i_maximum & here[POOLING])
                for k, i in enumerate(own):
                    wanted = asked
                    if i < self.rows:
                        wanted = asked & Mux(request.serial, request.row == i,
                                             request.vector == i // config.post.width)
                    m.d.comb += [store.i_select[k].eq(wanted),
                                 store.i_sums[k].eq(self._sum(m, group, i))]
                parts.append({i: Value.cast(store.o_values[k]) for k, i in enumerate(own)})
        self._finish(m, parts)
        return m

    def _delayed(self, m, here):
        """Return the token that goes to the accumulators, a cycle ahead of its sums."""
        latencies = {kind: engine.latency for kind, engine in self._engines.items()}
        settling, most = self._accumulators.latency, max(latencies.values())
        token, busy = None, Signal(most + settling - 1)
        for left in range(most, 0, -1):
            # What comes from a slower engine is on its way already.
            entering = self._links.delay(
                m, either([here[kind] for kind, own in latencies.items()
                           if own == left] or [Const(0)]), f"entering{left}")
            enters = Signal.like(self.i_token, name=f"enters{left}")
            m.d.comb += [enters.eq(self.i_token), enters.valid.eq(self.i_token.valid & entering)]
            if token is None:
                token = enters
            else:
                after = Signal.like(self.i_token, name=f"token{left}")
                m.d.sync += after.eq(token)
                token = Signal.like(self.i_token, name=f"now{left}")
                m.d.comb += token.eq(Mux(entering, enters, after))
            m.d.sync += busy[left + settling - 2].eq(token.valid)
        if settling > 1:
            m.d.sync += busy[:settling - 1].eq(busy[1:settling])
        m.d.comb += [
            self.o_busy.eq(self.i_token.valid | busy.any()),
            self.o_last.eq(delay(m, token.valid & token.last, settling, "last", reset=True)),
        ]
        return token

    def _sum(self, m, group, i):
        """Return what accumulator i of a group takes: the sum of the engine at work."""
        parts = []
        for kind, engine in self._engines.items():
            # The extra sum has its place behind the rows of all engines.
            row = i if i < engine.rows else engine.rows if i == self.rows and engine.extra else None
            if row is not None:
                wide = Signal(self._shape.width, name=f"{kind}{group}_{i}")
                m.d.comb += wide.eq(getattr(self, f"i_{kind}_sums")[group][row])
                parts.append(wide)
        return either(parts)

    def _finish(self, m, parts):
        """Add what reads the accumulators: gather rows, then make results of them."""
        config, request, width = self._config, self.i_read, self._shape.width

        def gather(rows, name):
            # Of each part first: it is a long way from there.
            found = [[part[i] for i in rows if i in part] for part in parts]
            found = [self._links.delay(m, either(values), f"{name}_part")
                     for values in found if values]
            gathered = Signal(width, name=name, reset_less=True)
            m.d.sync += gathered.eq(either(found))
            return gathered

        serial = delay(m, request.serial, result_latency(config) - 1, "serial")
        lanes = [gather(range(lane, self.rows, config.post.width), f"lane{lane}")
                 for lane in range(min(self.rows, config.post.width))]
        for i, lane in enumerate(lanes):
            value = lane
            if i == 0 and len(lanes) > 1:
                value = Signal(width, name="chosen")
                m.d.comb += value.eq(Mux(serial, either(lanes), lane))
            result = Signal(Shape(config.value_width, True), name=f"result{i}", reset_less=True)
            m.d.sync += result.eq(value.as_signed())
            if self._extra and i == 0:
                extra = gather([self.rows], "extra")
            for kind, engine in self._engines.items():
                if engine.extra:
                    with m.If(self.i_read_engine == config.number(kind)):
                        m.d.sync += result.eq(engine.result(value, extra))
            m.d.comb += self.o_values[i].eq(result)

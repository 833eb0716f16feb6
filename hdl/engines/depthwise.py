"""The depthwise unit: what layers need that run channel by channel (``docs/depthwise.md``).

The first rows of every engine hand out their terms; `Chains` add up what the same lane makes of one
column after the other, and `ChainedPool` lets the pooling unit accumulate their sums. `Depthwise`
is what the rest of the gateware asks: it adds these parts where a configuration has the unit, and
nothing where it has not.
"""

import functools
import operator

from amaranth.hdl import Cat, Const, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In

from ..common.delay_line import delay
from .base import BaseEngine
from .chains import CHAIN_LATENCY, Chains, tap_ports
from .registry import POOLING

__all__ = ["ChainedPool", "Depthwise"]


class ChainedPool(BaseEngine):
    """The pooling unit, and in its place the sums of chains: what accumulates is shared.

    Parameters
    ----------
    config : Config
        Has the unit.
    pool : PoolEngine

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`.
    i_depthwise : In(1)
        With a vector: the chains' sums count instead of it.
    i_chained : In(groups x pool_lanes x signed(pool_acc_width))
        Those sums, `CHAIN_LATENCY` cycles after the vector; 0 unless `i_depthwise`.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config, pool):
        self._pool = pool
        sums = data.ArrayLayout(data.ArrayLayout(pool.shape, pool.rows), config.groups)
        super().__init__(config, rows=pool.rows, lanes=pool.lanes, shape=pool.shape,
                         ports={"i_depthwise": In(1), "i_chained": In(sums)})

    @property
    def latency(self):
        """Cycles from a vector to its sums."""
        return CHAIN_LATENCY + 1

    def compute(self, vectors, maximum=False):
        """Return what the pooling unit makes of its vectors."""
        return self._pool.compute(vectors, maximum)

    def _sums(self, m, platform):
        m.submodules.pool = pool = self._pool
        m.d.comb += [pool.i_x.eq(self.i_x), pool.i_on.eq(self.i_on & ~self.i_depthwise)]
        found = []
        for group, values in enumerate(pool.o_sums):
            found.append([])
            for row, value in enumerate(values):
                # A vector's lane has nine bits.
                pooled = delay(m, value[:9], self.latency - 1 - pool.latency, f"x{group}_{row}")
                total = Signal(self._shape, name=f"sum{group}_{row}", reset_less=True)
                m.d.sync += total.eq(pooled.as_signed() | self.i_chained[group][row])
                with m.If(~self.i_on):
                    m.d.sync += total.eq(0)
                found[-1].append(total)
        return found


class Depthwise:
    """What follows from whether there is a depthwise unit.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    taps : int
        Rows of every engine, from the first on, that hand out their terms; 0 without the unit.
    """

    def __init__(self, config):
        self._config, self.taps = config, config.depthwise.columns
        self._channels = config.pool.lanes

    @property
    def latency(self):
        """Cycles by which the pooling unit's sums are later."""
        return CHAIN_LATENCY if self.taps else 0

    def tap_ports(self, lanes, term, carry):
        """Return the ports of an engine for `Chains` (see there), none without the unit."""
        if not self.taps:
            return {}
        return tap_ports(self.taps, min(lanes, self._channels), self._config.groups, term, carry)

    def tap(self, m, engine, group, rows):
        """Connect the rows of a group of an engine that are taps to its ports."""
        lanes = min(engine.lanes, self._channels)
        for k, row in enumerate(rows[:self.taps]):
            m.d.comb += row.i_use.eq(engine.i_tap_use[k])
        if self.taps:
            m.d.comb += engine.o_tap_terms[group].eq(
                Cat(row.o_terms[:lanes * engine.term.width] for row in rows[:self.taps]))
        if self.taps and engine.carry:
            m.d.comb += engine.o_tap_carries[group].eq(
                Cat(row.o_carries[:lanes] for row in rows[:self.taps]))

    def chains(self, engine):
        """Return the chains behind an engine, none without the unit."""
        if not self.taps:
            return None
        return Chains(engine, self.taps, min(engine.lanes, self._channels), self._config.groups)

    def pooling(self, pool):
        """Return the pooling unit of a configuration, made around a plain one."""
        return ChainedPool(self._config, pool) if self.taps else pool

    def connect(self, m, run, token, engines, accumulators):
        """Add the chains of all engines, from their vectors to the accumulators.

        Parameters
        ----------
        m : Module
        run : run_layout of terms, chain
            The layer in the compute stage.
        token : Token
            With the vectors at the engines; columns that warm chains up are not accumulated.
        engines : dict of str to BaseEngine
        accumulators : AccumulatorArray
        """
        if not self.taps:
            return
        parts = []
        for name in self._config.engines:
            m.submodules[f"{name}_chains"] = chains = self.chains(engines[name])
            parts.append(chains.o_chained)
            # A layer begins with empty chains: rows that it does not use may hold the last one's.
            m.d.comb += [
                chains.i_valid.eq(token.valid),
                chains.i_depthwise.eq(run.chain.depthwise & ~run.start
                                      & (run.terms.engine == self._config.number(name))),
                chains.i_use.eq(Cat(k + run.chain.warmup >= self.taps - 1
                                    for k in range(self.taps))),
            ]
            chains.connect(m, engines[name])
        pool = engines[POOLING]
        m.d.comb += [pool.i_depthwise.eq(run.chain.depthwise),
                     accumulators.i_token.valid.eq(token.valid & ~token.warmup)]
        for group, sums in enumerate(pool.i_chained):
            for lane, total in enumerate(sums):
                m.d.comb += total.eq(functools.reduce(operator.or_, [
                    chained[group][lane] for chained in parts if lane < len(chained[group])],
                    Const(0)))

    def accumulated_by(self, run):
        """Return the number of the engine whose sums a layer accumulates: chains' are pooling's."""
        if not self.taps:
            return run.terms.engine
        return Mux(run.chain.depthwise, self._config.number(POOLING), run.terms.engine)

    def columns(self, run, column):
        """Return a row's columns with those that only warm chains up, and whether one of these is
        the current one, counted from 1.
        """
        if not self.taps:
            return run.nest.n_x, Const(0)
        return run.nest.n_x + run.chain.warmup, column <= run.chain.warmup

    def rows_in_use(self, run, row, dense):
        """Return whether a step has codes for a row; `dense` says so where channels lie along rows.

        Channel by channel, rows are the kernel's columns.
        """
        if not self.taps:
            return dense
        return Mux(run.chain.depthwise,
                   (row + run.chain.warmup + 1 >= self.taps) & (row < self.taps), dense)

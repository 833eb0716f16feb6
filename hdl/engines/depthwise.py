"""The depthwise unit: what layers need that run channel by channel (``docs/depthwise.md``).

The first rows of every engine hand out their terms; `Chains` add up what the same lane makes of one
column after the other, and `ChainedPool` lets the pooling unit accumulate their sums. `Depthwise`
is what the rest of the gateware asks: it adds these parts where a configuration has the unit, and
nothing where it has not.
"""

import functools
import operator

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.library import place
from .base import BaseEngine
from .registry import POOLING

__all__ = ["CHAIN_LATENCY", "ChainedPool", "Chains", "Depthwise", "TapChain"]

CHAIN_LATENCY = 3
"""Cycles from a vector to its sums: register, term, chain."""


def chain_shape(term, carry, taps):
    """Return the shape that holds the sum of so many terms and their carries."""
    term = Shape.cast(term)
    return Shape(term.width + carry + (taps - 1).bit_length(), term.signed)


class TapChain(wiring.Component):
    """Delay and add: ``sum[k](t) = sum[k - 1](t - 1) + term[k](t)``, t counts vectors.

    Parameters
    ----------
    lanes, taps : int
    term : Shape
        Of a term without its carry.
    carry : bool
        Whether a term comes with a bit to be added to it.

    Members
    -------
    i_terms : In(taps * lanes terms), i_carries : In(taps * lanes)
        Terms of tap 0 first, lane 0 in the low bits; carries only with `carry`.
    i_valid : In(1)
        The terms are there: the chain moves on.
    i_on : In(1)
        Low: all sums are 0 from the next cycle on.
    o_sums : Out(lanes sums of `chain_shape`)
        The last tap's sums.

    Latency 1 cycle, one vector a cycle, no back-pressure.
    """

    def __init__(self, lanes, taps, term, carry):
        self._lanes, self._taps, self._term, self._carry = lanes, taps, Shape.cast(term), carry
        self._shape = chain_shape(term, carry, taps)
        members = {"i_terms": In(taps * lanes * self._term.width), "i_valid": In(1),
                   "i_on": In(1), "o_sums": Out(data.ArrayLayout(self._shape, lanes))}
        if carry:
            members["i_carries"] = In(taps * lanes)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for lane in range(self._lanes):
            before = None
            for tap in range(self._taps):
                index = tap * self._lanes + lane
                term = self.i_terms.word_select(index, self._term.width)
                total = term.as_signed() if self._term.signed else term
                if self._carry:
                    total = total + self.i_carries[index]
                if before is not None:
                    total = before + total
                after = Signal(self._shape, name=f"sum{tap}_{lane}", reset_less=True)
                with m.If(self.i_valid):
                    m.d.sync += after.eq(total)
                with m.If(~self.i_on):
                    m.d.sync += after.eq(0)
                before = after
            m.d.comb += self.o_sums[lane].eq(before)
        return m


class Chains(wiring.Component):
    """The chains behind the first rows of one engine: one for each group and channel.

    Parameters
    ----------
    config : Config
        Has the unit.
    engine : RowArray

    Members
    -------
    i_valid, i_depthwise : In(1), i_use : In(taps)
        With a vector at the engine: it is there; the layer works channel by channel on this
        engine; which rows are its taps.
    i_tap_terms, i_tap_carries : In
        The engine's `o_tap_terms` and `o_tap_carries`.
    o_tap_use : Out(taps)
        To the engine's `i_tap_use`.
    o_chained : Out(groups x channels sums of `chain_shape`)
        `CHAIN_LATENCY` cycles after their vectors; 0 unless `i_depthwise`.

    One vector a cycle, no back-pressure.
    """

    def __init__(self, config, engine):
        self._taps, self._term, self._carry = config.depthwise.columns, engine.term, engine.carry
        self._lanes = min(engine.lanes, config.pool.lanes)
        shape = chain_shape(engine.term, engine.carry, self._taps)
        super().__init__({
            "i_valid": In(1), "i_depthwise": In(1), "i_use": In(self._taps),
            "o_tap_use": Out(self._taps),
            "o_chained": Out(data.ArrayLayout(data.ArrayLayout(shape, self._lanes),
                                              config.groups)),
        } | {f"i{name.removeprefix('o')}": In(member.shape) for name, member
             in Depthwise(config).tap_ports(engine.lanes, engine.term, engine.carry).items()
             if name.startswith("o_")})

    def elaborate(self, platform):
        m = Module()
        on, use = Signal(), Signal(self._taps)
        m.d.sync += [on.eq(self.i_depthwise), use.eq(self.i_use)]
        m.d.comb += self.o_tap_use.eq(~on.replicate(self._taps) | use)
        chain_valid = delay(m, self.i_valid, CHAIN_LATENCY - 1, "valid", reset=True)
        chain_on = delay(m, on, CHAIN_LATENCY - 2, "on", reset=True)
        for group, sums in enumerate(self.o_chained):
            chain = TapChain(self._lanes, self._taps, self._term, self._carry)
            m.submodules[f"chain{group}"] = place(
                platform, chain, self._lanes, self._taps, self._term.width, self._term.signed,
                self._carry)
            m.d.comb += [chain.i_terms.eq(self.i_tap_terms[group]),
                         chain.i_valid.eq(chain_valid), chain.i_on.eq(chain_on),
                         sums.eq(chain.o_sums)]
            if self._carry:
                m.d.comb += chain.i_carries.eq(self.i_tap_carries[group])
        return m

    def connect(self, m, engine):
        """Connect the engine's ports for chains."""
        m.d.comb += [engine.i_tap_use.eq(self.o_tap_use),
                     self.i_tap_terms.eq(engine.o_tap_terms)]
        if self._carry:
            m.d.comb += self.i_tap_carries.eq(engine.o_tap_carries)


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

    @property
    def latency(self):
        """Cycles by which the pooling unit's sums are later."""
        return CHAIN_LATENCY if self.taps else 0

    def tap_ports(self, lanes, term, carry):
        """Return the ports of an engine for `Chains`, none without the unit.

        ============= ==========================================================================
        i_tap_use     which rows are taps, one cycle after the vector: the others' terms are 0
        o_tap_terms   terms, groups x (taps x channels), one cycle after that
        o_tap_carries what is to be added to them, with `carry`
        ============= ==========================================================================
        """
        if not self.taps:
            return {}
        count, groups = self.taps * min(lanes, self._config.pool.lanes), self._config.groups
        ports = {"i_tap_use": In(self.taps),
                 "o_tap_terms": Out(data.ArrayLayout(count * Shape.cast(term).width, groups))}
        if carry:
            ports["o_tap_carries"] = Out(data.ArrayLayout(count, groups))
        return ports

    def tap(self, m, engine, group, rows):
        """Connect the rows of a group of an engine that are taps to its ports."""
        lanes = min(engine.lanes, self._config.pool.lanes)
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
        return Chains(self._config, engine) if self.taps else None

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

"""Chains of taps: they add up what the same lane makes of one column after the other."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.library import place

__all__ = ["CHAIN_LATENCY", "Chains", "TapChain", "tap_ports"]

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


def tap_ports(taps, lanes, groups, term, carry):
    """Return the ports of an engine for its `Chains`.

    Parameters
    ----------
    taps, lanes, groups : int
        Rows of each group that are taps, from the first on; their lanes that have a chain.
    term : Shape
        Of a term without its carry.
    carry : bool
        Whether a term comes with a bit to be added to it.

    Returns
    -------
    dict
        ============= ========================================================================
        i_tap_use     which rows are taps, one cycle after the vector: the others' terms are 0
        o_tap_terms   terms, groups x (taps x lanes), one cycle after that
        o_tap_carries what is to be added to them, with `carry`
        ============= ========================================================================
    """
    ports = {"i_tap_use": In(taps),
             "o_tap_terms": Out(data.ArrayLayout(taps * lanes * Shape.cast(term).width, groups))}
    if carry:
        ports["o_tap_carries"] = Out(data.ArrayLayout(taps * lanes, groups))
    return ports


class Chains(wiring.Component):
    """The chains behind the first rows of one engine: one for each group and channel.

    Parameters
    ----------
    engine : RowArray
        With `tap_ports`.
    taps, lanes, groups : int
        As its ports have them.

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

    def __init__(self, engine, taps, lanes, groups):
        self._taps, self._lanes = taps, lanes
        self._term, self._carry = engine.term, engine.carry
        sums = data.ArrayLayout(chain_shape(self._term, self._carry, taps), lanes)
        super().__init__({
            "i_valid": In(1), "i_depthwise": In(1), "i_use": In(taps), "o_tap_use": Out(taps),
            "o_chained": Out(data.ArrayLayout(sums, groups)),
        } | {f"i{name.removeprefix('o')}": In(member.shape) for name, member
             in tap_ports(taps, lanes, groups, self._term, self._carry).items()
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

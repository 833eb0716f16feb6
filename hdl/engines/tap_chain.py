"""Chain of taps: adds up what the same lane makes of one column after the other."""

from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.library import place

__all__ = ["CHAIN_LATENCY", "TapChain", "add_chains", "chain_ports", "chain_shape"]


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
        self._lanes, self._taps, self._term = lanes, taps, Shape.cast(term)
        self._sum = chain_shape(term, carry, taps)
        members = {"i_terms": In(taps * lanes * self._term.width), "i_valid": In(1),
                   "i_on": In(1), "o_sums": Out(lanes * self._sum.width)}
        if carry:
            members["i_carries"] = In(taps * lanes)
        self._carry = carry
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
                after = Signal(self._sum, name=f"sum{tap}_{lane}", reset_less=True)
                with m.If(self.i_valid):
                    m.d.sync += after.eq(total)
                with m.If(~self.i_on):
                    m.d.sync += after.eq(0)
                before = after
            m.d.comb += self.o_sums.word_select(lane, self._sum.width).eq(before)
        return m


def chain_ports(config, lanes, term, carry):
    """Return the ports that an engine has for its chains: none without `Config.depthwise.columns`.

    ========= ==========================================================================
    i_tap     {valid, on, use}, with `i_x`: a vector for the chains; the layer works
              channel by channel; which rows are its taps (`on` only)
    o_taps    groups x channels sums, `CHAIN_LATENCY` cycles later; 0 unless `on`
    ========= ==========================================================================
    """
    if not config.depthwise.columns:
        return {}
    width = min(lanes, config.pool.lanes)
    shape = chain_shape(term, carry, config.depthwise.columns)
    return {
        "i_tap": In(data.StructLayout({"valid": 1, "on": 1, "use": config.depthwise.columns})),
        "o_taps": Out(data.ArrayLayout(data.ArrayLayout(shape, width), config.groups)),
    }


def add_chains(m, platform, engine, groups, term, carry):
    """Add the chains behind `chain_ports`.

    Parameters
    ----------
    m : Module
    engine : Component
        With the ports.
    groups : list of list of row components
        The rows of every group that are taps, each with `tap`.
    term : Shape
    carry : bool
    """
    tap = Signal.like(engine.i_tap, name="tap")
    m.d.sync += tap.eq(engine.i_tap)
    valid = delay(m, tap.valid, 1, "tap_valid", reset=True)
    on = delay(m, tap.on, 1, "tap_on", reset=True)
    for number, (rows, sums) in enumerate(zip(groups, engine.o_taps, strict=True)):
        chain = TapChain(len(sums), len(rows), term, carry)
        m.submodules[f"chain{number}"] = place(platform, chain, len(rows), carry)
        width, lanes = Shape.cast(term).width, len(sums)
        m.d.comb += [
            chain.i_terms.eq(Cat(row.o_terms[:lanes * width] for row in rows)),
            chain.i_valid.eq(valid), chain.i_on.eq(on), sums.as_value().eq(chain.o_sums),
        ]
        if carry:
            m.d.comb += chain.i_carries.eq(Cat(row.o_carries[:lanes] for row in rows))
        m.d.comb += [row.i_use.eq(~tap.on | tap.use[k]) for k, row in enumerate(rows)]

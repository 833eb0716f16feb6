"""What the L1, shift and pooling engines have in common."""

import functools
import operator

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .accumulators import Accumulators
from .config import Config
from .library import place
from .token import Drain, Token

__all__ = ["DRAIN_LATENCY", "BaseEngine", "checked_config", "code_registers"]

DRAIN_LATENCY = 3
"""Cycles from a drain request to its values: read, gather, finish."""


def checked_config(config):
    """Return the configuration; `TypeError` if it is something else."""
    if not isinstance(config, Config):
        raise TypeError(f"Engine must be made from a Config, not {config!r}")
    return config


def either(values):
    """Return the bitwise OR of all values, as a balanced tree."""
    values = list(values)
    while len(values) > 1:
        values = [functools.reduce(operator.or_, values[i:i + 2])
                  for i in range(0, len(values), 2)]
    return values[0]


def code_registers(m, engine, *, count, code_width, load_bits, convert):
    """Add shadow and active registers of the weight codes behind `i_load` and `i_swap`.

    Both ports are registered first, so a vector that comes the cycle after `i_swap` has to wait in
    one register for its codes. A word that comes together with `i_swap` belongs to the next step.

    Parameters
    ----------
    m : Module
    engine : Component
        Has the ports `i_load` and `i_swap`.
    count : int
        Codes in all.
    code_width, load_bits : int
        Bits of a code and of a memory word.
    convert : function from Value to Value
        Applied to codes on their way in; all rows share the converters.

    Returns
    -------
    list of Value
        The active codes.
    """
    load, swap = Signal.like(engine.i_load), Signal()
    m.d.sync += [load.eq(engine.i_load), swap.eq(engine.i_swap)]
    per_word = load_bits // code_width
    converted = [convert(load.word[k * code_width:(k + 1) * code_width]) for k in range(per_word)]
    width = len(converted[0])
    active = []
    for index in range(-(-count // per_word)):
        used = min(per_word, count - index * per_word)
        shadow = Signal(used * width, name=f"shadow{index}", reset_less=True)
        codes = Signal(used * width, name=f"codes{index}", reset_less=True)
        with m.If(swap):
            m.d.sync += codes.eq(shadow)
        with m.If(load.valid & (load.index == index)):
            m.d.sync += shadow.eq(Cat(converted[:used]))
        active += [codes[k * width:(k + 1) * width] for k in range(used)]
    return active


class BaseEngine(wiring.Component):
    """Tokens, accumulators and drain around the sums that a subclass makes.

    Parameters
    ----------
    config : Config
    rows, lanes : int
        Of each group.
    shape : Shape
        Of an accumulator.
    extra : int
        Accumulators of each group beside those of the rows.
    maximum : bool
        Whether accumulators can keep the maximum.
    ports : dict
        Ports of the subclass.

    Members
    -------
    i_x : groups x lanes x 9
        Activation vectors, with `i_token.valid`.
    i_token : Token
        What to do with them.
    i_drain : Drain
        Result vector to read. Any bank and position that is not filled in the same cycle.
    o_values : post_width x signed(value_width)
        Results, `DRAIN_LATENCY` cycles after `i_drain`. Lane l is row
        ``vector * post_width + l``; with `single` lane 0 is row `row`. Lanes without a row, and
        all lanes but the first with `single`, mean nothing.
    o_last : 1
        Strobe, `latency` cycles after a token with `last`: its burst may be drained from the next
        cycle on.

    Latency: `latency` cycles to the accumulator. Throughput: one vector a cycle, at any position.
    No back-pressure.
    """

    def __init__(self, config, *, rows, lanes, shape, extra=0, maximum=False, ports=()):
        self._config, self._rows, self._lanes = config, rows, lanes
        self._shape, self._extra, self._maximum = Shape.cast(shape), extra, maximum
        super().__init__({
            "i_x": In(data.ArrayLayout(data.ArrayLayout(9, lanes), config.groups)),
            "i_token": In(Token(config.burst_depth)),
            "i_drain": In(Drain(config.burst_depth)),
            "o_values": Out(data.ArrayLayout(Shape(config.value_width, True), config.post_width)),
            "o_last": Out(1),
        } | dict(ports))

    @property
    def rows(self):
        """Rows of a group."""
        return self._rows

    @property
    def lanes(self):
        """Lanes of a row."""
        return self._lanes

    @property
    def latency(self):
        """Cycles from a vector to `o_last`."""
        raise NotImplementedError

    def _sums(self, m, platform):
        """Return, for each group, the sums of rows and extras, `latency` cycles after `i_x`."""
        raise NotImplementedError

    def _finish(self, value, extras):
        """Return the result made of a row's accumulator and the group's extra ones."""
        return value

    def elaborate(self, platform):
        m = Module()
        config, rows = self._config, self._rows
        sums = self._sums(m, platform)

        token = self.i_token
        for stage in range(self.latency - 1):
            m.d.sync += (delayed := Signal.like(self.i_token, name=f"token{stage}")).eq(token)
            token = delayed
        m.d.sync += self.o_last.eq(token.valid & token.last)

        # Accumulators that are not asked for read as 0, so that OR gathers the others.
        drain, count = self.i_drain, rows + self._extra
        stores = []
        for group in range(config.groups):
            store = Accumulators(self._shape, count=count, depth=config.burst_depth,
                                 distributed=config.distributed, maximum=self._maximum)
            m.submodules[f"accumulators{group}"] = place(
                platform, store, count, self._shape.width, self._shape.signed, self._maximum)
            here = Signal(name=f"drain{group}")
            m.d.comb += [
                here.eq(drain.group == group),
                store.i_token.eq(token),
                store.i_drain.bank.eq(drain.bank),
                store.i_drain.position.eq(drain.position),
            ]
            if self._maximum:
                m.d.comb += store.i_maximum.eq(self._now_maximum)
            for i in range(count):
                wanted = here
                if i < rows:
                    wanted = here & Mux(drain.single, drain.row == i,
                                        drain.vector == i // config.post_width)
                m.d.comb += [store.i_select[i].eq(wanted), store.i_sums[i].eq(sums[group][i])]
            stores.append(store)

        def gather(columns, name):
            gathered = Signal(self._shape, name=name, reset_less=True)
            m.d.sync += gathered.eq(either(
                [store.o_values[i] for store in stores for i in columns]))
            return gathered

        single = Signal(2)
        m.d.sync += single.eq(single[:1] << 1 | drain.single)
        lanes = [gather(range(lane, rows, config.post_width), f"lane{lane}")
                 for lane in range(min(rows, config.post_width))]
        extras = [gather([rows + i], f"extra{i}") for i in range(self._extra)]
        for i, lane in enumerate(lanes):
            value = lane
            if i == 0 and len(lanes) > 1:
                value = Signal(self._shape, name="chosen")
                m.d.comb += value.eq(Mux(single[1], either(lanes), lane))
            result = Signal(Shape(config.value_width, True), name=f"result{i}", reset_less=True)
            m.d.sync += result.eq(self._finish(value, extras))
            m.d.comb += self.o_values[i].eq(result)
        return m

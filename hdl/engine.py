"""What the L1, shift and pooling engines have in common."""

from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import Config

__all__ = ["BaseEngine", "checked_config", "code_registers"]

def checked_config(config):
    """Return the configuration; `TypeError` if it is something else."""
    if not isinstance(config, Config):
        raise TypeError(f"Engine must be made from a Config, not {config!r}")
    return config


COPY_WORDS = 4
"""Words of shadow codes that share a copy of what is loaded, with `Config.spread`."""


def code_registers(m, engine, *, code_width, load_bits, convert):
    """Add the shadow registers of the weight codes behind `i_load`; the active ones are in rows.

    Words are registered and converted, `i_swap` is registered in the rows, so a vector that comes
    the cycle after `i_swap` has to wait in one register for its codes. A word that comes together
    with `i_swap` belongs to the next step. With `Config.spread` words are converted first, and all
    this takes a cycle more. A row swaps only if something has been loaded for it, which saves
    power, and gives each row a register of its own to enable its codes.

    Parameters
    ----------
    m : Module
    engine : Component
        Has the ports `i_load` and `i_swap`.
    code_width, load_bits : int
        Bits of a code and of a memory word.
    convert : function from Value to Value
        Applied to codes on their way in; all rows share the converters.

    Returns
    -------
    list of (Value, Signal)
        For each row the codes that its next swap makes active, and its `i_swap`.
    """
    load, comes = Signal.like(engine.i_load, reset_less=True), engine.i_load
    m.d.sync += load.eq(comes)
    per_word, count = load_bits // code_width, engine.rows * engine.lanes
    source = comes.word if engine.spread else load.word
    word = Cat(convert(source[k * code_width:(k + 1) * code_width]) for k in range(per_word))
    width, words = len(word) // per_word, -(-count // per_word)
    if engine.spread:
        # Which copy it is for is known a cycle ahead: a register that enables it, and no more.
        chosen = Signal(-(-words // COPY_WORDS), reset_less=True)
        m.d.sync += chosen.eq(Cat(comes.valid & (comes.index // COPY_WORDS == k)
                                  for k in range(len(chosen))))
        here = Cat(chosen[index // COPY_WORDS] & (load.index % COPY_WORDS == index % COPY_WORDS)
                   for index in range(words))
    else:
        here = Cat(load.valid & (load.index == index) for index in range(words))
    swaps = []
    for row in range(engine.rows):
        of_row = slice(row * engine.lanes // per_word,
                       ((row + 1) * engine.lanes - 1) // per_word + 1)
        fresh, loaded = Signal(name=f"fresh{row}", reset_less=True), Signal(name=f"loaded{row}")
        swap = Signal(name=f"swap{row}", reset_less=True)
        m.d.comb += loaded.eq(fresh | here[of_row].any())
        m.d.sync += fresh.eq(loaded & ~engine.i_swap)
        swapping = m.d.sync if engine.spread else m.d.comb
        swapping += swap.eq(engine.i_swap & loaded)
        swaps.append(swap)
    copies = [word] * words
    if engine.spread:
        # Wires that reach all rows end in registers: a copy for every few words, and their enables.
        late = Signal(words, reset_less=True)
        converted = Signal.like(word, name="converted", reset_less=True)
        m.d.sync += [late.eq(here), converted.eq(word)]
        for first in range(0, words, COPY_WORDS):
            copy = Signal(len(word), name=f"copy{first}", reset_less=True)
            with m.If(chosen[first // COPY_WORDS]):
                m.d.sync += copy.eq(converted)
            copies[first:first + COPY_WORDS] = [copy] * len(copies[first:first + COPY_WORDS])
        here = late
    shadows = []
    for index, copy in enumerate(copies):
        used = min(per_word, count - index * per_word)
        shadow = Signal(used * width, name=f"shadow{index}", reset_less=True)
        with m.If(here[index]):
            m.d.sync += shadow.eq(copy[:used * width])
        shadows.append(shadow)
    row_width, codes = engine.lanes * width, Cat(shadows)
    return [(codes.word_select(row, row_width), swap) for row, swap in enumerate(swaps)]


class BaseEngine(wiring.Component):
    """The sums of an engine's rows, which `Results` accumulates.

    Parameters
    ----------
    config : Config
    rows, lanes : int
        Of each group.
    shape : Shape
        Of an accumulator: sums wrap.
    extra : int
        Sums of each group beside those of the rows.
    ports : dict
        Ports of the subclass.

    Members
    -------
    i_x : groups x lanes x 9
        Activation vectors.
    i_on : 1
        The engine is at work; where it is low the sums are 0.
    o_sums : groups x (rows + extra) x shape
        The vectors' sums, `latency` cycles later.

    Latency: `latency` cycles. Throughput: one vector a cycle. No back-pressure.
    """

    def __init__(self, config, *, rows, lanes, shape, extra=0, ports=()):
        self._config, self._rows, self._lanes = config, rows, lanes
        self._shape, self._extra = Shape.cast(shape), extra
        super().__init__({
            "i_x": In(data.ArrayLayout(data.ArrayLayout(9, lanes), config.groups)),
            "i_on": In(1, init=1),
            "o_sums": Out(data.ArrayLayout(data.ArrayLayout(self._shape, rows + extra),
                                           config.groups)),
        } | dict(ports))

    @property
    def spread(self):
        """Whether rows have registers of their own for vectors and codes."""
        return self._config.spread

    @property
    def rows(self):
        """Rows of a group."""
        return self._rows

    @property
    def lanes(self):
        """Lanes of a row."""
        return self._lanes

    @property
    def extra(self):
        """Sums of a group beside those of its rows."""
        return self._extra

    @property
    def shape(self):
        """Shape of a sum."""
        return self._shape

    @property
    def latency(self):
        """Cycles from a vector to its sums."""
        raise NotImplementedError

    def _sums(self, m, platform):
        """Return, for each group, the sums of rows and extras."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        for group, sums in enumerate(self._sums(m, platform)):
            m.d.comb += [self.o_sums[group][i].eq(value) for i, value in enumerate(sums)]
        return m

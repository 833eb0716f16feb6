"""What the L1, shift and pooling engines have in common."""

from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.links import Links
from ..config import Config
from ..packing import codes_per_word

__all__ = ["BaseEngine", "checked_config", "code_registers"]


def checked_config(config):
    """Return the configuration; `TypeError` if it is something else."""
    if not isinstance(config, Config):
        raise TypeError(f"Engine must be made from a Config, not {config!r}")
    return config


def code_registers(m, engine, *, code_width, load_bits, convert):
    """Add the shadow registers of the weight codes behind `i_load`; the active ones are in rows.

    Words are registered and converted, `i_swap` is registered in the rows, so a vector that comes
    the cycle after `i_swap` has to wait in one register for its codes. A word that comes together
    with `i_swap` belongs to the next step. Where there are links words are converted first, all
    this takes a cycle more, so that vectors have to come a cycle later, and one more in each
    cluster of rows than in the one before. A row swaps only if something has been loaded for it,
    which saves power, and gives each row a register of its own to enable its codes.

    Parameters
    ----------
    m : Module
    engine : BaseEngine
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
    load, links, swap = engine.i_load, engine.links, engine.i_swap
    per_word, lanes = codes_per_word(load_bits, code_width), engine.lanes
    valid, index = delay(m, load.valid, 1, "load_valid"), delay(m, load.index, 1, "load_index")
    word = links.undelayed(m, load.word, "load_word")
    word = Cat(convert(word.word_select(k, code_width)) for k in range(per_word))
    width, word = len(word) // per_word, links.delay(m, word, "converted")
    of_rows = []
    for cluster, rows in enumerate(engine.clusters):
        if cluster:
            valid, index, swap = (delay(m, value, 1, f"{name}{cluster}") for name, value in (
                ("valid", valid), ("index", index), ("swap", swap)))
        # Codes from `first` to `end` are the cluster's; of them a word holds those of a slice.
        first, end = rows.start * lanes, rows.stop * lanes
        words = range(first // per_word, -(-end // per_word))
        here = Cat(valid & (index == k) for k in words)
        swaps = []
        for row in rows:
            of_row = slice(row * lanes // per_word - words.start,
                           -(-(row + 1) * lanes // per_word) - words.start)
            fresh, loaded = Signal(name=f"fresh{row}", reset_less=True), Signal(name=f"loaded{row}")
            swaps.append(Signal(name=f"swap_row{row}"))
            m.d.comb += loaded.eq(fresh | here[of_row].any())
            m.d.sync += fresh.eq(loaded & ~swap)
            m.d.comb += swaps[-1].eq(links.delay(m, swap & loaded, f"swap{row}"))
        here, word = (links.delay(m, value, f"{name}{cluster}")
                      for name, value in (("here", here), ("word", word)))
        shadows = []
        for k in words:
            part = word[width * max(first - k * per_word, 0):width * (end - k * per_word)]
            shadows.append(Signal(len(part), name=f"shadow{cluster}_{k}", reset_less=True))
            with m.If(here[k - words.start]):
                m.d.sync += shadows[-1].eq(part)
        codes = Cat(shadows)
        of_rows += [(codes.word_select(place, lanes * width), swap_row)
                    for place, swap_row in enumerate(swaps)]
    return of_rows


class BaseEngine(wiring.Component):
    """The sums of an engine's rows, which `AccumulatorArray` accumulates.

    Where there are links rows lie in clusters. Vectors, words and swaps pass from each to the next
    through registers, so that all wires but those of the sums are as long as a cluster is wide, and
    the sums of the first ones wait for those of the last.

    Parameters
    ----------
    config : Config
    rows, lanes : int
        Of each group.
    shape : Shape
        Of an accumulator: sums wrap.
    extra : int
        Sums of each group beside those of the rows.
    clusters : sequence of range, optional
        Rows of each cluster; one of all rows if not given.
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

    def __init__(self, config, *, rows, lanes, shape, extra=0, clusters=None, ports=()):
        self._config, self._rows, self._lanes = config, rows, lanes
        self._links = Links(config)
        self.clusters = [range(rows)] if clusters is None else list(clusters)
        self._shape, self._extra = Shape.cast(shape), extra
        super().__init__({
            "i_x": In(data.ArrayLayout(data.ArrayLayout(9, lanes), config.groups)),
            "i_on": In(1, init=1),
            "o_sums": Out(data.ArrayLayout(data.ArrayLayout(self._shape, rows + extra),
                                           config.groups)),
        } | dict(ports))

    @property
    def links(self):
        """What stands at the end of long wires."""
        return self._links

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

    def controls(self, terms):
        """Return the statements that set the engine's own ports from an instruction's terms."""
        return []

    def result(self, value, extra):
        """Return what an accumulator and the extra one of its group make together.

        Without extra sums it is not asked: the accumulator is the result.
        """
        raise NotImplementedError

    def _sums(self, m, platform):
        """Return, for each group, the sums of rows and extras."""
        raise NotImplementedError

    def _vectors(self, m, group, bits):
        """Return for each cluster the register with its vector, `bits` of each lane."""
        vector = Cat(self.i_x[group][lane][:bits] for lane in range(self.lanes))
        vectors = []
        for cluster in range(len(self.clusters)):
            vector = delay(m, vector, 1, f"x{group}_{cluster}")
            vectors.append(vector)
        return vectors

    def _meet(self, m, sums):
        """Let the sums of a group's rows, and of the extra one in the last cluster, meet."""
        last = len(self.clusters) - 1
        waits = [last - cluster for cluster, rows in enumerate(self.clusters) for _ in rows]
        return [delay(m, value, wait, f"sum{row}") for row, (value, wait) in enumerate(
            zip(sums, [*waits, *[0] * self.extra], strict=True))]

    def elaborate(self, platform):
        m = Module()
        for group, sums in enumerate(self._sums(m, platform)):
            m.d.comb += [self.o_sums[group][i].eq(value) for i, value in enumerate(sums)]
        return m

"""An engine with weights: rows behind shadow registers."""

from amaranth.hdl import Cat, Shape
from amaranth.lib.wiring import In

from ..common.adder_tree import tree_latency
from ..common.library import place
from .base import BaseEngine, checked_config, code_registers
from .depthwise import Depthwise
from .registry import engine_of
from .token import Load

__all__ = ["RowArray", "row_latency"]


def row_latency(name):
    """Return the latency of a `RowArray` as a function of the configuration, for `Descriptor`."""
    def latency(config):
        return (1 + len(config.clusters(name))
                + (config.engines[name].lanes - 1).bit_length())
    return latency


class RowArray(BaseEngine):
    """Rows of lanes whose weight codes come from the weight memory.

    A subclass names the engine, says what a row is, and how codes are converted on their way in.

    Parameters
    ----------
    config : Config
        Has the engine.
    term : Shape
        Of a term, as a tap gives it to its chain.
    carry : bool
        Whether a tap's terms come with carries.
    register_every : int
        Levels of the tree between two registers.
    ports : dict
        Ports of the subclass.

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`.
    i_load : Load
        Weight codes into the shadow registers.
    i_swap : 1
        The shadow codes, with what was loaded until the cycle before, become active for vectors
        from the next cycle on, behind a link from the one after it.
    i_tap_use, o_tap_terms, o_tap_carries
        Only with a depthwise unit: see `Depthwise.tap_ports`.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    name: str
    """Of the engine."""
    x_width = 9
    """Bits of an operand that rows take."""

    def __init__(self, config, *, term, carry=False, register_every=1, ports=()):
        shape = checked_config(config).engines.get(self.name)
        if shape is None:
            raise ValueError(f"{type(self).__name__} must be made from a Config with the engine "
                             f"{self.name!r}")
        self._shape_of, self._register_every = shape, register_every
        self.term, self.carry, self._depthwise = Shape.cast(term), carry, Depthwise(config)
        known = engine_of(self.name)
        super().__init__(
            config, rows=shape.rows, lanes=shape.lanes, shape=Shape(shape.acc_width, known.signed),
            extra=known.extra, clusters=config.clusters(self.name), ports={
                "i_load": In(Load(config.weights.load_bits)), "i_swap": In(1),
            } | dict(ports) | self._depthwise.tap_ports(shape.lanes, term, carry))

    @property
    def latency(self):
        """Cycles from a vector to its sums: registers, term, tree."""
        return 1 + len(self.clusters) + tree_latency(self.lanes, self._register_every)

    def _converter(self, m):
        """Return the function that a code passes on its way into the shadow registers."""
        return lambda code: code

    def _row(self, index, tap):
        """Return the component of a row, or (from `rows` on) of an extra one."""
        raise NotImplementedError

    def _sums(self, m, platform):
        codes = code_registers(m, self, convert=self._converter(m),
                               code_width=self._shape_of.code_width,
                               load_bits=self._config.weights.load_bits)
        taps, sums = self._depthwise.taps, []
        for group in range(self._config.groups):
            vectors, rows = self._vectors(m, group, self.x_width), []
            of_rows = [x for x, cluster in zip(vectors, self.clusters) for _ in cluster]
            for index, x in enumerate([*of_rows, *[vectors[-1]] * self.extra]):
                row = self._row(index, index < taps)
                if index < self.rows:
                    m.d.comb += Cat(row.i_codes, row.i_swap).eq(Cat(codes[index]))
                m.submodules[f"group{group}_row{index}"] = place(platform, row, index < taps)
                m.d.comb += [row.i_x.eq(x), row.i_on.eq(self.i_on)]
                rows.append(row)
            sums.append(self._meet(m, [row.o_sum for row in rows]))
            self._depthwise.tap(m, self, group, rows)
        return sums

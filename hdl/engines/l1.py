"""Array of L1 distances."""

from amaranth.hdl import Cat, Const, unsigned
from amaranth.lib.wiring import In

from ..common.adder_tree import tree_latency
from ..common.library import place
from .base import BaseEngine, checked_config, code_registers
from .rows import L1Row, SumRow
from .tap_chain import add_chains, chain_ports
from .token import Load

__all__ = ["L1Engine"]


class L1Engine(BaseEngine):
    """Add up ``2 min(x, w) - x`` over the lanes: ``w - |x - w|``, with w left to the bias.

    The accumulators hold ``M = sum min(x, w)`` of each row and, once for each group,
    ``X = sum x``; a result is ``2 M - X``. Operands are unsigned bytes: the producer has shifted
    x, and flipped its top bit if it is signed; the engine does the same to the weight codes when
    it loads them.

    Parameters
    ----------
    config : Config
        Has an `l1` engine.

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`; the ninth bit of x is not used, the sum of x comes behind the rows'.
    i_load : Load
        Weight codes into the shadow registers.
    i_swap : 1
        The shadow codes, with what was loaded until the cycle before, become active for vectors
        from the next cycle on, behind a link from the one after it.
    i_w_signed : 1
        Codes are two's complement. Valid with the codes.
    i_w_shift : unsigned(3)
        Left shift of the codes. Valid with the codes.
    i_tap, o_taps
        See `pyhw.hdl.engines.tap_chain.chain_ports`; a term is ``256 - |x - w|``.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config, *, register_every=1):
        engine = checked_config(config).engines.get("l1")
        if engine is None:
            raise ValueError("L1Engine must be made from a Config with an l1 engine")
        self._engine, self._register_every = engine, register_every
        super().__init__(
            config, rows=engine.rows, lanes=engine.lanes, shape=unsigned(engine.acc_width),
            extra=1, clusters=config.clusters("l1"), ports={
                "i_load": In(Load(config.weights.load_bits)), "i_swap": In(1),
                "i_w_signed": In(1), "i_w_shift": In(3),
            } | chain_ports(config, engine.lanes, 8, carry=True))

    @property
    def latency(self):
        """Cycles from a vector to its sums: registers, minimum, tree."""
        return 1 + len(self.clusters) + tree_latency(self.lanes, self._register_every)

    def _sums(self, m, platform):
        # As the words that they convert.
        w_signed = self.links.undelayed(m, self.i_w_signed, "w_signed")
        w_shift = self.links.undelayed(m, self.i_w_shift, "w_shift")

        def convert(code):
            extended = Cat(code, (code[-1] & w_signed).replicate(8 - len(code)))
            return (extended << w_shift)[:8] ^ Cat(Const(0, 7), w_signed)

        codes = code_registers(m, self, convert=convert, code_width=self._engine.code_width,
                               load_bits=self._config.weights.load_bits)
        sums, tapped = [], []
        for group in range(self._config.groups):
            vectors, rows = self._vectors(m, group, 8), []
            of_rows = [x for x, cluster in zip(vectors, self.clusters) for _ in cluster]
            for index, x in enumerate([*of_rows, vectors[-1]]):
                tap = index < self._config.depthwise.columns
                if index < self.rows:
                    row = L1Row(self.lanes, self._register_every, tap, self.links)
                    m.d.comb += Cat(row.i_codes, row.i_swap).eq(Cat(codes[index]))
                else:
                    row = SumRow(self.lanes, self._register_every, self.links)
                m.submodules[f"group{group}_row{index}"] = place(platform, row, tap)
                m.d.comb += [row.i_x.eq(x), row.i_on.eq(self.i_on)]
                rows.append(row)
            sums.append(self._meet(m, [row.o_sum for row in rows]))
            tapped.append(rows[:self._config.depthwise.columns])
        if self._config.depthwise.columns:
            add_chains(m, platform, self, tapped, 8, carry=True)
        return sums

    def compute(self, vectors, weights):
        """Return the results of one burst position, from the numbers that enter the lanes.

        Parameters
        ----------
        vectors : sequence of sequences of int
            One vector of unsigned bytes (lanes) per step.
        weights : sequence of sequences of sequences of int
            For each step and row the unsigned bytes (lanes).

        Returns
        -------
        list of int
            A result for each row.
        """
        return [sum(2 * min(x, w) - x for vector, rows in zip(vectors, weights)
                    for x, w in zip(vector, rows[row])) for row in range(self.rows)]

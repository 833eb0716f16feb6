"""Array of signed power-of-two products."""

from amaranth.hdl import Cat, signed
from amaranth.lib.wiring import In

from ..common.adder_tree import tree_latency
from ..common.library import place
from ..formats import ShiftCode
from .base import BaseEngine, checked_config, code_registers
from .rows import ShiftRow
from .tap_chain import add_chains, chain_ports
from .token import Load

__all__ = ["ShiftEngine"]


class ShiftEngine(BaseEngine):
    """Add up ``(x xor s) << e`` over the lanes: ``±(x << e)``, short of ``1 << e`` where s is set.

    What is left out is a constant of the weights and part of the bias. The code of zero adds 0.

    Parameters
    ----------
    config : Config
        Has a `shift` engine.

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`; x is 9-bit two's complement.
    i_load : Load
        Weight codes (`ShiftCode`) into the shadow registers.
    i_swap : 1
        The shadow codes, with what was loaded until the cycle before, become active for vectors
        from the next cycle on.
    i_tap, o_taps
        See `pyhw.hdl.engines.tap_chain.chain_ports`; terms as above.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config, *, register_every=1):
        engine = checked_config(config).engines.get("shift")
        if engine is None:
            raise ValueError("ShiftEngine must be made from a Config with a shift engine")
        self._engine, self._register_every = engine, register_every
        self._code = ShiftCode(engine.code_width)
        self._term = signed(9 + self._code.max_exponent)
        super().__init__(
            config, rows=engine.rows, lanes=engine.lanes, shape=signed(engine.acc_width),
            clusters=config.clusters("shift"), ports={
                "i_load": In(Load(config.weights.load_bits)), "i_swap": In(1),
            } | chain_ports(config, engine.lanes, self._term, carry=False))

    @property
    def latency(self):
        """Cycles from a vector to its sums: registers, shift, tree."""
        return 1 + len(self.clusters) + tree_latency(self.lanes, self._register_every)

    def _sums(self, m, platform):
        codes = code_registers(
            m, self, code_width=self._code.width, load_bits=self._config.weights.load_bits,
            convert=lambda code: Cat(code, code == self._code.zero))
        sums, tapped = [], []
        for group in range(self._config.groups):
            vectors, rows = self._vectors(m, group, 9), []
            of_rows = [x for x, cluster in zip(vectors, self.clusters) for _ in cluster]
            for index, x in enumerate(of_rows):
                tap = index < self._config.depthwise.columns
                row = ShiftRow(self.lanes, self._code, self._register_every, tap, self.links)
                m.submodules[f"group{group}_row{index}"] = place(platform, row, tap)
                m.d.comb += [row.i_x.eq(x), row.i_on.eq(self.i_on),
                             Cat(row.i_codes, row.i_swap).eq(Cat(codes[index]))]
                rows.append(row)
            sums.append(self._meet(m, [row.o_sum for row in rows]))
            tapped.append(rows[:self._config.depthwise.columns])
        if self._config.depthwise.columns:
            add_chains(m, platform, self, tapped, self._term, carry=False)
        return sums

    def compute(self, vectors, codes):
        """Return the results of one burst position.

        Parameters
        ----------
        vectors : sequence of sequences of int
            One vector of 9-bit integers (lanes) per step.
        codes : sequence of sequences of sequences of int
            For each step and row the stored codes (lanes).

        Returns
        -------
        list of int
            A result for each row.
        """
        def term(x, code):
            sign, exponent = self._code.decode(code)
            return 0 if sign == 0 else (x ^ (-1 if sign < 0 else 0)) << exponent

        return [sum(term(x, code) for vector, rows in zip(vectors, codes)
                    for x, code in zip(vector, rows[row])) for row in range(self.rows)]

"""Array of signed power-of-two products."""

from amaranth.hdl import Cat, Mux, Signal, signed
from amaranth.lib.wiring import In

from .adder_tree import adder_tree, tree_latency
from .engine import BaseEngine, code_registers
from .formats import ShiftCode
from .token import Load

__all__ = ["ShiftEngine"]


class ShiftEngine(BaseEngine):
    """Add up ``(x << e) xor s`` over the lanes: ``±(x << e)``, short of 1 where the sign is set.

    The ones left out (one for each negative code) are part of the bias. The code of zero adds 0.

    Parameters
    ----------
    config : Config
        Has a `shift` engine.

    Members
    -------
    i_x, i_token, i_drain, o_values, o_last
        As in `BaseEngine`; x is 9-bit two's complement.
    i_load : Load
        Weight codes (`ShiftCode`) into the shadow registers.
    i_swap : 1
        The shadow codes, with what was loaded until the cycle before, become active for vectors
        from the next cycle on.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config, *, register_every=1):
        engine = getattr(config, "shift", None)
        if engine is None:
            raise ValueError("ShiftEngine must be made from a Config with a shift engine")
        self._engine, self._register_every = engine, register_every
        self._code = ShiftCode(engine.code_width)
        super().__init__(
            config, rows=engine.rows, lanes=engine.lanes, shape=signed(engine.acc_width),
            ports={"i_load": In(Load(config.load_bits)), "i_swap": In(1)})

    @property
    def latency(self):
        """Cycles from a vector to `o_last`: register, shift, tree."""
        return 2 + tree_latency(self.lanes, self._register_every)

    def _sums(self, m):
        exponent_bits = self._code.width - 1
        # A third field says "zero", so that no lane has to find out.
        codes = code_registers(m, self, count=self.rows * self.lanes,
                               convert=lambda code: Cat(code, code == self._code.zero),
                               code_width=self._code.width, load_bits=self._config.load_bits)
        sums = []
        for group in range(self._config.groups):
            x = [Signal(9, name=f"x{group}_{lane}", reset_less=True) for lane in range(self.lanes)]
            for lane, value in enumerate(x):
                m.d.sync += value.eq(self.i_x[group][lane])
            columns = []
            for row in range(self.rows):
                terms = []
                for lane, value in enumerate(x):
                    code = codes[row * self.lanes + lane]
                    terms.append(Signal(signed(9 + self._code.max_exponent),
                                        name=f"term{group}_{row}_{lane}", reset_less=True))
                    m.d.sync += terms[-1].eq(self._term(value, code, exponent_bits))
                columns.append(adder_tree(m, terms, self._register_every)[0])
            sums.append(columns)
        return sums

    def _term(self, x, code, exponent_bits):
        """Return ``(x << e) xor s``, one LUT4 a bit and stage."""
        sign, zero = code[exponent_bits], code[exponent_bits + 1]
        value, width = x.as_signed(), 9
        for stage in range(exponent_bits):
            amount = 1 << stage
            width = min(width + amount, 9 + self._code.max_exponent)
            fill = sign if stage else 0
            moved = Cat(fill.replicate(amount) if stage else 0, value).as_signed()
            value = Mux(code[stage], moved, value)[:width]
            if stage == 0:
                value = value ^ sign.replicate(width)
            value = value.as_signed()
        return Mux(zero, 0, value)

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
            return 0 if sign == 0 else (x << exponent) ^ (-1 if sign < 0 else 0)

        return [sum(term(x, code) for vector, rows in zip(vectors, codes)
                    for x, code in zip(vector, rows[row])) for row in range(self.rows)]

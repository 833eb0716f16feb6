"""Array of L1 distances."""

from amaranth.hdl import Cat, Const, Mux, Signal, signed, unsigned
from amaranth.lib.wiring import In

from .adder_tree import adder_tree, tree_latency
from .engine import BaseEngine, code_registers
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
    i_x, i_token, i_drain, o_values, o_last
        As in `BaseEngine`; the ninth bit of x is not used.
    i_load : Load
        Weight codes into the shadow registers.
    i_swap : 1
        The shadow codes, with what was loaded until the cycle before, become active for vectors
        from the next cycle on.
    i_w_signed : 1
        Codes are two's complement. Valid with the codes.
    i_w_shift : unsigned(3)
        Left shift of the codes. Valid with the codes.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config, *, register_every=1):
        engine = getattr(config, "l1", None)
        if engine is None:
            raise ValueError("L1Engine must be made from a Config with an l1 engine")
        self._engine, self._register_every = engine, register_every
        super().__init__(
            config, rows=engine.rows, lanes=engine.lanes, shape=unsigned(engine.acc_width),
            extra=1, ports={
                "i_load": In(Load(config.load_bits)), "i_swap": In(1),
                "i_w_signed": In(1), "i_w_shift": In(3),
            })

    @property
    def latency(self):
        """Cycles from a vector to `o_last`: register, minimum, tree."""
        return 2 + tree_latency(self.lanes, self._register_every)

    def _sums(self, m):
        w_signed, w_shift = Signal(), Signal(3)
        m.d.sync += [w_signed.eq(self.i_w_signed), w_shift.eq(self.i_w_shift)]

        def convert(code):
            extended = Cat(code, (code[-1] & w_signed).replicate(8 - len(code)))
            return (extended << w_shift)[:8] ^ Cat(Const(0, 7), w_signed)

        codes = code_registers(m, self, count=self.rows * self.lanes, convert=convert,
                               code_width=self._engine.code_width,
                               load_bits=self._config.load_bits)
        sums = []
        for group in range(self._config.groups):
            x = [Signal(8, name=f"x{group}_{lane}", reset_less=True) for lane in range(self.lanes)]
            waiting = [Signal.like(value, name=f"{value.name}_waiting") for value in x]
            for lane, value in enumerate(x):
                m.d.sync += [value.eq(self.i_x[group][lane]), waiting[lane].eq(value)]
            columns = []
            for row in range(self.rows):
                excess = []
                for lane, value in enumerate(x):
                    difference = Signal(signed(9), name=f"difference{group}_{row}_{lane}")
                    excess.append(Signal(8, name=f"excess{group}_{row}_{lane}", reset_less=True))
                    m.d.comb += difference.eq(value - codes[row * self.lanes + lane])
                    # A synchronous reset by the sign, so that it takes no logic.
                    m.d.sync += excess[-1].eq(Mux(difference < 0, 0, difference[:8]))
                columns.append(adder_tree(m, excess, self._register_every)[0])
            columns.append(adder_tree(m, waiting, self._register_every)[0])
            sums.append(columns)
        return sums

    def _finish(self, value, extras):
        return extras[0] - (value << 1)

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

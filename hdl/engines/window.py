"""Window: raw bytes of the scratchpads become the engines' operands."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.links import Links
from ..common.thermometer import thermometer
from ..records import Terms
from .registry import engine_of

__all__ = ["Window"]


class Window(wiring.Component):
    """Replace border lanes by pad values and lanes past the run by 0, then convert.

    An operand of an engine that takes it flipped is unsigned, ``x << ex`` with the top one of its
    8 bits flipped if x is signed; any other is ``x << ex`` in 9-bit two's complement.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_terms : In(Terms)
        Engine, signedness and shift of the activations.
    i_raw : In((8 x read_lanes) x groups)
        Bytes as stored.
    i_border_left, i_border_from, i_run_left : In(range(read_lanes + 1))
        Lanes below the first and from the second on are border; lanes from the third on are
        past the run, border or not. The same in all groups, valid beside `i_raw`.
    i_pad : In(8 x read_lanes)
        Pad values as stored.
    o_x : Out((9 x read_lanes) x groups)
        Operands, as bits.

    Latency `latency` cycles, one vector a cycle.
    """

    def __init__(self, config):
        # A link before the shift.
        self._links = Links(config)
        self.latency = 1 + self._links.cycles
        self._groups = config.groups
        self._flipped = [config.number(name) for name in config.engines if engine_of(name).flipped]
        self._lanes = lanes = config.read_lanes
        count = In(range(lanes + 1))
        super().__init__({
            "i_terms": In(Terms.layout().shape),
            "i_raw": In(data.ArrayLayout(data.ArrayLayout(8, lanes), config.groups)),
            "i_border_left": count, "i_border_from": count, "i_run_left": count,
            "i_pad": In(data.ArrayLayout(8, lanes)),
            "o_x": Out(data.ArrayLayout(data.ArrayLayout(9, lanes), config.groups)),
        })

    @staticmethod
    def compute(raw, pad, border_left, border_from, run_left, flipped, x_signed, x_shift):
        """Return the 9-bit operands of one group's vector, as unsigned integers."""
        out = []
        for lane, (byte, pad_value) in enumerate(zip(raw, pad, strict=True)):
            x = pad_value if lane < border_left or lane >= border_from else byte
            x = x if lane < run_left else 0
            if flipped:
                out.append(((x << x_shift) & 255) ^ (128 if x_signed else 0))
            else:
                x -= (x & 128) << 1 if x_signed else 0
                out.append((x << x_shift) & 511)
        return out

    def elaborate(self, platform):
        m = Module()
        terms = self.i_terms
        border, inside = Signal(self._lanes), Signal(self._lanes)
        m.d.comb += [
            border.eq(Cat(thermometer(self.i_border_left, self._lanes))
                      | ~Cat(thermometer(self.i_border_from, self._lanes))),
            inside.eq(Cat(thermometer(self.i_run_left, self._lanes))),
        ]
        level, flip, extend = Signal(), Signal(), Signal()
        m.d.comb += [
            level.eq(Cat(terms.engine == number for number in self._flipped).any()),
            flip.eq(level & terms.x_signed), extend.eq(~level & terms.x_signed),
        ]

        # Whole vectors at a time: few, wide statements.
        def replicated(bits, width):
            return Cat(bit.replicate(width) for bit in bits)

        for group in range(self._groups):
            lanes = Signal(8 * self._lanes, name=f"bytes{group}")
            choice = replicated(border, 8)
            m.d.comb += lanes.eq(((self.i_raw[group].as_value() & ~choice)
                                  | (self.i_pad.as_value() & choice)) & replicated(inside, 8))
            lanes = self._links.delay(m, lanes, f"bytes{group}")
            out = []
            for lane in range(self._lanes):
                byte = lanes.word_select(lane, 8)
                x = Cat(byte, byte[7] & extend)
                for bit in range(3):
                    step = 1 << bit
                    moved = Signal(9, name=f"x{group}_{lane}_by{step}")
                    m.d.comb += moved.eq(Mux(terms.x_shift[bit], x << step, x))
                    x = moved
                out.append(Cat(x[:7], x[7] ^ flip, x[8] & ~level))
            register = Signal(9 * self._lanes, name=f"x{group}", reset_less=True)
            m.d.sync += register.eq(Cat(out))
            m.d.comb += self.o_x[group].eq(register)
        return m

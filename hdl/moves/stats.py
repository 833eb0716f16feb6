"""Statistics of rows: the records that normalise tokens, made without a multiplier or divider."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.adder_tree import adder_tree, tree_latency
from ..common.delay_line import delay
from ..common.thermometer import thermometer
from .row_records import ROW_CYCLES, SQUARE_BITS, SUM_BITS, Kind, RowRecords

__all__ = ["Stats", "StatsRun", "square"]


class StatsRun(data.Struct):
    """Rows of a map, and what their records are.

    A row is a token and head; the heads of a token follow each other.
    """

    kind: Kind
    in_base: 24
    """Scratch address of the first row."""
    in_row: 24
    """Bytes from a token to the next one."""
    n_tokens: 16
    n_heads: 8
    n_chunks: 16
    """Vectors of a row."""
    run_bytes: 12
    """Values of a row, C."""
    signed: 1
    """They are two's complement."""
    gain: 4
    """Logarithm of C, which is in the multiplier of norms."""
    fraction: 4
    """Binary places of the result; of a maximum, those of an octave."""
    floor: 32
    """Least variance or sum, from 1."""
    base: 16
    """Number of the first record."""
    start: 1


def square(value):
    """Return the square of an unsigned value: bit i adds ``2^i (2^i + twice the bits below)``."""
    parts = [Mux(value[bit], Cat(Const(0, bit + 1), value[:bit]) + (1 << (2 * bit)), 0)
             for bit in range(len(value))]
    return sum(parts[1:], start=parts[0])[:2 * len(value)]


class Stats(wiring.Component):
    """Read rows through port A; make a record of each.

    Parameters
    ----------
    config : Config
    read_latency : int
        Cycles from `o_address` to the bytes.
    lanes : int
        Values taken a cycle, at most `config.read_lanes`.

    Members
    -------
    i_run : In(StatsRun)
        Stable from `start` until `o_busy` falls.
    i_advance : In(1)
        Let port A move.
    o_address : Out(address_width), i_data : In(8 x lanes)
        Port A of the scratchpad.
    o_write : Out(1), o_number : Out(16), o_record : Out(token_layout)
        A record, and its number: from `base` on, heads fastest.
    o_reading : Out(1), o_busy : Out(1)
        Bytes are still to be asked for; records are still to be written.
    o_issue : Out(1)
        Strobe: it asks for a vector.

    A row takes ``max(n_chunks, ROW_CYCLES)`` cycles; its record comes `latency` cycles after its
    last vector was asked for. Records are always taken.
    """

    def __init__(self, config, read_latency, lanes):
        self._config, self._read_latency, self.lanes = config, read_latency, lanes
        self._records = RowRecords(config.post.terms)
        # Address and vector; values, squares, tree, sums.
        self.latency = 1 + read_latency + 2 + tree_latency(lanes) + 1 + self._records.latency
        super().__init__({
            "i_run": In(StatsRun), "i_advance": In(1), "o_address": Out(config.address_width),
            "i_data": In(data.ArrayLayout(8, lanes)), "o_write": Out(1), "o_number": Out(16),
            "o_record": Out(self._records.layout), "o_reading": Out(1), "o_busy": Out(1),
            "o_issue": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        run = self.i_run
        m.submodules.records = records = self._records
        row_end, way = self._ask(m)
        self._sum(m, records, way)
        m.d.comb += [
            records.i_kind.eq(run.kind), records.i_count.eq(run.run_bytes),
            records.i_gain.eq(run.gain), records.i_fraction.eq(run.fraction),
            records.i_floor.eq(run.floor), self.o_write.eq(records.o_valid),
            self.o_record.eq(records.o_record),
        ]
        # Rows that were asked for and have no record yet: no product of tokens and heads is needed.
        open_rows = Signal(8)
        m.d.sync += open_rows.eq(open_rows + row_end - records.o_valid)
        with m.If(records.o_valid):
            m.d.sync += self.o_number.eq(self.o_number + 1)
            with m.If((open_rows == 1) & ~self.o_reading):
                m.d.sync += self.o_busy.eq(0)
        with m.If(run.start):
            m.d.sync += [self.o_busy.eq(1), self.o_number.eq(run.base)]
        return m

    def _ask(self, m):
        """Ask for the vectors of row after row; return the end of a row, and the vector's way."""
        run = self.i_run
        chunk, left = Signal(16, reset_less=True), Signal(12, reset_less=True)
        token, head = Signal(16, reset_less=True), Signal(8, reset_less=True)
        token_base, place = (Signal(self._config.address_width, name=name, reset_less=True)
                             for name in ("token_base", "place"))
        head_base = Signal.like(place)
        wait = Signal(range(ROW_CYCLES))
        issue, row_end, first = Signal(), Signal(), Signal()
        m.d.comb += [
            first.eq(chunk == 1),
            issue.eq(self.o_reading & self.i_advance & (~first | (wait == 0))),
            row_end.eq(issue & (chunk == run.n_chunks)), self.o_issue.eq(issue),
        ]
        with m.If(issue & first):
            m.d.sync += wait.eq(ROW_CYCLES - 1)
        with m.Elif(self.i_advance & (wait != 0)):
            # Rows come apart as they were asked for if waiting stands still with the port.
            m.d.sync += wait.eq(wait - 1)
        with m.If(issue):
            m.d.sync += [chunk.eq(chunk + 1), self.o_address.eq(place),
                         place.eq(place + self.lanes), left.eq(left - self.lanes)]
        with m.If(row_end):
            after = (head_base + run.run_bytes)[:len(place)]
            m.d.sync += [chunk.eq(1), left.eq(run.run_bytes), head.eq(head + 1),
                         head_base.eq(after), place.eq(after)]
            with m.If(head == run.n_heads):
                below = (token_base + run.in_row)[:len(place)]
                m.d.sync += [head.eq(1), token.eq(token + 1), token_base.eq(below),
                             head_base.eq(below), place.eq(below)]
                with m.If(token == run.n_tokens):
                    m.d.sync += self.o_reading.eq(0)
        with m.If(run.start):
            m.d.sync += [self.o_reading.eq(1), chunk.eq(1), head.eq(1), token.eq(1), wait.eq(0),
                         left.eq(run.run_bytes), token_base.eq(run.in_base),
                         head_base.eq(run.in_base), place.eq(run.in_base)]
        way = delay(m, Cat(issue, row_end, left), 1 + self._read_latency, "way", reset=True,
                    enable=self.i_advance)
        return row_end, way

    def _sum(self, m, records, way):
        """Add up the values and the squares of a vector, then of a row; find the greatest."""
        run = self.i_run
        valid, ends = way[0] & self.i_advance, way[1]
        values, squares = [], []
        for lane, there in enumerate(thermometer(way[2:], self.lanes)):
            byte = self.i_data[lane]
            x = Cat(byte, byte[7] & run.signed).as_signed()
            value, late = (Signal(signed(9), name=f"{name}{lane}", reset_less=True)
                           for name in ("value", "late"))
            size, product = Signal(8, name=f"size{lane}"), Signal(16, name=f"square{lane}",
                                                                  reset_less=True)
            least = Mux(run.kind == Kind.MAX, -256, 0)
            m.d.comb += size.eq(Mux(value < 0, -value, value))
            m.d.sync += [value.eq(Mux(there, x, least)), late.eq(value), product.eq(square(size))]
            values.append(late)
            squares.append(product)
        sum_, latency = adder_tree(m, values)
        squares_sum, _ = adder_tree(m, squares)
        level = list(values)
        while len(level) > 1:
            pairs = [level[k:k + 2] for k in range(0, len(level), 2)]
            level = [Signal(signed(9), name="larger", reset_less=True) for _ in pairs]
            for larger, pair in zip(level, pairs):
                m.d.sync += larger.eq(pair[0] if len(pair) == 1 else
                                      Mux(pair[0] > pair[1], pair[0], pair[1]))
        strobe = delay(m, Cat(valid, ends), 2 + latency, "strobe", reset=True)
        first = Signal(init=1)
        total = Signal(signed(SUM_BITS), reset_less=True)
        all_squares, greatest = (Signal(SQUARE_BITS, reset_less=True),
                                 Signal(signed(9), reset_less=True))
        m.d.comb += [records.i_sum.eq(total), records.i_squares.eq(all_squares),
                     records.i_most.eq(greatest)]
        m.d.sync += records.i_valid.eq(strobe.all())
        with m.If(strobe[0]):
            m.d.sync += [
                total.eq(sum_ + Mux(first, 0, total)), first.eq(strobe[1]),
                all_squares.eq(squares_sum + Mux(first, 0, all_squares)),
                greatest.eq(Mux(first | (level[0] > greatest), level[0], greatest)),
            ]

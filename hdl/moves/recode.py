"""Recode: values of a map become the weight codes of a later layer, digit by digit."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.thermometer import thermometer
from ..engines.registry import engine_of
from ..packing import codes_per_word
from ..signed_digits import digit_codes

__all__ = ["Recode", "RecodeRun", "row_words"]

PLACES = 9
"""Places of the signed digits of a value of 9 bits."""


class RecodeRun(data.Struct):
    """What is recoded, and where its codes go.

    A row is a token (or a channel, token-last) and becomes a row of the engine; its bytes are the
    inner side of the product, a chunk of lanes at a time.
    """

    in_base: 24
    """Scratch address of the first row."""
    in_row: 24
    """Bytes between rows."""
    n_rows: 16
    """Rows in all."""
    block_rows: 9
    """Rows of a block: the engine's, or fewer."""
    n_chunks: 16
    """Vectors of a row."""
    run_bytes: 16
    """Bytes of a row; codes past them are those of 0."""
    n_digits: 4
    """Digits of every value."""
    signed: 1
    """Values are two's complement."""
    base: 24
    """First word of the weight memory."""
    step: 16
    """Words of a step: those of all rows of the engine."""
    start: 1


def recoded(config):
    """Return the name of the engine whose codes are signed digits; `ValueError` without one."""
    for name in config.engines:
        if engine_of(name).digits is not None:
            return name
    raise ValueError("Config.moves.recode must have an engine whose codes are signed digits")


def row_words(config):
    """Return the words that the codes of a row take for one step; `ValueError` if not whole."""
    engine = config.engines[recoded(config)]
    per_word = codes_per_word(config.weights.load_bits, engine.code_width)
    if engine.lanes % per_word:
        raise ValueError(f"Config.moves.recode must have lanes of the {recoded(config)} engine "
                         f"that fill whole words of {per_word} codes, not {engine.lanes}")
    return engine.lanes // per_word


class Recode(wiring.Component):
    """Read rows through port A, and write each digit's codes as the weight loader takes them.

    Codes lie as `hdl/packing.py` has those of constants: blocks of rows, chunks, digits; of such a
    step the rows one after the other. Rows that a block lacks are not written: what they make is
    not stored.

    Parameters
    ----------
    config : Config
        Has an engine whose codes are signed digits and whose lanes fill whole words.
    read_latency : int
        Cycles from `o_address` to the bytes.

    Members
    -------
    i_run : In(RecodeRun)
        Stable from `start` until `o_busy` falls.
    i_advance : In(1)
        Let port A move.
    o_address : Out(address_width), i_data : In(8 x lanes)
        Port A of the scratchpad.
    o_write : Out(1), o_word : Out(24), o_codes : Out(load_bits)
        Writes to the weight memory.
    o_reading : Out(1), o_busy : Out(1)
        Bytes are still to be asked for; words are still to be written.
    o_issue : Out(1)
        Strobe: it asks for a vector.

    A vector takes ``n_digits * row_words`` cycles; latency 3 + `read_latency` to its first word;
    words are always taken.
    """

    def __init__(self, config, read_latency):
        self._config, self._read_latency = config, read_latency
        name = recoded(config)
        engine = config.engines[name]
        self._code = engine_of(name).digits(engine.code_width)
        self._words, self.lanes = row_words(config), engine.lanes
        super().__init__({
            "i_run": In(RecodeRun), "i_advance": In(1), "o_address": Out(config.address_width),
            "i_data": In(data.ArrayLayout(8, self.lanes)), "o_write": Out(1), "o_word": Out(24),
            "o_codes": Out(config.weights.load_bits), "o_reading": Out(1), "o_busy": Out(1),
            "o_issue": Out(1),
        })

    @staticmethod
    def compute(rows, lanes, digits, code):
        """Return the codes of a block: for each chunk and digit, for each row its lanes.

        Parameters
        ----------
        rows : sequence of sequences of int
            The values of each row.
        lanes, digits : int
        code : ShiftCode
        """
        chunks = range(0, len(rows[0]), lanes)
        values = [[(list(row[low:low + lanes]) + [0] * lanes)[:lanes] for row in rows]
                  for low in chunks]
        return [[[digit_codes(value, digits, code)[digit] for value in row]
                 for row in chunk] for chunk in values for digit in range(digits)]

    def elaborate(self, platform):
        m = Module()
        arrives, left = self._ask(m)
        word, digit_end, vector_end = self._emit(m, arrives, left)
        self._place(m, word, digit_end, vector_end)
        return m

    def _ask(self, m):
        """Ask for a vector whenever the one before leaves in time; return when it is there."""
        run = self.i_run
        chunk, row = Signal(16, reset_less=True), Signal(16, reset_less=True)
        left = Signal(16, reset_less=True)
        pace = Signal(range(16 * self._words), reset_less=True)
        row_base, offset = (Signal(self._config.address_width, name=name, reset_less=True)
                            for name in ("row_base", "offset"))
        issue, row_end = Signal(), Signal()
        m.d.comb += [
            issue.eq(self.o_reading & self.i_advance & (pace == 0)), self.o_issue.eq(issue),
            row_end.eq(issue & (chunk == run.n_chunks)),
        ]
        with m.If(self.o_reading & self.i_advance):
            m.d.sync += pace.eq(Mux(pace == 0, run.n_digits * self._words - 1, pace - 1))
        with m.If(issue):
            m.d.sync += [chunk.eq(chunk + 1), offset.eq(offset + self.lanes),
                         left.eq(left - self.lanes), self.o_address.eq(row_base + offset)]
        with m.If(row_end):
            m.d.sync += [chunk.eq(1), offset.eq(0), left.eq(run.run_bytes), row.eq(row + 1),
                         row_base.eq(row_base + run.in_row)]
            with m.If(row == run.n_rows):
                m.d.sync += self.o_reading.eq(0)
        with m.If(run.start):
            m.d.sync += [self.o_reading.eq(1), chunk.eq(1), row.eq(1), pace.eq(0), offset.eq(0),
                         left.eq(run.run_bytes), row_base.eq(run.in_base)]
        # Beside the vector travels how many of its bytes belong to the row.
        way = delay(m, Cat(issue, left), 1 + self._read_latency, "way", reset=True,
                    enable=self.i_advance)
        return way[0] & self.i_advance, way[1:]

    def _emit(self, m, arrives, left):
        """Take the digits of a vector, highest place first.

        Return which word of a row leaves, and the strobes of a digit's and of a vector's end.
        """
        run, top = self.i_run, self._code.max_exponent
        digit, word = Signal(4, reset_less=True), Signal(range(max(self._words, 2)))
        going, digit_end, vector_end = Signal(), Signal(), Signal()
        m.d.comb += [digit_end.eq(going & (word == self._words - 1)),
                     vector_end.eq(digit_end & (digit == run.n_digits))]
        codes = []
        for lane, there in enumerate(thermometer(left, self.lanes)):
            value = self.i_data[lane]
            x = Cat(value, (value[7] & run.signed).replicate(3)).as_signed()
            tripled = Signal(11, name=f"tripled{lane}")
            m.d.comb += tripled.eq(x + (x << 1))
            signs = Signal(PLACES, name=f"signs{lane}", reset_less=True)
            set_ = Signal(PLACES, name=f"set{lane}", reset_less=True)
            code, taken = Signal(self._code.width, name=f"code{lane}"), Signal(PLACES)
            m.d.comb += code.eq(self._code.zero)
            for place in range(min(PLACES, top + 2)):
                with m.If(set_[place]):
                    m.d.comb += [
                        code.eq(Cat(Const(min(place, top), self._code.width - 1), signs[place])),
                        taken.eq(1 << place)]
            with m.If(digit_end):
                m.d.sync += set_.eq(set_ & ~taken)
                if top + 1 < PLACES:
                    # As in `digit_codes`; two places above a digit there is none between.
                    differs = set_[top - 1] & (signs[top - 1] ^ signs[top + 1])
                    with m.If(taken[top + 1]):
                        m.d.sync += [set_[top].eq(~differs), signs[top].eq(signs[top + 1])]
                        with m.If(differs):
                            m.d.sync += signs[top - 1].eq(signs[top + 1])
            with m.If(arrives):
                m.d.sync += [set_.eq(Mux(there, tripled[1:10] ^ x[1:10], 0)),
                             signs.eq(x[1:10])]
            codes.append(code)
        per_word = self.lanes // self._words
        words = Array(Cat(codes[low:low + per_word]) for low in range(0, self.lanes, per_word))
        m.d.comb += [self.o_write.eq(going), self.o_codes.eq(words[word])]
        with m.If(going):
            m.d.sync += word.eq(Mux(digit_end, 0, word + 1))
        with m.If(digit_end):
            m.d.sync += digit.eq(digit + 1)
        with m.If(vector_end):
            m.d.sync += going.eq(0)
        with m.If(arrives):
            m.d.sync += [going.eq(1), digit.eq(1), word.eq(0)]
        return word, digit_end, vector_end

    def _place(self, m, word, digit_end, vector_end):
        """Follow the words of blocks, rows, chunks and digits."""
        run = self.i_run
        here, row_base, next_block = (Signal(24, name=name, reset_less=True)
                                      for name in ("here", "first_word", "next_block"))
        chunk, row = Signal(16, reset_less=True), Signal(16, reset_less=True)
        in_block, after = Signal(9, reset_less=True), Signal(24)
        row_end = Signal()
        m.d.comb += [after.eq(here + run.step), self.o_word.eq(here + word),
                     row_end.eq(vector_end & (chunk == run.n_chunks))]
        with m.If(digit_end):
            m.d.sync += here.eq(after)
        with m.If(vector_end):
            m.d.sync += chunk.eq(chunk + 1)
        with m.If(row_end):
            m.d.sync += [chunk.eq(1), row.eq(row + 1), in_block.eq(in_block + 1)]
            with m.If(in_block == 1):
                m.d.sync += next_block.eq(after)
            with m.If(in_block == run.block_rows):
                block = Mux(in_block == 1, after, next_block)
                m.d.sync += [in_block.eq(1), here.eq(block), row_base.eq(block)]
            with m.Else():
                m.d.sync += [here.eq(row_base + self._words), row_base.eq(row_base + self._words)]
            with m.If(row == run.n_rows):
                m.d.sync += self.o_busy.eq(0)
        with m.If(run.start):
            m.d.sync += [self.o_busy.eq(1), chunk.eq(1), row.eq(1), in_block.eq(1),
                         here.eq(run.base), row_base.eq(run.base)]

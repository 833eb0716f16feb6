"""Two banks of accumulators: one fills while the other drains."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .token import Token, position_shape

__all__ = ["Accumulators", "BlockAccumulators", "LutAccumulators"]


class Accumulators(wiring.Component):
    """Accumulate `count` sums side by side, at one position a cycle.

    A subclass for each kind of memory says how a bank is read and where the pipeline's registers
    stand.

    In each cycle one position of one bank is read, modified and written, and one position of the
    other bank can be read. All `count` accumulators share addresses and control.

    Parameters
    ----------
    shape : Shape
        Of a sum and an accumulator; sums wrap, the caller chooses the width so that they do not.
    count : int
        Accumulators at each position.
    depth : int
        Positions of a bank.
    maximum : int
        Of so many accumulators, the first ones, the larger of accumulator and sum can be kept
        instead of their sum.
    maximum_bits : int, optional
        Bits that hold what is compared then; by default all.
    narrow : int
        Accumulators after the first so many have `narrow_width` bits, and read as unsigned.
    narrow_width : int
        Up to the width of `shape`.

    Members
    -------
    i_token : Token
        Position to accumulate at.
    i_sums : count x shape
        What to accumulate, one cycle after `i_token`.
    i_maximum : 1
        Keep the maximum instead of the sum, with `i_sums` (if `maximum`).
    i_read : {bank, position}
        Position to read, in a bank without a valid `i_token` in the same cycle.
    i_select : count
        Accumulators to read, with `i_read`; the others read as 0.
    o_values : count x shape
        What `i_read` asked for, one cycle later (not registered).

    Latency: a sum can be drained by an `i_read` `latency` cycles after it. Throughput: one
    position a cycle, the same one again if need be: its sum is forwarded. No back-pressure.
    """

    latency = 1
    """Cycles from a sum to the first `i_read` that can ask for it."""

    def __init__(self, shape, *, count=1, depth, maximum=0, maximum_bits=None, narrow=None,
                 narrow_width=0):
        for name, value in (("count", count), ("depth", depth)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Accumulators.{name} must be an integer from 1, not {value!r}")
        self._shape = Shape.cast(shape)
        self._count, self._depth = count, depth
        self._maximum = maximum
        self._maximum_bits = self._shape.width if maximum_bits is None else maximum_bits
        wide = count if narrow is None else narrow
        self._shapes = [self._shape] * wide + [unsigned(narrow_width)] * (count - wide)
        super().__init__({
            "i_token": In(Token(depth)),
            "i_sums": In(data.ArrayLayout(self._shape, count)),
            "i_read": In(data.StructLayout({"bank": 1, "position": position_shape(depth)})),
            "i_select": In(count),
            "o_values": Out(data.ArrayLayout(self._shape, count)),
        } | ({"i_maximum": In(1)} if maximum else {}))

    def _bank(self, m, address, write, enable, next_values):
        """Add the memory of one bank; return the words at `address` a cycle later."""
        # One wide word, which packs best into the words of either kind of memory.
        m.submodules += (store := memory.Memory(shape=len(Cat(next_values)), depth=self._depth,
                                                init=[]))
        into = store.write_port()
        m.d.comb += [into.addr.eq(write.position), into.data.eq(Cat(next_values)),
                     into.en.eq(enable)]
        word = self._read(m, store, address, enable & (address == write.position))
        words, first = [], 0
        for value in next_values:
            words.append(word[first:first + len(value)])
            first += len(value)
        return words

    def _read(self, m, store, address, written):
        """Add a bank's read port; return the word at `address` a cycle later, any if `written`."""
        raise NotImplementedError

    def _stages(self, m, read):
        """Return tokens and sums where they meet the words: of the token whose sum is written,
        the one that is written a cycle later, sums and the choice of maxima.
        """
        raise NotImplementedError

    def _operand(self, m, forward, total, old, held):
        """Return what a sum is added to: the word, or with `forward` the sum before."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        # Of a token: its address is chosen, its word is there, its sum is written.
        token, read = self.i_token, Signal.like(self.i_token)
        m.d.sync += read.eq(token)
        write, before, sums, maximum = self._stages(m, read)
        next_values = [Signal(shape, name=f"next{i}") for i, shape in enumerate(self._shapes)]
        words, fills, drains = [], [], []
        for bank in range(2):
            fill_now, fill = Signal(name=f"fill_now{bank}"), Signal(name=f"fill{bank}")
            enable = Signal(name=f"enable{bank}")
            request = Signal(self._count, name=f"drain{bank}")
            address = Signal.like(token.position, name=f"address{bank}")
            m.d.comb += [
                fill_now.eq(token.valid & (token.bank == bank)),
                address.eq(Mux(fill_now, token.position, self.i_read.position)),
            ]
            m.d.sync += [
                enable.eq(before.valid & (before.bank == bank)),
                fill.eq(fill_now & ~token.clear),
                request.eq(Mux(self.i_read.bank == bank, self.i_select, 0)),
            ]
            words.append(self._bank(m, address, write, enable, next_values))
            fills.append(fill)
            drains.append(request)

        # A word that is read in the cycle in which it is written is the old one.
        forward = Signal()
        m.d.sync += forward.eq(
            read.valid & token.valid & ~token.clear
            & (read.bank == token.bank) & (read.position == token.position))

        for i, total in enumerate(next_values):
            width = len(total)
            # Masks registered beforehand: one LUT4 a bit chooses bank and row, or bank and clear.
            old = Value.cast(words[0][i] & fills[0].replicate(width)
                             | words[1][i] & fills[1].replicate(width))
            held = Signal(width, name=f"held{i}", reset_less=True)
            old, value = self._operand(m, forward, total, old, held), sums[i][:width]
            if self._shapes[i].signed:
                old, value = old.as_signed(), value.as_signed()
            if i < self._maximum:
                low = [Value.cast(term)[:self._maximum_bits] for term in (value, old)]
                if self._shapes[i].signed:
                    low = [term.as_signed() for term in low]
                most = Signal(low[0].shape(), name=f"most{i}")
                m.d.comb += most.eq(Mux(write.clear | (low[0] > low[1]), *low))
                with m.If(maximum):
                    m.d.comb += total.eq(most)
                with m.Else():
                    m.d.comb += total.eq(old + value)
            else:
                m.d.comb += total.eq(old + value)
            m.d.comb += Value.cast(self.o_values[i]).eq(
                words[0][i] & drains[0][i].replicate(width)
                | words[1][i] & drains[1][i].replicate(width))
        return m


class LutAccumulators(Accumulators):
    """In memory made of LUTs: a word and its sum are registered before they are added."""

    latency = 2

    def _read(self, m, store, address, written):
        out = store.read_port(domain="comb")
        m.d.sync += out.addr.eq(address)
        return out.data

    def _stages(self, m, read):
        # Sums come from engines that lie anywhere: this register is for the way.
        write, maximum = Signal.like(self.i_token), None
        sums = Signal.like(self.i_sums, name="sums", reset_less=True)
        m.d.sync += [write.eq(read), sums.eq(self.i_sums)]
        if self._maximum:
            maximum = Signal(name="maximum")
            m.d.sync += maximum.eq(self.i_maximum)
        return write, read, sums, maximum

    def _operand(self, m, forward, total, old, held):
        m.d.sync += held.eq(Mux(forward, total, old))
        return held


class BlockAccumulators(Accumulators):
    """In block RAM, whose output is late: it is added as it comes."""

    def _read(self, m, store, address, written):
        # Reading what is being written has no defined result in a block RAM, and is not needed: it
        # is forwarded. Without the enable Yosys adds logic to define it.
        out = store.read_port()
        m.d.comb += [out.addr.eq(address), out.en.eq(~written)]
        return out.data

    def _stages(self, m, read):
        return read, self.i_token, self.i_sums, self.i_maximum if self._maximum else None

    def _operand(self, m, forward, total, old, held):
        m.d.sync += held.eq(total)
        return Mux(forward, held, old)

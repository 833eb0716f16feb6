"""Two banks of accumulators: one fills while the other drains."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .token import Token, position_shape

__all__ = ["Accumulators"]


class Accumulators(wiring.Component):
    """Accumulate `count` sums side by side, at one position a cycle.

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
    distributed : bool
        Memories read without a clock (distributed RAM) rather than block RAM. A word and its sum
        are registered then before they are added.
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

    @staticmethod
    def latency(distributed):
        """Return the cycles from a sum to the first that can ask for it."""
        return 1 + distributed

    def __init__(self, shape, *, count=1, depth, distributed=True, maximum=0,
                 maximum_bits=None, narrow=None, narrow_width=0):
        for name, value in (("count", count), ("depth", depth)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Accumulators.{name} must be an integer from 1, not {value!r}")
        self._shape = Shape.cast(shape)
        self._count, self._depth = count, depth
        self._distributed, self._maximum = distributed, maximum
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
        if self._distributed:
            out = store.read_port(domain="comb")
            m.d.sync += out.addr.eq(address)
        else:
            # Reading what is being written has no defined result in a block RAM, and is not
            # needed: it is forwarded. Without the enable Yosys adds logic to define it.
            out = store.read_port()
            m.d.comb += [out.addr.eq(address),
                         out.en.eq(~(enable & (address == write.position)))]
        words, first = [], 0
        for value in next_values:
            words.append(out.data[first:first + len(value)])
            first += len(value)
        return words

    def elaborate(self, platform):
        m = Module()
        # Of a token: its address is chosen, its word is there, its sum is written.
        token, read = self.i_token, Signal.like(self.i_token)
        m.d.sync += read.eq(token)
        write, before, sums = read, token, self.i_sums
        maximum = self.i_maximum if self._maximum else None
        if self._distributed:
            write, before = Signal.like(self.i_token), read
            # Sums come from engines that lie anywhere: this register is for the way.
            sums = Signal.like(self.i_sums, name="sums", reset_less=True)
            m.d.sync += [write.eq(read), sums.eq(self.i_sums)]
            if maximum is not None:
                maximum = Signal(name="maximum")
                m.d.sync += maximum.eq(self.i_maximum)

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
            if self._distributed:
                m.d.sync += held.eq(Mux(forward, total, old))
                old = held
            else:
                m.d.sync += held.eq(total)
                old = Mux(forward, held, old)
            value = sums[i][:width]
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

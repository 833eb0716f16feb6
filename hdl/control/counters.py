"""Performance counters that share one adder."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.links import DIRECT
from ..common.thermometer import above
from ..isa import COUNTER_SET, Counter

__all__ = ["COUNTER_WIDTH", "Counters"]

COUNTER_WIDTH = 40
"""Bits of a counter; read as 8 bytes."""


class Counters(wiring.Component):
    """Count strobes, one counter for each `Counter`, layer by layer if there is room.

    Every counter has 4 or 5 bits of its own; their contents move into a 40-bit memory word, one
    counter a cycle in turn, so that a single wide adder serves all.

    Parameters
    ----------
    layers : int
        Sets of counters, from 1; the last one also counts for all layers after it.
    links : Links, optional
        Between the adder and the memory.

    Members
    -------
    i_increment : In(len(Counter))
        Bit k counts `Counter` k; may be high in every cycle.
    i_clear : In(1)
        Strobe: from the next cycle on the first set counts, from 0 (increments in this cycle
        are lost).
    i_next : In(1)
        Strobe, at most every `2 * len(Counter)` cycles: from this cycle on the next set counts.
    i_running : In(1)
        Reads get the set that counts, whichever they ask for. Low from the cycle after the last
        increment at the earliest.
    i_read : stream of bytes' addresses
        set * COUNTER_SET + counter * 8 + byte, little endian. Bytes 5 to 7 are 0, and so is what
        lies beyond the counters. Sets that the run has not reached mean nothing.
    o_read : stream of 8 bits
        The byte. Reading byte 0 keeps a copy of the counter for its other bytes, so that a
        counter read from byte 0 up is consistent while it counts. At most 20 cycles after the
        address (30 at the end of a run); what was counted 20 cycles before is in it. One byte at
        a time.
    """

    def __init__(self, layers=1, *, links=DIRECT):
        self._layers, self._links = layers, links
        super().__init__({
            "i_increment": In(len(Counter)), "i_clear": In(1), "i_next": In(1),
            "i_running": In(1),
            "i_read": In(stream.Signature(range(layers * COUNTER_SET))),
            "o_read": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        size, slots = len(Counter), COUNTER_SET // 8
        m.submodules.values = values = memory.Memory(
            shape=COUNTER_WIDTH, depth=self._layers * slots, init=[], attrs={"no_rw_check": 1})
        read, write = values.read_port(), values.write_port()

        turn, next_turn = Signal(range(size)), Signal(range(size))
        # Every turn, or while those of the set before move, every second one.
        width = 4 if self._layers == 1 else 5
        small = Array(Signal(width, name=f"small{k}") for k in range(size))
        # What the set before has counted last, on its way to the memory.
        late = Array(Signal(width, name=f"late{k}") for k in range(size))
        moving = Signal(range(size + 1))
        fresh = Signal(size, init=-1)  # the memory word is to be taken as 0
        counts, bank, asked = (Signal(range(self._layers), name=name)
                               for name in ("counts", "bank", "asked"))
        # In a run, and a little longer, the words that pass are those of the set that counts.
        advances, counting, own, moves = Signal(), Signal(), Signal(), Signal()
        settle = Signal(range(size + 1))  # cycles in which the last counts move after a run
        value, old, new = Signal(COUNTER_WIDTH), Signal(width), Signal(range(self._layers))
        m.d.comb += [
            next_turn.eq(Mux(turn == size - 1, 0, turn + 1)),
            advances.eq(self.i_next & (counts != self._layers - 1)),
            counting.eq(self.i_running | (settle != 0)),
            new.eq(Mux(counting, counts - (moving > 1), asked)),
            read.addr.eq(new * slots + next_turn),
            value.eq(Mux(fresh.bit_select(turn, 1), 0, read.data)),
            old.eq(Mux(moving != 0, late[turn], small[turn])),
            moves.eq(own & (moving == 0)),
        ]
        # A word is read again a round later.
        m.d.comb += [port.eq(self._links.delay(m, what, name, reset=name == "write_en"))
                     for name, port, what in (("write_addr", write.addr, bank * slots + turn),
                                              ("write_data", write.data, value + old),
                                              ("write_en", write.en, own & ~self.i_clear))]
        m.d.sync += [
            turn.eq(next_turn), bank.eq(new), own.eq(counting), moving.eq(moving - (moving != 0)),
            settle.eq(Mux(self.i_running, size, settle - (settle != 0))),
        ]
        for k in range(size):
            increment, now = self.i_increment[k], turn == k
            m.d.sync += small[k].eq(small[k] + increment)
            with m.If(now & moves):
                m.d.sync += small[k].eq(increment)
            with m.If(now & own):
                m.d.sync += fresh[k].eq(0)
            with m.If(advances):
                m.d.sync += [late[k].eq(Mux(now & moves, 0, small[k])),
                             small[k].eq(increment)]
            with m.If(self.i_clear):
                m.d.sync += [small[k].eq(0), fresh[k].eq(1)]
        with m.If(advances):
            m.d.sync += [counts.eq(counts + 1), moving.eq(size)]
        with m.Elif(moving == 1):
            m.d.sync += fresh.eq(-1)
        with m.If(self.i_clear):
            m.d.sync += [counts.eq(0), moving.eq(0)]

        copy = Signal(COUNTER_WIDTH, reset_less=True)
        address = Signal(len(self.i_read.payload), reset_less=True)
        counter, none = Signal(range(slots)), Signal()
        m.d.comb += [counter.eq(address[3:]), none.eq(above(counter, size - 1)),
                     asked.eq(address[3:] >> (slots - 1).bit_length())]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_read.ready.eq(1)
                m.d.sync += address.eq(self.i_read.payload)
                with m.If(self.i_read.valid):
                    m.next = "REPLY"
                    with m.If(self.i_read.payload[:3] == 0):
                        m.next = "COPY"
            with m.State("COPY"):
                m.d.sync += copy.eq(Mux(none, 0, value))
                with m.If(none
                          | ((counter == turn) & (moving == 0)
                             & (self.i_running | (~counting & (bank == asked))))):
                    m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += self.o_read.valid.eq(1)
                with m.Switch(address[:3]):
                    for k in range(COUNTER_WIDTH // 8):
                        with m.Case(k):
                            m.d.comb += self.o_read.payload.eq(copy.word_select(k, 8))
                with m.If(self.o_read.ready):
                    m.next = "IDLE"
        return m

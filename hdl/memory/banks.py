"""Byte memories of one group of the scratchpad."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Banks"]


class Banks(wiring.Component):
    """One-byte memories, each with a row of its own on both ports.

    Parameters
    ----------
    banks, depth : int
        Memories, and bytes of each.
    shared : bool
        Port B reads through port A's read port, where a block RAM has one of each kind; else each
        bank's writes and reads of port B share a port, and must have equal rows.
    holds : bool
        With `shared`: what port A has read is kept while port B reads.

    Members
    -------
    i_a_rows : In(banks x row), i_a_enable : In(1)
        Port A reads.
    i_r_rows : In(banks x row), i_read : In(1)
        Port B reads; with `shared` not with `i_a_enable`.
    i_w_rows : In(banks x row), i_write : In(banks), i_data : In(banks x 8)
        Port B writes, in the banks of `i_write`.
    o_a, o_b : Out(banks x 8)
        Bytes read, in the cycle after; those of port A stay until its next read.
    """

    def __init__(self, banks, depth, *, shared, holds):
        self._banks, self._depth, self._shared, self._holds = banks, depth, shared, holds
        rows = data.ArrayLayout(max((depth - 1).bit_length(), 1), banks)
        values = data.ArrayLayout(8, banks)
        super().__init__({
            "i_a_rows": In(rows), "i_a_enable": In(1), "i_r_rows": In(rows), "i_read": In(1),
            "i_w_rows": In(rows), "i_write": In(banks), "i_data": In(values),
            "o_a": Out(values), "o_b": Out(values),
        })

    def elaborate(self, platform):
        m = Module()
        use_held = Signal()
        if self._holds:
            with m.If(self.i_read):
                m.d.sync += use_held.eq(1)
            with m.Elif(self.i_a_enable):
                m.d.sync += use_held.eq(0)
        for bank in range(self._banks):
            m.submodules[f"bank{bank}"] = memory = Memory(
                shape=8, depth=self._depth, init=[], attrs={"no_rw_check": 1})
            write, a_port = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.i_w_rows[bank]), write.en.eq(self.i_write[bank]),
                write.data.eq(self.i_data[bank]),
                a_port.addr.eq(self.i_a_rows[bank]), a_port.en.eq(self.i_a_enable),
            ]
            a_byte = b_byte = a_port.data
            if self._shared:
                m.d.comb += [
                    a_port.addr.eq(Mux(self.i_read, self.i_r_rows[bank], self.i_a_rows[bank])),
                    a_port.en.eq(self.i_a_enable | self.i_read)]
            else:
                # The enable tells synthesis that both halves of the port take turns.
                b_port = memory.read_port()
                m.d.comb += [b_port.addr.eq(self.i_r_rows[bank]),
                             b_port.en.eq(self.i_read & ~write.en)]
                b_byte = b_port.data
            if self._holds:
                # A read of port B overwrites the memory's output: keep port A's byte.
                held = Signal(8, name=f"held{bank}", reset_less=True)
                with m.If(self.i_read & ~use_held):
                    m.d.sync += held.eq(a_port.data)
                a_byte = Mux(use_held, held, a_port.data)
            m.d.comb += [self.o_a[bank].eq(a_byte), self.o_b[bank].eq(b_byte)]
        return m

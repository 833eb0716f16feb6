"""Function tables: any 8-bit to 8-bit function, shared by all channels of a layer."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..contents import NOTHING
from ..isa import Space

__all__ = ["FunctionTable", "table_write_layout"]


def table_write_layout():
    """Return the layout of the host's write bus: address = table * 256 + index."""
    return data.StructLayout({"enable": 1, "address": 12, "data": 8})


class FunctionTable(wiring.Component):
    """Look up one byte per lane and cycle.

    Two lanes share one memory: a true dual-port block RAM whose first port also writes.

    Parameters
    ----------
    tables : int
        Tables held, 1..16.
    lanes : int
        Lookups a cycle.
    contents : Contents
        Of the tables, from configuration on.

    Members
    -------
    i_table : In(4)
        Which table.
    i_index : In(8 x lanes)
    i_write : In(table_write_layout)
        Host writes; what is looked up in the same cycle is undefined.
    o_value : Out(8 x lanes)

    Latency 1 cycle, no back-pressure.
    """

    latency = 1

    def __init__(self, tables, lanes, contents=NOTHING):
        if tables not in range(1, 17):
            raise ValueError(f"FunctionTable tables must be from 1 to 16, not {tables!r}")
        self._tables = tables
        self._lanes = lanes
        self._contents = contents
        super().__init__({
            "i_table": In(4), "i_index": In(data.ArrayLayout(8, lanes)),
            "i_write": In(table_write_layout()), "o_value": Out(data.ArrayLayout(8, lanes)),
        })

    @staticmethod
    def compute(contents, table, index):
        """Return the byte at an index of a table; `contents` are the bytes of all tables."""
        return contents[table * 256 + index]

    def elaborate(self, platform):
        m = Module()
        depth = self._tables * 256
        for first in range(0, self._lanes, 2):
            # Lookups while the host writes do not matter: no bypass is wanted.
            m.submodules[f"memory{first // 2}"] = memory = Memory(
                shape=8, depth=depth, init=self._contents.words(Space.TABLES, 1),
                attrs={"no_rw_check": 1, **self._contents.style})
            write = memory.write_port()
            m.d.comb += [write.en.eq(self.i_write.enable), write.data.eq(self.i_write.data)]
            for lane in range(first, min(first + 2, self._lanes)):
                read = memory.read_port()
                address = Cat(self.i_index[lane], self.i_table)
                if lane == first:
                    # Kept, or synthesis simplifies the two uses differently and no longer
                    # sees that the port's read and write share an address.
                    shared = Signal(len(read.addr), name=f"address{lane}", attrs={"keep": 1})
                    m.d.comb += [
                        shared.eq(Mux(self.i_write.enable, self.i_write.address, address)),
                        write.addr.eq(shared), read.en.eq(~self.i_write.enable),
                    ]
                    address = shared
                m.d.comb += [read.addr.eq(address), self.o_value[lane].eq(read.data)]
        return m

"""AXI4-Stream and AXI4-Lite as signatures, and an AXI4-Lite port for registers."""

from amaranth import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AxiLite", "AxiLitePort", "AxiStream", "Response"]


class Response(enum.Enum, shape=2):
    """BRESP and RRESP."""

    OKAY = 0
    SLVERR = 2
    """The register does not take the access."""
    DECERR = 3
    """There is nothing at the address."""


class AxiStream(wiring.Signature):
    """A byte stream from its transmitter's side.

    Parameters
    ----------
    last : bool
        Whether it has TLAST.
    """

    def __init__(self, *, last):
        super().__init__({"tdata": Out(8), "tvalid": Out(1), "tready": In(1)}
                         | ({"tlast": Out(1)} if last else {}))


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32 data bits from its manager's side."""

    def __init__(self, address_bits):
        super().__init__({
            "awaddr": Out(address_bits), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(Response), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(address_bits), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(Response), "rvalid": In(1), "rready": Out(1),
        })


class AxiLitePort(wiring.Component):
    """Turn AXI4-Lite transfers into reads and writes of registers, one at a time each.

    Members
    -------
    axi : In(AxiLite)
        Addresses count bytes, their low two bits are ignored; AWPROT and ARPROT are ignored.
        Address and data of a write may come in any order. No output depends on an input of the
        same cycle.
    o_write, o_write_address, o_write_data, o_write_mask : Out
        A write, for one cycle: the word's address, and the mask of the bits to be written.
    i_write_response : In(Response)
        Its answer, in the same cycle.
    o_read_address : Out
        The word that is read.
    i_read_data, i_read_response : In
        Its answer, in the same cycle.

    An access takes 2 cycles from the transfer of address and data to that of the answer.
    """

    def __init__(self, address_bits):
        self._address_bits = address_bits
        words = address_bits - 2
        super().__init__({
            "axi": In(AxiLite(address_bits)),
            "o_write": Out(1), "o_write_address": Out(words), "o_write_data": Out(32),
            "o_write_mask": Out(32), "i_write_response": In(Response),
            "o_read_address": Out(words), "i_read_data": In(32),
            "i_read_response": In(Response),
        })

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        # What has come of the next write, and of the next read.
        address, data, asked = Signal(), Signal(), Signal()
        strobes = Signal(4)
        m.d.comb += [
            axi.awready.eq(~address), axi.wready.eq(~data), axi.arready.eq(~asked),
            self.o_write.eq(address & data & ~axi.bvalid),
        ]
        for lane in range(4):
            m.d.comb += self.o_write_mask.word_select(lane, 8).eq(strobes[lane].replicate(8))
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [address.eq(1), self.o_write_address.eq(axi.awaddr[2:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [data.eq(1), self.o_write_data.eq(axi.wdata), strobes.eq(axi.wstrb)]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(self.o_write):
            m.d.sync += [axi.bvalid.eq(1), axi.bresp.eq(self.i_write_response),
                         address.eq(0), data.eq(0)]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [asked.eq(1), self.o_read_address.eq(axi.araddr[2:])]
        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)
        with m.If(asked & ~axi.rvalid):
            m.d.sync += [axi.rvalid.eq(1), axi.rdata.eq(self.i_read_data),
                         axi.rresp.eq(self.i_read_response), asked.eq(0)]
        return m

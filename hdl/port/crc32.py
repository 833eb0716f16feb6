"""CRC-32 of frames, a byte a cycle, in few gates."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..frames import CRC_BYTES

__all__ = ["Crc32"]

_WIDTH = 8 * CRC_BYTES
_POLYNOMIAL = 0xedb88320


def _shifted(value):
    """Return what eight steps of the register make of a lowest byte."""
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


class Crc32(wiring.Component):
    """Compute the CRC-32 of IEEE 802.3 (`zlib.crc32`) of a run of bytes.

    The byte meets the register's lowest byte once, and what each bit of that sum does to the rest
    is a constant; `amaranth.lib.crc` leaves it to synthesis to find the sum, which takes 1.7 times
    the LUTs. Without the sum the register only turns, which hands out the bytes of the checksum
    in the order in which frames carry them.

    Parameters
    ----------
    crc : int
        The checksum before the first start, 32 bits; by default that of no bytes.

    Members
    -------
    i_start : In(1)
        Strobe: begin anew.
    i_valid : In(1), i_data : In(8)
        Take a byte.
    i_turn : In(1)
        With `i_valid`: take no byte, but turn the checksum right by one; after `CRC_BYTES` times it
        is as before.
    o_crc : Out(32)
        The checksum of the bytes before this cycle.
    """

    i_start: In(1)
    i_valid: In(1)
    i_data: In(8)
    i_turn: In(1)
    o_crc: Out(_WIDTH)

    def __init__(self, crc=0):
        self._crc = crc
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        register = Signal(_WIDTH, init=self._crc ^ (1 << _WIDTH) - 1)
        met, turned = Signal(8), Signal(_WIDTH)
        m.d.comb += [
            met.eq(Mux(self.i_turn, 0, register[:8] ^ self.i_data)),
            turned.eq(Cat(register[8:], register[:8] & self.i_turn.replicate(8))),
            self.o_crc.eq(~register),
        ]
        flips = [_shifted(1 << bit) for bit in range(8)]
        after = []
        for k in range(_WIDTH):
            bit = turned[k]
            for flip, change in zip(flips, met, strict=True):
                if flip >> k & 1:
                    bit = bit ^ change
            after.append(bit)
        with m.If(self.i_start):
            m.d.sync += register.eq(-1)
        with m.Elif(self.i_valid):
            m.d.sync += register.eq(Cat(after))
        return m

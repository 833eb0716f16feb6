"""Fixed delay for a wide value."""

import contextlib
import enum

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["DelayLine", "Ring", "delay"]


class Ring(enum.Enum):
    """Memory that a long delay may be a ring in."""

    LUTS = "memory made of LUTs, read without a clock"
    BLOCK = "block RAM"


def delay(m, value, cycles, name, *, reset=False, enable=None):
    """Return `value` after `cycles` registers, which clear on reset only if asked to (strobes) and
    move only with `enable`, if there is one.
    """
    for stage in range(cycles):
        after = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=not reset)
        with contextlib.nullcontext() if enable is None else m.If(enable):
            m.d.sync += after.eq(value)
        value = after
    return value


class DelayLine(wiring.Component):
    """Delay a value by a fixed number of cycles.

    Parameters
    ----------
    width : int
        Bits of the value.
    cycles : int
        Delay, at least 1.
    ring : Ring, optional
        Use a ring in such memory when that is smaller (4 cycles or more), one of LUTs with a
        register of its own behind it; else a chain of registers.

    Members
    -------
    i_value : In(width)
    o_value : Out(width)
        `i_value`, `cycles` earlier.

    One value a cycle, no back-pressure. What comes out in the first `cycles` cycles is
    undefined.
    """

    def __init__(self, width, cycles, ring=None):
        if cycles < 1:
            raise ValueError(f"DelayLine cycles must be at least 1, not {cycles!r}")
        self._width = width
        self._cycles = cycles
        self._ring = ring if cycles >= 4 else None
        super().__init__({"i_value": In(width), "o_value": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if self._ring is None:
            m.d.comb += self.o_value.eq(delay(m, self.i_value, self._cycles, "stage"))
        elif self._ring is Ring.LUTS:
            self._add_luts(m)
        else:
            self._add_blocks(m)
        return m

    def _add_luts(self, m):
        """Read a row just before it is written again, `depth` cycles after the last time."""
        depth = self._cycles - 1
        m.submodules.ring = ring = Memory(shape=self._width, depth=depth, init=[])
        write, read = ring.write_port(), ring.read_port(domain="comb")
        row = Signal(range(depth))
        after = Signal(self._width, reset_less=True)
        m.d.sync += [row.eq(Mux(row == depth - 1, 0, row + 1)), after.eq(read.data)]
        m.d.comb += [
            write.addr.eq(row), write.en.eq(1), write.data.eq(self.i_value),
            read.addr.eq(row), self.o_value.eq(after),
        ]

    def _add_blocks(self, m):
        """Read `cycles - 1` rows behind the one that is written, never the same one."""
        depth = 1 << (self._cycles - 1).bit_length()
        m.submodules.ring = ring = Memory(shape=self._width, depth=depth, init=[],
                                          attrs={"no_rw_check": 1})
        write, read = ring.write_port(), ring.read_port()
        row, behind = Signal(range(depth)), Signal(range(depth), init=1 - self._cycles + depth)
        m.d.sync += [row.eq(row + 1), behind.eq(behind + 1)]
        m.d.comb += [
            write.addr.eq(row), write.en.eq(1), write.data.eq(self.i_value),
            read.addr.eq(behind), self.o_value.eq(read.data),
        ]

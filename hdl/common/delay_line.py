"""Fixed delay for a wide value."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["DelayLine", "delay"]


def delay(m, value, cycles, name, *, reset=False):
    """Return `value` after `cycles` registers, which clear on reset only if asked to (strobes)."""
    for stage in range(cycles):
        after = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=not reset)
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
    distributed : bool
        Use a ring in distributed RAM, with its own register behind it, when that is smaller
        (4 cycles or more); else a chain of registers.
    block : bool
        Use a ring in block RAM from 4 cycles on.

    Members
    -------
    i_value : In(width)
    o_value : Out(width)
        `i_value`, `cycles` earlier.

    One value a cycle, no back-pressure. What comes out in the first `cycles` cycles is
    undefined.
    """

    def __init__(self, width, cycles, distributed=False, block=False):
        if cycles < 1:
            raise ValueError(f"DelayLine cycles must be at least 1, not {cycles!r}")
        self._width = width
        self._cycles = cycles
        self._distributed, self._block = (kind and cycles >= 4 for kind in (distributed, block))
        super().__init__({"i_value": In(width), "o_value": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if self._block:
            self._add_blocks(m)
            return m
        if not self._distributed:
            m.d.comb += self.o_value.eq(delay(m, self.i_value, self._cycles, "stage"))
            return m
        # A row is read just before it is written again, `depth` cycles after the last time.
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
        return m

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

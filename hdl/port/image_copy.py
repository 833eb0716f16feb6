"""Images to the scratchpad as they come."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from ..common.thermometer import above
from .unfold import unfold_members

__all__ = ["ImageCopy", "stored_as_they_come"]


def stored_as_they_come(config):
    """Return whether all images are, row behind row, by the ranges of INPUT's fields."""
    low, high = zip(*(config.range_of(f"input.{name}") for name in (
        "fold", "stride", "pad", "channels", "pixel_step", "row_values", "row_step", "rows",
        "out_rows")), strict=True)
    return low == high and low[:3] == (1, 1, 0) and low[3::2] == low[4::2]


class ImageCopy(wiring.Component):
    """Do what `Unfold` does where every INPUT record says the same: each byte once, in order.

    Parameters
    ----------
    config : Config
        Its images are stored as they come.

    Members
    -------
    Those of `Unfold`. A byte takes a cycle, and nothing is left to do behind it.
    """

    def __init__(self, config):
        if not stored_as_they_come(config):
            raise ValueError("Config.ranges must say that images are stored as they come")
        self._size = (config.range_of("input.rows")[1]
                      * config.range_of("input.row_values")[1])
        self._scratch_bytes, self._width = config.memory.scratch_bytes, config.unfold_width
        super().__init__(unfold_members())

    def elaborate(self, platform):
        m = Module()
        address = Signal(self._width, reset_less=True)
        left = Signal(range(self._size + 1))
        stored = Signal()
        m.d.comb += [
            # More bytes than the image has, and places past the scratchpad, are dropped.
            stored.eq((left != 0) & ~above(address, self._scratch_bytes - 1)),
            self.o.valid.eq(self.i.valid & stored),
            self.o.payload.address.eq(address), self.o.payload.data.eq(self.i.payload),
            self.i.ready.eq(~self.i_start.strobe & (self.o.ready | ~stored)),
        ]
        with m.If(self.i_start.strobe):
            m.d.sync += [address.eq(self.i_start.base), left.eq(self._size)]
        with m.Elif(self.i.valid & self.i.ready & (left != 0)):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
        return m

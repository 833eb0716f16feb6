"""Masks of a vector's lanes, from coordinates: which are border, and which past the run."""

from amaranth import Module, Signal
from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import above
from ..records import WindowSchedule

__all__ = ["LaneMasks"]


class LaneMasks(wiring.Component):
    """Turn coordinates of a vector's first byte into counts of lanes.

    Parameters
    ----------
    config : Config
    latency : int
        Cycles of `i_advance` from the coordinates to the masks, at least 1.

    Members
    -------
    i_window : In(WindowSchedule)
        `row_bytes` and `in_rows` are used; stable while vectors are on their way.
    i_advance : In(1)
        Let the pipeline move.
    i_xb : In(signed), i_iy : In(signed), i_run_left : In
        Byte coordinate, row coordinate, bytes of the run from the vector's first byte on.
    o_border_left, o_border_from, o_run_left : Out(range(read_lanes + 1))
        Lanes below the first, and from the second on, are border; lanes from the third on
        are past the run.

    One vector a cycle.
    """

    def __init__(self, config, latency):
        self._lanes, self._latency = config.read_lanes, latency
        lanes = range(config.read_lanes + 1)
        super().__init__({
            "i_window": In(WindowSchedule.layout().shape), "i_advance": In(1),
            "i_xb": In(signed(config.coordinate_width + 1)), "i_iy": In(signed(config.row_width)),
            "i_run_left": In(config.counter_width("steps.run_bytes")),
            "o_border_left": Out(lanes), "o_border_from": Out(lanes), "o_run_left": Out(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, window, xb, iy = self._lanes, self.i_window, self.i_xb, self.i_iy
        outputs = self.o_border_left, self.o_border_from, self.o_run_left
        left, right, run = masks = [
            Signal(range(lanes + 1), name=name, reset_less=True)
            for name in ("border_left", "border_from", "run_left")]

        def clamp(target, value, most, negative=0, carry=0):
            """Register a number, if it is not negative and at most `most`, and a carry."""
            with m.If(negative):
                m.d.sync += target.eq(0)
            with m.Elif(above(value, most)):
                m.d.sync += target.eq(lanes)
            with m.Else():
                m.d.sync += target.eq(value[:len(target)] + carry)

        outside, beyond = Signal(), Signal(signed(len(xb) + 1))
        m.d.comb += [outside.eq(iy[-1] | (iy[:-1] >= window.in_rows)),
                     beyond.eq(window.row_bytes - xb)]
        with m.If(self.i_advance):
            # -xb is its complement and a carry.
            clamp(left, ~xb[:-1], lanes - 1, ~xb[-1], carry=1)
            with m.If(outside):
                m.d.sync += left.eq(lanes)
            clamp(right, beyond[:-1], lanes, beyond[-1])
            clamp(run, self.i_run_left, lanes)
        for mask, output in zip(masks, outputs, strict=True):
            for stage in range(self._latency - 1):
                after = Signal.like(mask, name=f"{mask.name}_{stage}")
                with m.If(self.i_advance):
                    m.d.sync += after.eq(mask)
                mask = after
            m.d.comb += output.eq(mask)
        return m

"""Position counter: columns, rows and image slots, with running sums beside them."""

from amaranth import Module, Signal
from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Positions"]


class Positions(wiring.Component):
    """Step through positions (column fastest, then row, then slot).

    Each *track* is a signed running sum that moves by its own step per column, per row and
    per slot, so addresses and coordinates need no multiplication. A mark remembers one
    position, the first of a burst.

    Parameters
    ----------
    widths : sequence of int
        Width of each track, bits.
    count_width : int
        Bits that count columns and rows, at most 16.

    Members
    -------
    i_n_x, i_n_y : In(16)
        Columns and rows, from 1; of each the low `count_width` bits.
    i_base{k}, i_x{k}, i_y{k}, i_slot{k} : In(signed)
        Start value and steps of track k.
    i_start : In(1)
        Strobe: go to position 0 and mark it.
    i_step : In(1)
        Strobe: go to the next position.
    i_restart : In(1)
        With `i_step`: as `i_start`.
    i_rewind : In(1)
        With `i_step` alone: go back to the mark instead.
    i_commit : In(1)
        With `i_step` and not with `i_rewind`: mark the next position.
    o_x : Out(count_width)
        Column of the current position, from 1.
    o_value{k} : Out(signed)
        Track k at the current position.

    Latency 1 cycle, one step a cycle, no back-pressure.
    """

    def __init__(self, widths, count_width=16):
        self._widths, self._count_width = tuple(widths), min(count_width, 16)
        members = {"i_n_x": In(16), "i_n_y": In(16), "i_start": In(1), "i_step": In(1),
                   "i_restart": In(1), "i_rewind": In(1), "i_commit": In(1),
                   "o_x": Out(self._count_width)}
        for k, width in enumerate(self._widths):
            for name in ("base", "x", "y", "slot"):
                members[f"i_{name}{k}"] = In(signed(width))
            members[f"o_value{k}"] = Out(signed(width))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        # Counted from 1, so that the ends need no subtraction; ends are known a cycle ahead.
        n_x, n_y = (limit[:self._count_width] for limit in (self.i_n_x, self.i_n_y))
        names = ("x", "y", "mark_x", "mark_y", "next_x", "next_y")
        x, y, mark_x, mark_y, next_x, next_y = (
            Signal(self._count_width, name=name, reset_less=True) for name in names)
        x_last, y_last, mark_x_last, mark_y_last, next_x_last, next_y_last = (
            Signal(name=f"{name}_last", reset_less=True) for name in names)
        slot_end, begins, moves, marks = Signal(), Signal(), Signal(), Signal()
        x_after, y_after = Signal.like(x), Signal.like(y)
        m.d.comb += [
            self.o_x.eq(x), slot_end.eq(x_last & y_last), x_after.eq(x + 1), y_after.eq(y + 1),
            begins.eq(self.i_start | self.i_restart),
            next_x.eq(x_after), next_x_last.eq(x_after == n_x),
            next_y.eq(y), next_y_last.eq(y_last),
        ]
        with m.If(x_last):
            m.d.comb += [next_x.eq(1), next_x_last.eq(n_x == 1),
                         next_y.eq(y_after), next_y_last.eq(y_after == n_y)]
        with m.If(slot_end):
            m.d.comb += [next_y.eq(1), next_y_last.eq(n_y == 1)]
        with m.If(self.i_rewind):
            m.d.comb += [next_x.eq(mark_x), next_x_last.eq(mark_x_last),
                         next_y.eq(mark_y), next_y_last.eq(mark_y_last)]
        with m.If(begins):
            m.d.comb += [next_x.eq(1), next_x_last.eq(n_x == 1),
                         next_y.eq(1), next_y_last.eq(n_y == 1)]
        # A mark takes what its counter or track takes.
        m.d.comb += [moves.eq(self.i_start | self.i_step),
                     marks.eq(self.i_start | (self.i_step & (self.i_restart | self.i_commit)))]
        with m.If(moves):
            m.d.sync += [x.eq(next_x), y.eq(next_y), x_last.eq(next_x_last),
                         y_last.eq(next_y_last)]
        with m.If(marks):
            m.d.sync += [mark_x.eq(next_x), mark_y.eq(next_y), mark_x_last.eq(next_x_last),
                         mark_y_last.eq(next_y_last)]

        for k, width in enumerate(self._widths):
            value = Signal(signed(width), name=f"value{k}", reset_less=True)
            mark = Signal(signed(width), name=f"mark{k}", reset_less=True)
            step = Signal(signed(width), name=f"step{k}")
            after = Signal(signed(width), name=f"after{k}")
            following = Signal(signed(width), name=f"following{k}")
            m.d.comb += [
                step.eq(getattr(self, f"i_x{k}")),
                after.eq(value + step), following.eq(after),
                getattr(self, f"o_value{k}").eq(value),
            ]
            with m.If(slot_end):
                m.d.comb += step.eq(getattr(self, f"i_slot{k}"))
            with m.Elif(x_last):
                m.d.comb += step.eq(getattr(self, f"i_y{k}"))
            with m.If(self.i_rewind):
                m.d.comb += following.eq(mark)
            with m.If(begins):
                m.d.comb += following.eq(getattr(self, f"i_base{k}"))
            with m.If(moves):
                m.d.sync += value.eq(following)
            with m.If(marks):
                m.d.sync += mark.eq(following)
        return m

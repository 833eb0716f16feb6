"""Steps of a burst: where in the window the vectors of each step lie."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.odometer import Odometer
from ..instruction import run_layout

__all__ = ["WindowSteps"]


class WindowSteps(wiring.Component):
    """Go through kernel rows, kernel columns, chunks of a run and digits, digits innermost.

    Each level keeps where it began, so offsets need no multiplication.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_run : In(run_layout of steps, window)
        Stable from the start strobe to the last step.
    i_step : In(1)
        Strobe: the next step; the first of a burst after the last.
    o_address : Out(address_width), o_xb : Out(coordinate_width), o_iy : Out(row_width)
        Address, byte coordinate and row coordinate, relative to those of the position.
    o_run_left : Out
        Bytes of the run from this vector on.
    o_first : Out(1), o_last : Out(1)
        The first step of a burst; the last one.

    All outputs are registers, valid from the cycle after `i_run.start` or `i_step` on.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "i_run": In(run_layout(config, "steps", "window")), "i_step": In(1),
            "o_address": Out(config.address_width), "o_xb": Out(config.coordinate_width),
            "o_iy": Out(config.row_width), "o_run_left": Out(config.counter_width(
                "steps.run_bytes")), "o_first": Out(1), "o_last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        loops, window, start = self.i_run.steps, self.i_run.window, self.i_run.start
        bits = self._config.counter_width
        m.submodules.steps = steps = Odometer(
            {name: bits(f"steps.n_{name}") for name in ("digits", "chunks", "kx", "ky")})
        digit_last, chunk_last, kx_last = (
            steps.o_digits_last, steps.o_chunks_last, steps.o_kx_last)
        width, xb_width = self._config.address_width, self._config.coordinate_width
        addr, kx_addr, ky_addr = (Signal(width, name=name, reset_less=True)
                                  for name in ("addr", "kx_addr", "ky_addr"))
        xb, kx_xb = (Signal(xb_width, name=name, reset_less=True) for name in ("xb", "kx_xb"))
        iy = Signal(self._config.row_width, reset_less=True)
        run_left = Signal(bits("steps.run_bytes"), reset_less=True)
        m.d.comb += [
            *(getattr(steps, f"i_{name}").eq(loops[f"n_{name}"])
              for name in ("digits", "chunks", "kx", "ky")),
            steps.i_start.eq(start), steps.i_step.eq(self.i_step), self.o_last.eq(steps.o_last),
            self.o_address.eq(addr), self.o_xb.eq(xb), self.o_iy.eq(iy),
            self.o_run_left.eq(run_left),
        ]
        # A step goes on from where the innermost level that has not ended began.
        next_addr, next_xb = Signal(width), Signal(xb_width)
        addr_from, addr_by = Signal.like(addr), Signal.like(addr)
        m.d.comb += [addr_from.eq(addr), addr_by.eq(window.chunk_bytes)]
        with m.If(chunk_last & kx_last):
            m.d.comb += [addr_from.eq(ky_addr), addr_by.eq(window.ky_addr)]
        with m.Elif(chunk_last):
            m.d.comb += [addr_from.eq(kx_addr), addr_by.eq(window.kx_addr)]
        m.d.comb += [
            next_addr.eq(addr_from + addr_by),
            next_xb.eq(Mux(chunk_last, kx_xb, xb)
                       + Mux(chunk_last, window.kx_xb, window.chunk_bytes)),
        ]
        restart = [addr.eq(0), kx_addr.eq(0), ky_addr.eq(0), xb.eq(0), kx_xb.eq(0), iy.eq(0),
                   run_left.eq(loops.run_bytes), self.o_first.eq(1)]
        with m.If(start):
            m.d.sync += restart
        with m.Elif(self.i_step):
            m.d.sync += self.o_first.eq(0)
            with m.If(steps.o_last):
                m.d.sync += restart
            with m.Elif(digit_last & chunk_last & kx_last):
                m.d.sync += [addr.eq(next_addr), kx_addr.eq(next_addr), ky_addr.eq(next_addr),
                             xb.eq(0), kx_xb.eq(0), iy.eq(iy + window.ky_iy),
                             run_left.eq(loops.run_bytes)]
            with m.Elif(digit_last & chunk_last):
                m.d.sync += [addr.eq(next_addr), kx_addr.eq(next_addr), xb.eq(next_xb),
                             kx_xb.eq(next_xb), run_left.eq(loops.run_bytes)]
            with m.Elif(digit_last):
                m.d.sync += [addr.eq(next_addr), xb.eq(next_xb),
                             run_left.eq(run_left - window.chunk_bytes)]
        return m

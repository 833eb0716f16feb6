"""An accelerator as it lies on a board, between a clock that has to lock and a few pins."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..contents import NOTHING
from ..top.serial_accelerator import SerialAccelerator, flash_members

__all__ = ["BoardTop", "Lights", "ResetHold"]

RESET_CYCLES = 1024
"""Cycles of reset after a lock: 10 microseconds and more, in which iCE40's block RAMs wake up."""


class ResetHold(wiring.Component):
    """Hold a domain in reset until its clock has been steady for a while, and again if it is not.

    Registers of its own domain ``raw`` begin with their initial values on all three families.

    Parameters
    ----------
    cycles : int
        Steady cycles of reset, a power of two from 2.

    Members
    -------
    i_locked : In(1)
        Asynchronous; synchronised here, so a spike shorter than a cycle may pass unseen.
    o_reset : Out(1)
        A register: high from configuration on, until ``i_locked`` has been high for ``cycles`` and
        a few.
    """

    i_locked: In(1)
    o_reset: Out(1, init=1)

    def __init__(self, cycles=RESET_CYCLES):
        if cycles < 2 or cycles & (cycles - 1):
            raise ValueError(f"cycles must be a power of two from 2, not {cycles!r}")
        self._cycles = cycles
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        locked, short = Signal(), Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.i_locked, locked, o_domain="raw")
        # The top bit tells that it has been long enough, and stops the count.
        passed = Signal(range(self._cycles + 1))
        # A register more, which may lie by what is reset.
        m.d.raw += [short.eq(~passed[-1]), self.o_reset.eq(short)]
        with m.If(~locked):
            m.d.raw += passed.eq(0)
        with m.Else():
            m.d.raw += passed.eq(passed + ~passed[-1])
        return m


class Lights(wiring.Component):
    """Make what an accelerator does visible.

    Parameters
    ----------
    period : int
        Cycles of half a blink, rounded up to a power of two, from 2.

    Members
    -------
    i_running, i_program : In(1)
        Of the accelerator.
    o_alive : Out(1)
        Blinks: the clock runs and the reset is over.
    o_running : Out(1)
        Lit during a run and for one to two eighths of ``period`` after it, so that short ones are
        seen.
    o_program : Out(1)
        Lit while a program is loaded.
    """

    i_running: In(1)
    i_program: In(1)
    o_alive: Out(1)
    o_running: Out(1)
    o_program: Out(1)

    def __init__(self, period):
        if period < 2:
            raise ValueError(f"period must be at least 2 cycles, not {period!r}")
        self._bits = (period - 1).bit_length()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        time = Signal(self._bits + 1)
        eighth, before, seen = time[max(self._bits - 3, 0)], Signal(), Signal()
        # Lights are far from what they show.
        running, program = (delay(m, port, 2, name, reset=True) for name, port in (
            ("running", self.i_running), ("program", self.i_program)))
        m.d.sync += [time.eq(time + 1), before.eq(eighth), self.o_program.eq(program),
                     seen.eq(seen | running), self.o_running.eq(self.o_running | running)]
        # What has been seen since the last eighth is shown for the next one.
        with m.If(eighth != before):
            m.d.sync += [seen.eq(running), self.o_running.eq(seen | running)]
        m.d.comb += self.o_alive.eq(time[-1])
        return m


class BoardTop(wiring.Component):
    """A `SerialAccelerator` with clock, reset and lights: all of a board but pins and PLL.

    Parameters
    ----------
    config : Config
    divisor : int
        Clock cycles of a bit of the serial line, from 4.
    clock_hz : int
        For the lights, which blink about once a second.
    contents : Contents
        See `Accelerator`.

    Members
    -------
    i_clock : In(1)
        The PLL's clock; the only one.
    i_locked : In(1)
        Whether it is steady.
    i_rx, o_tx, and with `Config.port.flash_loader` those of the flash
        See `SerialAccelerator`.
    o_alive, o_running, o_program : Out(1)
        See `Lights`.
    """

    def __init__(self, config, divisor, clock_hz, contents=NOTHING):
        self._config = config
        self._contents = contents
        self._divisor = divisor
        self._period = clock_hz // 2
        self._flash = flash_members(config)
        super().__init__({
            "i_clock": In(1), "i_locked": In(1), "i_rx": In(1), "o_tx": Out(1, init=1),
            "o_alive": Out(1), "o_running": Out(1), "o_program": Out(1), **self._flash,
        })

    def elaborate(self, platform):
        m = Module()
        m.domains.raw = ClockDomain(reset_less=True)
        m.domains.sync = ClockDomain()
        m.submodules.reset = reset = ResetHold()
        m.submodules.serial = serial = SerialAccelerator(
            self._config, self._divisor, self._contents)
        m.submodules.lights = lights = Lights(self._period)
        m.d.comb += [
            ClockSignal("raw").eq(self.i_clock), ClockSignal("sync").eq(self.i_clock),
            reset.i_locked.eq(self.i_locked), ResetSignal("sync").eq(reset.o_reset),
            serial.i_rx.eq(self.i_rx), self.o_tx.eq(serial.o_tx),
            lights.i_running.eq(serial.o_running), lights.i_program.eq(serial.o_program),
            self.o_alive.eq(lights.o_alive), self.o_running.eq(lights.o_running),
            self.o_program.eq(lights.o_program),
        ]
        for name, member in self._flash.items():
            inner, outer = getattr(serial, name), getattr(self, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        return m

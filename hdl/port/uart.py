"""A serial line, 8 data bits, no parity, 1 stop bit: bytes in and out over one wire each way."""

from amaranth import C, Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

__all__ = ["Uart", "UartReceiver", "UartTransmitter", "divisor_for"]

LEAST_DIVISOR = 4
"""Cycles of a bit that leave the receiver room to find its middle."""
TOLERANCE = 0.02
"""Error of the rate that a receiver at the other end still forgives, with as much of its own."""


def divisor_for(clock_hz, baud):
    """Return the clock cycles of a bit; `ValueError` if the clock cannot make the rate.

    Parameters
    ----------
    clock_hz : float
    baud : int
        Bits a second.
    """
    divisor = round(clock_hz / baud)
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"baud must be at most a {LEAST_DIVISOR}th of the clock of {clock_hz:g} "
                         f"Hz, not {baud}")
    if abs(clock_hz / divisor / baud - 1) > TOLERANCE:
        raise ValueError(f"baud must be within {TOLERANCE:.0%} of {clock_hz / divisor:.0f}, the "
                         f"nearest rate of a clock of {clock_hz:g} Hz, not {baud}")
    return divisor


def _check(divisor):
    if not isinstance(divisor, int) or isinstance(divisor, bool) or divisor < LEAST_DIVISOR:
        raise ValueError(f"divisor must be an integer of at least {LEAST_DIVISOR}, "
                         f"not {divisor!r}")
    return divisor


class UartReceiver(wiring.Component):
    """Receive bytes.

    A bit is read once, in its middle. A byte whose stop bit is low is dropped, and the line must
    be high again before the next one (a break gives no bytes).

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, from 4.

    Members
    -------
    i_rx : In(1)
        The wire, high when idle; synchronised here.
    o : stream of 8 bits
        Received bytes, one cycle after the middle of the stop bit. A byte waits until the
        next one is complete, 10 bits later; a line cannot be held back.
    o_overrun : Out(1)
        Strobe: a byte was not taken in time, and the next one has replaced it.
    o_framing : Out(1)
        Strobe: a byte was dropped for its stop bit.
    """

    def __init__(self, divisor):
        self._divisor = _check(divisor)
        super().__init__({
            "i_rx": In(1), "o": Out(stream.Signature(8)), "o_overrun": Out(1),
            "o_framing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.i_rx, rx, init=1)
        timer = Signal(range(self._divisor))
        left = Signal(range(9))
        bits, byte = Signal(8, reset_less=True), Signal(8, reset_less=True)
        middle = Signal()
        m.d.comb += [middle.eq(timer == 0), self.o.payload.eq(byte)]
        m.d.sync += timer.eq(timer - 1)
        with m.If(middle):
            m.d.sync += timer.eq(self._divisor - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq((self._divisor - 1) // 2), left.eq(8)]
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"):
                with m.If(middle):
                    m.next = "DATA"
                    with m.If(rx):
                        m.next = "IDLE"  # a spike
            with m.State("DATA"):
                with m.If(middle):
                    m.d.sync += [bits.eq(Cat(bits[1:], rx)), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(middle):
                    m.next = "BREAK"
                    m.d.comb += self.o_framing.eq(~rx)
                    with m.If(rx):
                        m.d.comb += self.o_overrun.eq(self.o.valid & ~self.o.ready)
                        m.d.sync += [byte.eq(bits), self.o.valid.eq(1)]
                        m.next = "IDLE"
            with m.State("BREAK"):
                with m.If(rx):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Send bytes, without a pause between two that are there in time.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, from 4.

    Members
    -------
    i : stream of 8 bits
        Taken when the line is free, from the last cycle of a stop bit on.
    o_tx : Out(1)
        The wire, high when idle.
    """

    def __init__(self, divisor):
        self._divisor = _check(divisor)
        super().__init__({"i": In(stream.Signature(8)), "o_tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self._divisor))
        bits = Signal(9, init=-1)
        left = Signal(range(11))
        # Ready from the last cycle of a stop bit on, as a register.
        ready = Signal(init=1)
        m.d.comb += [self.i.ready.eq(ready), self.o_tx.eq(bits[0])]
        m.d.sync += ready.eq((left == 0) | ((left == 1) & (timer <= 1)))
        with m.If(left != 0):
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self._divisor - 1), left.eq(left - 1),
                             bits.eq(Cat(bits[1:], C(1, 1)))]
        with m.If(self.i.valid & ready):
            m.d.sync += [timer.eq(self._divisor - 1), left.eq(10), ready.eq(0),
                         bits.eq(Cat(C(0, 1), self.i.payload))]
        return m


class Uart(wiring.Component):
    """Both directions of a serial line; a byte takes ``10 * divisor`` cycles.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, from 4; `divisor_for` computes it.

    Members
    -------
    i_rx : In(1), o_tx : Out(1)
        The wires, as this end sees them.
    o : stream of 8 bits, o_overrun : Out(1), o_framing : Out(1)
        See `UartReceiver`.
    i : stream of 8 bits
        See `UartTransmitter`.
    """

    def __init__(self, divisor):
        self._divisor = _check(divisor)
        super().__init__({
            "i_rx": In(1), "o_tx": Out(1, init=1), "o": Out(stream.Signature(8)),
            "i": In(stream.Signature(8)), "o_overrun": Out(1), "o_framing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        connect(m, source=receiver.o, sink=flipped(self.o))
        connect(m, source=flipped(self.i), sink=transmitter.i)
        m.d.comb += [
            receiver.i_rx.eq(self.i_rx), self.o_tx.eq(transmitter.o_tx),
            self.o_overrun.eq(receiver.o_overrun), self.o_framing.eq(receiver.o_framing),
        ]
        return m

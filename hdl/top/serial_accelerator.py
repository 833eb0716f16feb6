"""An accelerator on a serial line: what a board needs besides clock, reset and two pins."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..boards.flash_loader import FlashLoader
from ..common.library import place
from ..contents import NOTHING
from ..port.uart import Uart
from .accelerator import Accelerator

__all__ = ["SerialAccelerator", "flash_members"]


def flash_members(config):
    """Return the pins of the flash (see `FlashLoader`), if a configuration reads one."""
    pins = {"o_flash_select": Out(1), "o_flash_clock": Out(1), "o_flash_data": Out(1),
            "i_flash_data": In(1)}
    return pins if config.port.flash_loader else {}


class SerialAccelerator(wiring.Component):
    """An `Accelerator` whose byte port is a `Uart`.

    The line cannot be held back, so a host must have no more than two frames unanswered: one that
    is executed and one that has been received (``docs/protocol.md``).

    Parameters
    ----------
    config : Config
    divisor : int
        Clock cycles of a bit, from 4.
    contents : Contents
        See `Accelerator`.

    Members
    -------
    i_rx : In(1), o_tx : Out(1)
        The wires, as this end sees them.
    o_running, o_program : Out(1)
        See `Accelerator`.
    o_flash_select, o_flash_clock, o_flash_data : Out(1), i_flash_data : In(1)
        Of the flash, with `Config.port.flash_loader`.
    o_overrun, o_framing : Out(1)
        Strobes of `UartReceiver`: bytes were lost.
    """

    def __init__(self, config, divisor, contents=NOTHING):
        self._config = config
        self._contents = contents
        self._divisor = divisor
        super().__init__({
            "i_rx": In(1), "o_tx": Out(1, init=1), "o_running": Out(1), "o_program": Out(1),
            "o_overrun": Out(1), "o_framing": Out(1), **flash_members(config),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(self._divisor)
        accelerator = Accelerator(self._config, self._contents)
        # A register takes the reset from the pins' side to that of the accelerator.
        starts = Signal(init=1)
        m.d.sync += starts.eq(0)
        m.submodules.accelerator = place(platform, accelerator, reset=starts)
        if self._config.port.flash_loader:
            m.submodules.flash = flash = FlashLoader()
            connect(m, source=uart.o, loader=flash.i)
            connect(m, loader=flash.o, sink=accelerator.rx)
            connect(m, source=accelerator.tx, loader=flash.i_reply)
            connect(m, loader=flash.o_reply, sink=uart.i)
            m.d.comb += [
                flash.i_last.eq(accelerator.o_tx_last), flash.i_program.eq(accelerator.o_program),
                self.o_flash_select.eq(flash.o_select), self.o_flash_clock.eq(flash.o_clock),
                self.o_flash_data.eq(flash.o_data), flash.i_data.eq(self.i_flash_data),
            ]
        else:
            connect(m, source=uart.o, sink=accelerator.rx)
            connect(m, source=accelerator.tx, sink=uart.i)
        m.d.comb += [
            uart.i_rx.eq(self.i_rx), self.o_tx.eq(uart.o_tx),
            self.o_running.eq(accelerator.o_running), self.o_program.eq(accelerator.o_program),
            self.o_overrun.eq(uart.o_overrun), self.o_framing.eq(uart.o_framing),
        ]
        return m

"""The pins of a board around `BoardTop`: what a platform file of amaranth-boards names."""

from amaranth.hdl import Elaboratable, Instance, Module, Signal
from amaranth.lib import io

__all__ = ["BoardPins"]


class BoardPins(Elaboratable):
    """Oscillator, PLL, serial line and LEDs of a platform around a module made elsewhere.

    No component of ports: its ports are those of the platform that it is elaborated for.

    Parameters
    ----------
    pll : object
        Setting of a clock generator, with ``instance(i_clock, o_clock, o_locked)``, and ``pad``:
        whether the oscillator's pin is its own.
    lights : sequence of (str, int, str or None)
        Resource, number and subsignal of the LEDs for alive, running and program; None for a light
        that the board lacks.
    module : str
        Name of the Verilog module with the ports of `BoardTop`.
    flash : bool
        Whether it has those of the flash.

    Attributes
    ----------
    oscillator : str
        Name of the oscillator's port, once elaborated.
    """

    def __init__(self, pll, lights, module, flash=False):
        self._pll = pll
        self._lights = lights
        self._module = module
        self._flash = flash

    def elaborate(self, platform):
        m = Module()
        oscillator = platform.request(platform.default_clk, dir="-")
        self.oscillator = oscillator.io.name
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        if self._pll.pad:
            source = oscillator.io
        else:
            m.submodules.oscillator = buffer = io.Buffer("i", oscillator)
            source = buffer.i
        clock, locked = Signal(), Signal()
        m.submodules.pll = self._pll.instance(source, clock, locked)
        names = ("alive", "running", "program")
        states = {name: Signal(name=name) for name in names}
        m.submodules.board = Instance(
            self._module, i_i_clock=clock, i_i_locked=locked, i_i_rx=rx.i, o_o_tx=tx.o,
            **{f"o_o_{name}": state for name, state in states.items()},
            **(self._flash_ports(m, platform) if self._flash else {}))
        requested = {}
        for name, light in zip(names, self._lights, strict=True):
            if light is None:
                continue
            *key, part = light
            key = tuple(key)
            if key not in requested:
                requested[key] = platform.request(*key, dir="-")
            port = requested[key] if part is None else getattr(requested[key], part)
            m.submodules[f"led_{name}"] = led = io.Buffer("o", port)
            m.d.comb += led.o.eq(states[name])
        return m

    @staticmethod
    def _flash_ports(m, platform):
        """Add the flash that the FPGA is configured from, and return its ports."""
        flash = platform.request("spi_flash_1x", 0, dir="-")
        ports = {}
        for name, pin in (("select", "cs"), ("clock", "clk"), ("data", "copi")):
            m.submodules[f"flash_{name}"] = buffer = io.Buffer("o", getattr(flash, pin))
            ports[f"o_o_flash_{name}"] = buffer.o
        for pin in ("wp", "hold"):  # not asserted
            if hasattr(flash, pin):
                m.submodules[f"flash_{pin}"] = io.Buffer("o", getattr(flash, pin))
        m.submodules.flash_answer = buffer = io.Buffer("i", flash.cipo)
        return ports | {"i_i_flash_data": buffer.i}

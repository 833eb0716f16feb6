"""Olimex GateMateA1-EVB, which amaranth-boards does not have.

Source: pins as LiteX-Boards' platform of this board (``olimex_gatemate_a1_evb``) and published
designs that ran on it have them, NEORV32's set-up among them (oscillator, LED, button, UART of the
RP2040).
"""

from typing import Any, ClassVar

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth_boards.resources import LEDResources, UARTResource

from pyhw.families.gatemate import GateMatePlatform

__all__ = ["GateMateA1EvbPlatform"]


class GateMateA1EvbPlatform(GateMatePlatform):
    """Oscillator, LED, button and the serial line on USB."""

    device = "CCGM1A1"
    default_clk = "clk10"
    resources: ClassVar[list[Any]] = [
        Resource("clk10", 0, Pins("IO_SB_A8", dir="i"), Clock(10e6),
                 Attrs(SCHMITT_TRIGGER="true")),
        *LEDResources(pins="IO_SB_B6", invert=True),
        Resource("button", 0, PinsN("IO_SB_B7", dir="i")),
        UARTResource(0, rx="IO_SA_A6", tx="IO_SA_B6"),
    ]
    connectors: ClassVar[list[Any]] = []

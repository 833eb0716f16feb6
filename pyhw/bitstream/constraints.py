"""Pins and clocks of a design on a board: the platform's files, and whether all are there."""

import re
from dataclasses import dataclass
from typing import Any

from pyhw.boards import Board
from pyhw.families import Family
from pyhw.families.family import TOP

__all__ = ["Pins", "check_constraints", "make_pins"]


@dataclass(frozen=True, kw_only=True)
class Pins:
    """The top module of a board.

    Attributes
    ----------
    rtlil : str
        Module ``top`` with buffers, PLL and an instance of the design's module.
    constraints : dict of str to str
        Files for nextpnr.
    oscillator : str
        Port of the oscillator.
    """

    rtlil: str
    constraints: dict[str, str]
    oscillator: str


def make_pins(board: Board, platform: Any, pll: Any, module: str, flash: bool = False) -> Pins:
    """Elaborate the pins of a board around a module; `ValueError` if a constraint is missing."""
    from pyhw.verilog import generate_pins

    files, oscillator = generate_pins(platform, pll, board.lights, module, TOP, flash)
    family = board.family
    constraints = {name: text for name, text in files.items()
                   if name.endswith(family.constraints)}
    constraints |= {f"{TOP}{suffix}": text
                    for suffix, text in family.more_constraints(platform, oscillator).items()}
    pins = Pins(rtlil=files[f"{TOP}.il"], constraints=constraints, oscillator=oscillator)
    check_constraints(pins, family)
    return pins


def check_constraints(pins: Pins, family: Family) -> None:
    """Raise `ValueError` if a port has no pin or the oscillator no frequency."""
    header = pins.rtlil[pins.rtlil.index(f"module \\{TOP}\n"):].partition("\nend\n")[0]
    ports = set()
    for width, name in re.findall(
            r"^  wire (?:width (\d+) )?(?:input|output|inout) \d+ +\\(\S+)$", header, re.M):
        bits = int(width or 1)
        ports |= {name} if bits == 1 else {f"{name}[{bit}]" for bit in range(bits)}

    if pins.oscillator not in ports:
        raise ValueError(f"the top module must have the port {pins.oscillator}, not only "
                         f"{', '.join(sorted(ports)) or 'none'}")

    def named(pattern: str) -> set[str]:
        return {found for text in pins.constraints.values()
                for found in re.findall(pattern, text, re.M)}

    if unplaced := sorted(ports - named(family.placed)):
        raise ValueError(f"every port must have a pin, but {', '.join(unplaced)} has none")
    if pins.oscillator not in named(family.clocked):
        raise ValueError(f"the clock {pins.oscillator} must have a frequency, and has none")

"""What has to be known of a board to make a bitstream for it."""

import importlib
from dataclasses import dataclass
from typing import Any

from pyhw.errors import MissingTool, from_extra
from pyhw.families import Device, Family, find_device, find_family

__all__ = ["Board", "Loader"]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """How openFPGALoader reaches a board.

    Attributes
    ----------
    arguments : tuple of str
        Those that name the board or its cable.
    usb : tuple of (int, int)
        Vendor and product number of the adapter, for the udev rule.
    ram : bool
        Whether a bitstream can be loaded without being kept, on a board as it is sold.
    note : str
        What the user should know before the first time.
    """

    arguments: tuple[str, ...]
    usb: tuple[int, int]
    ram: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    Attributes
    ----------
    name, title : str
    device_name : str
        In `pyhw.families`.
    platform : str or type
        Class of its platform file, or where it is, as in
        ``amaranth_boards.ulx3s:ULX3S_85F_Platform``.
    clock_mhz : float
        Clock of the design that is asked for by default.
    lights : tuple of (str, int, str or None)
        Resource, number and subsignal of the LEDs for alive, running and program; none for a light
        that a board lacks.
    loader : Loader
    pad : bool
        The oscillator's pin is the PLL's own, whose input cannot be used otherwise.
    add : str
        Name of a list of further resources in the platform's class.
    """

    name: str
    title: str
    device_name: str
    platform: str | type
    clock_mhz: float
    lights: tuple[tuple[str, int, str | None] | None, ...]
    loader: Loader
    pad: bool = False
    add: str = ""

    @property
    def device(self) -> Device:
        """The FPGA, as `pyhw fit` knows it."""
        return find_device(self.device_name)

    @property
    def family(self) -> Family:
        """Family of the FPGA."""
        return find_family(self.device.family)

    @property
    def limits(self) -> dict[str, int]:
        """How much of each thing that is counted the FPGA has."""
        return self.family.limits(self.device)

    def make_platform(self) -> Any:
        """Return a new platform, which serves for one design."""
        try:
            platform = self._platform_class()()
        except ModuleNotFoundError as error:
            if error.name != "amaranth_boards":
                raise
            raise MissingTool("amaranth-boards", from_extra("fpga")) from None
        if self.add:
            platform.add_resources(getattr(platform, self.add))
        return platform

    def _platform_class(self) -> Any:
        if not isinstance(self.platform, str):
            return self.platform
        module, _, name = self.platform.partition(":")
        return getattr(importlib.import_module(module), name)

"""FPGA devices: what a configuration has to fit."""

from dataclasses import dataclass

from pyhw.errors import UserError

__all__ = ["DEVICES", "Device", "find_device"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device.

    Attributes
    ----------
    name : str
    family : {'ecp5', 'ice40', 'gowin'}
        Whose rules count its memories and logic.
    luts : int
        LUT4s.
    block_rams : int
        Dual-port blocks: 18 kbit on ECP5 and Gowin, 4 kbit on iCE40.
    single_port_rams : int
        Blocks of 16,384 words of 16 bits with one port, for weights.
    source : str
    """

    name: str
    family: str
    luts: int
    block_rams: int
    single_port_rams: int = 0
    source: str


_ECP5 = "Lattice FPGA-DS-02012, table 1.1, and Project Trellis' device database"
_ICE40 = "Lattice iCE40 LP/HX family data sheet, table 1-1"
_ULTRA = "Lattice FPGA-DS-02008, table 1.1"

DEVICES = {
    device.name: device
    for device in (
        Device(name="ecp5-12f", family="ecp5", luts=12_000, block_rams=32, source=_ECP5),
        Device(name="ecp5-25f", family="ecp5", luts=24_288, block_rams=56, source=_ECP5),
        Device(name="ecp5-45f", family="ecp5", luts=43_848, block_rams=108, source=_ECP5),
        Device(name="ecp5-85f", family="ecp5", luts=83_640, block_rams=208, source=_ECP5),
        Device(
            name="ice40-up5k",
            family="ice40",
            luts=5_280,
            block_rams=30,
            single_port_rams=4,
            source=_ULTRA,
        ),
        Device(name="ice40-hx8k", family="ice40", luts=7_680, block_rams=32, source=_ICE40),
        Device(
            name="gw1nr-9",
            family="gowin",
            luts=8_640,
            block_rams=26,
            source="Gowin DS117, table 1-1",
        ),
        Device(
            name="gw2ar-18",
            family="gowin",
            luts=20_736,
            block_rams=46,
            source="Gowin DS226, table 1-1",
        ),
    )
}
"""Every device by name."""


def find_device(name: str) -> Device:
    """Return a device, or raise `UserError` with the names there are."""
    if name not in DEVICES:
        raise UserError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")
    return DEVICES[name]

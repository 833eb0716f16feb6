"""Every family and device by name."""

import importlib
import pkgutil

from pyhw.errors import UserError
from pyhw.hdl.registry import Registry

from .family import Device, Family

__all__ = ["DEVICES", "FAMILIES", "find_device", "find_family", "register"]

FAMILIES: Registry[str, Family] = Registry("Family", UserError)
"""Every family by name."""
DEVICES: Registry[str, Device] = Registry("Device", UserError)
"""Every device by name."""


def register(family: Family) -> Family:
    """Add a family with its devices.

    Raises
    ------
    UserError
        If it, or one of its devices, has a name that is taken, or a device is of another family.
    """
    FAMILIES.free(family.name)
    DEVICES.free(*(device.name for device in family.devices))
    for device in family.devices:
        if device.family != family.name:
            raise UserError(f"device {device.name} must be of family {family.name}, not "
                            f"{device.family}")
    for device in family.devices:
        DEVICES.add(device.name, device)
    return FAMILIES.add(family.name, family)


def find_family(name: str) -> Family:
    """Return a family by its name, or raise `UserError` with the names there are."""
    if name not in FAMILIES:
        raise UserError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]


def find_device(name: str) -> Device:
    """Return a device, or raise `UserError` with the names there are."""
    if name not in DEVICES:
        raise UserError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")
    return DEVICES[name]


def _built_in() -> None:
    """Register the modules of this package that declare a ``FAMILY``."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        family = getattr(importlib.import_module(f"{__package__}.{module.name}"), "FAMILY", None)
        if family is not None:
            register(family)


_built_in()

"""Families of FPGA devices: one module each, found here; nothing else tells them apart."""

from .family import Device, Family, Program, what
from .registry import DEVICES, FAMILIES, find_device, find_family, register

__all__ = ["DEVICES", "FAMILIES", "Device", "Family", "Program", "find_device", "find_family",
           "register", "what"]  # fmt: skip

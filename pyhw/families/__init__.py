"""Families of FPGA devices: one module each, found here; nothing else tells them apart."""

from .family import Device, Family, Program, cells_of
from .registry import DEVICES, FAMILIES, find_device, find_family, register

__all__ = ["DEVICES", "FAMILIES", "Device", "Family", "Program", "find_device", "find_family",
           "register", "cells_of"]  # fmt: skip

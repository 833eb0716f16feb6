"""Accelerators for silicon: memories behind a wrapper, constraints, a flow's configuration."""

from .folder import AsicOutput, write_asic

__all__ = ["AsicOutput", "write_asic"]

"""One accelerator of a design space: its choices, shapes and widths."""

from dataclasses import dataclass

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.engines.registry import POOLING, engine_of, known_engines

__all__ = ["Point", "Shape", "Variant", "least_engine"]

Shape = tuple[int, int]
"""Rows and lanes of an engine."""


def least_engine(rows: int = 1, lanes: int = 1) -> dict[str, EngineConfig]:
    """Return the engine that asks least of what stands behind it, where some engine has to be."""
    name = min((one for one in known_engines() if one != POOLING),
               key=lambda one: engine_of(one).value_bits)  # fmt: skip
    code_width = min(engine_of(name).code_widths)
    return {name: EngineConfig(rows=rows, lanes=lanes, code_width=code_width, acc_width=16)}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Choices that decide which layers there are and how they run.

    Attributes
    ----------
    taps, pool_lanes, burst_depth, prototypes : int
    second_step : bool
        As in `Config`.
    """

    taps: int
    pool_lanes: int
    burst_depth: int
    second_step: bool
    prototypes: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """One accelerator: a variant, shapes of its engines by name, and widths."""

    variant: Variant
    shapes: dict[str, Shape]
    groups: int
    post: int
    bits: int
    slots: int

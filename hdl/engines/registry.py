"""Engines by name: what fixes each of them, for the gateware and the host side alike.

An engine is one module with its rows, its array and its `Descriptor`, called ``ENGINE``. Those of
this package are found by their names; `register` adds others. A module is imported when its
descriptor is asked for, so that this one needs no gateware.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..registry import Registry

__all__ = ["ENGINES", "POOLING", "WITH_WEIGHTS", "Descriptor", "engine_of", "known_engines",
           "register"]

POOLING = "pool"
"""Name of the pooling unit: an engine without weights, which every accelerator has."""

WITH_WEIGHTS = ("l1", "shift")
"""The other engines of this package."""

_BUILT_IN = (*WITH_WEIGHTS, POOLING)
ENGINES: "Registry[str, Descriptor]" = Registry("Engine name")
"""Those that were registered or asked for; `known_engines` names all."""


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What fixes an engine, whatever its shape is.

    Attributes
    ----------
    name : str
        In configurations and graphs; an identifier in lower case.
    title : str
        For people, as in "the L1 engine".
    array : type of BaseEngine
        Its gateware, made from a `Config`.
    latency : callable
        Cycles from a vector to its sums, of a `Config` that has the engine.
    code_widths : tuple of int
        Bits that a stored weight code may have, ascending; none for an engine without weights.
    zero : callable
        Code that lanes without a tap get, of the code width.
    flipped : bool
        Whether operands are unsigned bytes, the top bit of signed ones flipped, in place of 9-bit
        two's complement.
    value_bits : int
        Bits that a result has more than an accumulator.
    signed : bool
        Whether its sums are signed.
    extra : int
        Sums of each group beside those of the rows: of rows that see the vectors only.
    masked : bool
        Whether the weight expander can make its codes.
    digits : callable or None
        Of the code width: the signed digits that its codes are (`pyhw.hdl.formats.ShiftCode`), if
        they are some, so that values can become codes (`pyhw.hdl.moves.recode`).
    """

    name: str
    title: str
    array: Any
    latency: Callable[[Any], int]
    code_widths: tuple[int, ...] = ()
    zero: Callable[[int], int] = lambda code_width: 0
    flipped: bool = False
    value_bits: int = 0
    signed: bool = True
    extra: int = 0
    masked: bool = False
    digits: Callable[[int], Any] | None = None

    def check(self, shape):
        """Raise `ValueError` if an `EngineConfig` cannot be one of this engine."""
        if shape.code_width not in self.code_widths:
            raise ValueError(f"Config.engines.{self.name}.code_width must be "
                             f"{_either(self.code_widths)}, not {shape.code_width}")


def _either(values):
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


def register(descriptor):
    """Add an engine and return its descriptor; `ValueError` if it is none or its name is taken."""
    if not isinstance(descriptor, Descriptor):
        raise ValueError(f"Engine must have a Descriptor, not {descriptor!r}")
    name = descriptor.name
    if not name.isidentifier() or name != name.lower():
        raise ValueError(f"Engine name must be an identifier in lower case, not {name!r}")
    if name in _BUILT_IN:
        engine_of(name)
    return ENGINES.add(name, descriptor)


def known_engines():
    """Return the names of all engines, those of this package first."""
    return (*_BUILT_IN, *(name for name in ENGINES if name not in _BUILT_IN))


def engine_of(name):
    """Return an engine's descriptor; `ValueError` if there is no such engine."""
    if name not in ENGINES:
        if name not in _BUILT_IN:
            raise ValueError(f"Engine must be one of {', '.join(known_engines())}, not {name!r}")
        ENGINES[name] = import_module(f"{__package__}.{name}").ENGINE
    return ENGINES[name]

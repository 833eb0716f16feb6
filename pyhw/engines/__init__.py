"""The host half of every engine: codes, constants and widths, found by name.

The other half is `pyhw.hdl.engines`; what an engine's terms mean stands in `pyhw.graph.terms`.
"""

from importlib import import_module

from .base import DoesNotFit, HostEngine

__all__ = ["DoesNotFit", "HostEngine", "host_engine", "register"]

_BUILT_IN = ("l1", "shift")
_registered: dict[str, HostEngine] = {}


def register(engine: HostEngine) -> HostEngine:
    """Add the host half of an engine and return it; `ValueError` if its name is taken."""
    if engine.name in _BUILT_IN or engine.name in _registered:
        raise ValueError(f"Host half of the engine {engine.name!r} is there already")
    _registered[engine.name] = engine
    return engine


def host_engine(name: str) -> HostEngine:
    """Return the host half of an engine; `ValueError` if there is none."""
    if name not in _registered:
        if name not in _BUILT_IN:
            raise ValueError(f"Engine {name!r} must have a host half (`pyhw.engines.register`)")
        _registered[name] = import_module(f"{__name__}.{name}").ENGINE
    return _registered[name]

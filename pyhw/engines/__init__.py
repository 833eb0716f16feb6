"""The host half of every engine: codes, constants, widths and area, found by name.

The other half is `pyhw.hdl.engines`; what an engine's terms mean stands in `pyhw.graph.terms`.
"""

from importlib import import_module

from pyhw.hdl.engines.registry import WITH_WEIGHTS
from pyhw.hdl.registry import Registry

from .base import DoesNotFit, EngineLuts, HostEngine

__all__ = ["HOST_ENGINES", "DoesNotFit", "EngineLuts", "HostEngine", "host_engine", "register"]

HOST_ENGINES: Registry[str, HostEngine] = Registry("Host half of the engine")
"""Those that were registered or asked for."""


def register(engine: HostEngine) -> HostEngine:
    """Add the host half of an engine and return it; `ValueError` if its name is taken."""
    if engine.name in WITH_WEIGHTS:
        host_engine(engine.name)
    return HOST_ENGINES.add(engine.name, engine)


def host_engine(name: str) -> HostEngine:
    """Return the host half of an engine; `ValueError` if there is none."""
    if name not in HOST_ENGINES:
        if name not in WITH_WEIGHTS:
            raise ValueError(f"Engine {name!r} must have a host half (`pyhw.engines.register`)")
        HOST_ENGINES[name] = import_module(f"{__name__}.{name}").ENGINE
    return HOST_ENGINES[name]

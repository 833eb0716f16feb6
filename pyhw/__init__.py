"""Multiplier-free neural networks, from training in PyTorch to a bit-exact accelerator.

Importing this package is instant: a function or class below is imported when it is first used.
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

__version__ = "0.1.0"

MODELS = _Path(__file__).parent / "models"
"""Folder of the trained networks that come with the package."""

if _TYPE_CHECKING:
    from pyhw.api.boards import bench as bench
    from pyhw.api.boards import connect as connect
    from pyhw.api.boards import emulate as emulate
    from pyhw.api.boards import infer as infer
    from pyhw.api.files import info as info
    from pyhw.api.files import load as load
    from pyhw.api.files import save as save
    from pyhw.api.hardware import build as build
    from pyhw.api.hardware import compile as compile
    from pyhw.api.hardware import fit as fit
    from pyhw.api.hardware import generate as generate
    from pyhw.api.hardware import preset as preset
    from pyhw.api.models import convert as convert
    from pyhw.api.models import example as example
    from pyhw.api.models import quantize as quantize
    from pyhw.api.models import quantize_checkpoint as quantize_checkpoint
    from pyhw.api.models import train as train
    from pyhw.api.runs import profile as profile
    from pyhw.api.runs import simulate as simulate
    from pyhw.api.runs import synth as synth
    from pyhw.errors import MissingTool as MissingTool
    from pyhw.errors import UserError as UserError
    from pyhw.extensions import extend as extend
    from pyhw.graph.ops import Graph as Graph
    from pyhw.hdl.config import Config as Config
    from pyhw.hdl.config import EngineConfig as EngineConfig
    from pyhw.profiler.profile import Profile as Profile
    from pyhw.quantizer.run import Quantized as Quantized
    from pyhw.synthesis.component import Synthesis as Synthesis
    from pyhw.target import Program as Program
    from pyhw.target import Target as Target
    from pyhw.target.built import Built as Built
    from pyhw.target.connection import Connection as Connection
    from pyhw.target.design import Design as Design
    from pyhw.target.inference import Inference as Inference
    from pyhw.target.proposal import Proposal as Proposal
    from pyhw.target.simulation import Simulation as Simulation

_PLACES = {
    "api.models": ("train", "quantize", "quantize_checkpoint", "convert", "example"),
    "api.hardware": ("fit", "preset", "compile", "generate", "build"),
    "api.runs": ("simulate", "profile", "synth"),
    "api.boards": ("connect", "infer", "bench", "emulate"),
    "api.files": ("load", "save", "info"),
    "graph.ops": ("Graph",),
    "hdl.config": ("Config", "EngineConfig"),
    "target": ("Program", "Target"),
    "target.proposal": ("Proposal",),
    "target.design": ("Design",),
    "target.simulation": ("Simulation",),
    "target.built": ("Built",),
    "target.inference": ("Inference",),
    "quantizer.run": ("Quantized",),
    "profiler.profile": ("Profile",),
    "synthesis.component": ("Synthesis",),
    "target.connection": ("Connection",),
    "extensions": ("extend",),
    "errors": ("UserError", "MissingTool"),
}
"""Which module has which of the package's names."""
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "MODELS", "__version__", "train", "convert", "quantize", "quantize_checkpoint", "example",
    "fit", "preset", "compile", "generate", "build", "simulate", "profile", "synth", "connect",
    "infer", "bench", "emulate", "load", "save", "info", "extend", "Graph", "Config",
    "EngineConfig", "Quantized", "Proposal", "Program", "Target", "Design", "Built", "Simulation",
    "Profile", "Synthesis", "Connection", "Inference", "UserError", "MissingTool",
]


def __getattr__(name: str) -> _Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pyhw' has no attribute {name!r}")
    value = getattr(_import_module(f"pyhw.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

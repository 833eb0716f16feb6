"""Extensions: engines, operations, layers, families and boards of a user's own (docs/extend.md).

An extension is a Python file, or a folder with an ``__init__.py``, that calls the registration
functions of pyhw. It is a program: it runs with all rights of the user. Its module ``layers``, if
it has one, is imported together with `pyhw.nn`, so that what needs no PyTorch does without.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import UserError
from .hdl.engines.registry import ENGINES, POOLING, WITH_WEIGHTS
from .hdl.registry import Registry
from .user_file import run_file, said

__all__ = ["VARIABLE", "extend", "extend_from_environment", "extension_sources", "import_layers"]

VARIABLE = "PYHW_EXTENSIONS"
"""Environment variable with the paths of extensions, separated as those of ``PATH`` are."""

_PREFIX = "pyhw_extension_"
_loaded: dict[Path, ModuleType] = {}


def extend(path: str | os.PathLike[str]) -> ModuleType:
    """Load an extension: a Python file or package of one's own with engines, layers, boards ...

    What it registers is there for this process, and, by the environment variable
    ``PYHW_EXTENSIONS``, for those that it starts, simulations among them. An extension that is
    loaded already is not run again.

    Parameters
    ----------
    path : path-like
        A file that ends in ``.py``, or a folder with an ``__init__.py``. It is run.

    Returns
    -------
    module
        The extension.

    Raises
    ------
    UserError
        If it is not there, raises, registers a name that is taken, or leaves an engine or a kind
        of layers incomplete: one line with the file and the reason. Nothing of it stays then.

    Examples
    --------
    >>> import pyhw
    >>> ternary = pyhw.extend("examples/extend/ternary")
    >>> pyhw.Config.of(ternary=pyhw.EngineConfig(
    ...     rows=4, lanes=8, code_width=2, acc_width=16)).engines.keys()
    dict_keys(['ternary'])
    """
    place = Path(path).absolute()
    if place in _loaded:
        return _loaded[place]
    file = place / "__init__.py" if place.is_dir() else place
    name = _PREFIX + place.stem
    saved = _saved()
    try:
        if not place.stem.isidentifier():
            raise UserError("its name must be one that Python can import")
        if name in sys.modules:
            raise UserError(f"there is an extension {place.stem!r} already: choose another name")
        try:
            module = run_file(name, file, place if place.is_dir() else None)
            _check_engines(saved)
            if "pyhw.nn" in sys.modules:
                _import_layers(name, place)
                _check_layers(saved)
        except UserError:
            for one in [one for one in sys.modules if one.partition(".")[0] == name]:
                del sys.modules[one]
            Registry.restore(saved)
            raise
    except UserError as error:
        raise UserError(f"extension {path}: {error}") from None
    sys.modules[name] = _loaded[place] = module
    os.environ[VARIABLE] = os.pathsep.join(map(str, _loaded))
    return module


def extend_from_environment() -> None:
    """Load the extensions that ``PYHW_EXTENSIONS`` names; `UserError` as `extend`."""
    for path in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        extend(path)


def extension_sources() -> list[str]:
    """Return the text of every file of the extensions, for keys of what is made with them."""
    files = [file for place in _loaded
             for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return [file.read_text(encoding="utf-8") for file in files]


def import_layers() -> None:
    """Import the layers of the extensions that are loaded; `pyhw.nn` calls it when it is there.

    Raises
    ------
    UserError
        As `extend`.
    """
    for place, module in _loaded.items():
        saved = _saved()
        try:
            _import_layers(module.__name__, place)
            _check_layers(saved)
        except UserError as error:
            raise UserError(f"extension {place}: {error}") from None


def _saved() -> list[tuple[Registry[Any, Any], dict[Any, Any]]]:
    """Return what all registries hold before an extension runs."""
    names = ["boards", "compiler.lowering", "engines", "families", "graph.ops"]
    if "pyhw.nn" in sys.modules:  # PyTorch is at work
        names.append("quantizer.forms")
    for name in names:
        importlib.import_module(f"pyhw.{name}")
    return Registry.saved()


def _import_layers(name: str, place: Path) -> None:
    if place.is_dir() and (place / "layers.py").is_file():
        before = sys.dont_write_bytecode
        try:
            sys.dont_write_bytecode = True
            importlib.import_module(f"{name}.layers")
        except Exception as error:
            raise UserError(said(error, place)) from None
        finally:
            sys.dont_write_bytecode = before


def _new(registry: Registry[str, Any], saved: list) -> set[str]:
    """Return the names that a registry has got since it was saved."""
    before = [set(things) for one, things in saved if one is registry]
    return set(registry).difference(*before)


def _check_engines(saved: list) -> None:
    """Refuse an engine that lacks its gateware, its host half or its term."""
    gateware = _new(ENGINES, saved)
    hosts = _new(importlib.import_module("pyhw.engines").HOST_ENGINES, saved)
    terms = _new(importlib.import_module("pyhw.graph.terms").TERMS, saved)
    parts = ((gateware, "gateware (pyhw.hdl.engines.registry.register)"),
             (hosts, "host half (pyhw.engines.register)"), (terms, "term (pyhw.graph.terms.term)"))
    for name in sorted((gateware | hosts | terms) - {*WITH_WEIGHTS, POOLING}):
        for there, part in parts:
            if name not in there:
                raise UserError(f"the engine {name!r} has no {part}")


def _check_layers(saved: list) -> None:
    """Refuse layers of a form of weights that is not there, or kinds whose edge is none."""
    kinds = importlib.import_module("pyhw.nn.kinds")
    forms = importlib.import_module("pyhw.quantizer.forms").FORMS
    for name in sorted(_new(kinds.KINDS, saved)):
        edge = kinds.KINDS[name].edge
        if edge and edge not in kinds.KINDS:
            raise UserError(f"the kind {name!r} has the edge {edge!r}, which is no kind")
    for cls in kinds.LAYER_CLASSES:
        form = kinds.LAYER_CLASSES[cls].form
        if form not in forms:
            raise UserError(f"the layers {cls.__name__} are of the form {form!r}, which is none "
                            "(pyhw.quantizer.forms.weight_form)")

"""Read checkpoints of reference implementations, by their tables of names."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyhw.errors import UserError
from pyhw.nn.kinds.base import NORMALISATION, Source
from pyhw.nn.models import MODELS
from pyhw.training.checkpoint import read_content, save_checkpoint
from pyhw.training.keys import PREFIXES, WRAPPERS, sources
from pyhw.training.networks import build
from pyhw.training.origin import Origin
from pyhw.training.recipe import Recipe, make_recipe

__all__ = ["Imported", "import_checkpoint"]

_SHOWN = 4
"""Names in a refusal."""
_OURS = re.compile(
    r"(num_batches_tracked|\.frozen|\.order|\.binarise_[qk]\.norm\.running_(mean|var))$"
)
"""Entries that files may lack: older PyTorch had no count of batches, the others are pyhw's own."""
_DATA = {(1, 28, 28): "mnist", (3, 32, 32): "cifar10", (3, 224, 224): "imagenet"}
"""Data sets of images of some shapes, keys of `NORMALISATION`."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    recipe : Recipe
        Of the network; nothing is known of its training.
    origin : Origin
        Classes, and how images were scaled.
    matched : tuple of (str, str)
        Their name and ours, of each tensor taken over.
    ignored : tuple of str
        Their tensors that have no use here.
    """

    recipe: Recipe
    origin: Origin
    matched: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]


def import_checkpoint(
    path: str | os.PathLike,
    source: str,
    model: str,
    out: str | os.PathLike,
    *,
    classes: int | None = None,
    normalise: tuple[Sequence[float], Sequence[float]] | None = None,
    lossy: bool = False,
    **options: Any,
) -> Imported:
    """Write a checkpoint of pyhw with the tensors of another implementation's.

    Parameters
    ----------
    path : path-like
        A file of ``torch.save`` with tensors and plain containers only.
    source : str
        A key of `sources()`.
    model : str
        A key of `pyhw.nn.models.MODELS`: the network that it should be, or that of its name that
        the implementation has in its place (`Source.networks`).
    out : path-like
        File to write.
    classes : int, optional
        Outputs; by default those of the data set that the network was published for.
    normalise : (sequence of float, sequence of float), optional
        Mean and deviation that the training took off pixels / 255, one for all or for each
        channel; by default what is known of the implementation and the network's images.
    lossy : bool
        Take the tensors that fit of a network with parts that pyhw computes in another way.
    **options
        Fields of `LayerOptions` and `Recipe`, such as the bits of shift layers.

    Raises
    ------
    UserError
        If the file cannot be read, or holds another network: what differs is named.
    """
    known = sources()
    if source not in known:
        raise UserError(f"source must be one of {', '.join(known)}, not {source!r}")
    table = known[source]
    if table.refused:
        raise UserError(f"a network of {source} cannot be imported: {table.refused}")
    theirs = _tensors(path)
    options.setdefault("ops", table.ops)
    for pattern, ops, frozen in table.markers:
        if any(re.search(pattern, name) for name in theirs):
            options["ops"] = ops
            options |= {"frozen": True} if frozen else {}
    for pattern, what in table.lossy:
        names_of = [name for name in theirs if re.search(pattern, name)]
        if names_of and not lossy:
            raise UserError(
                f"{path}: {names_of[0]} is of {what}: with --lossy the rest is taken over, to be "
                "trained on by `pyhw train --start`"
            )
    for pattern, told in table.options:
        if any(re.search(pattern, name) for name in theirs):
            options |= {name: options.get(name, value) for name, value in told.items()}
    for pattern, others in table.networks:
        if any(re.search(pattern, name) for name in theirs):
            model = others.get(model, model)
    data = "cifar10" if MODELS[model].input_shape[0] == 3 else "mnist"
    recipe = make_recipe(model=model, data=data, **options)
    origin = _origin(source, table, model, classes, normalise)
    torch.manual_seed(recipe.seed)  # orders of tokens, which files do not hold
    network = build(recipe, origin.classes)
    ours = network.state_dict()
    renames = [
        rename
        for rename in table.renames
        if not (rename.unless and any(re.search(rename.unless, name) for name in theirs))
    ]
    names, found, ignored = {}, {}, []
    called = {name: name for name in theirs}
    if table.regroup is not None:
        theirs, called = table.regroup(theirs)
    for name in theirs:
        if any(re.search(pattern, name) for pattern in table.ignored):
            ignored.append(name)
            continue
        new = name
        for rename in renames:
            new = re.sub(rename.pattern, rename.to, new)
        names[new], found[new] = called[name], theirs[name]
    if recipe.layers.frozen:
        _split_powers(path, found, names, ours)
    state = _fit(path, f"{model} with {recipe.ops} layers", found, names, ours)
    network.load_state_dict(state)
    save_checkpoint(out, network, recipe, [], origin=origin)
    matched = tuple((names[name], name) for name in ours if name in names)
    return Imported(recipe=recipe, origin=origin, matched=matched, ignored=tuple(ignored))


def _origin(
    source: str,
    table: Source,
    model: str,
    classes: int | None,
    normalise: tuple[Sequence[float], Sequence[float]] | None,
) -> Origin:
    """Return what the user says of a network, or what is known of it."""
    network = MODELS[model]
    if normalise is None:
        data = _DATA.get(network.input_shape)
        normalise = NORMALISATION[data] if data in table.normalised else ((), ())
    channels = network.input_shape[0]
    mean, deviation = (
        tuple(float(number) for number in part) * (channels if len(part) == 1 else 1)
        for part in normalise
    )
    if mean == (0.0,) * channels and deviation == (1.0,) * channels:
        mean = deviation = ()
    classes = network.classes if classes is None else classes
    origin = Origin(source=source, classes=classes, mean=mean, deviation=deviation)
    origin.check(model)
    return origin


def _tensors(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the tensors of a file by name, out of whatever they are wrapped in."""
    content = read_content(path, legacy=True)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no table of tensors: save a state_dict")
    found = {_plain(str(name)): value for name, value in content.items()
             if isinstance(value, Tensor)}  # fmt: skip
    if not found:
        raise UserError(f"{path} holds no tensors under {', '.join(WRAPPERS)} or at the top")
    return found


def _plain(name: str) -> str:
    """Return a tensor's name without what wrappers put before it."""
    while prefix := next((p for p in PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _split_powers(
    path: str | os.PathLike,
    found: dict[str, Tensor],
    names: dict[str, str],
    ours: dict[str, Tensor],
) -> None:
    """Turn the weights of fixed shift layers, powers of two, into shifts and signs."""
    for name in [name for name in found if name.endswith(".weight")]:
        base = name.removesuffix("weight")
        if name in ours or f"{base}sign" not in ours:
            continue
        weight = found.pop(name).float()
        exponent = torch.where(weight == 0, 0.0, weight.abs().log2())
        if not torch.equal(exponent, exponent.round()):
            raise UserError(f"{path}: tensor {names[name]!r} must hold 0 and powers of two only")
        found |= {f"{base}shift": exponent, f"{base}sign": weight.sign()}
        names |= {f"{base}shift": names[name], f"{base}sign": names[name]}
        del names[name]


def _fit(
    path: str | os.PathLike,
    what: str,
    found: dict[str, Tensor],
    names: dict[str, str],
    ours: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return our tensors with their values, or refuse naming what differs."""
    state, missing, shapes = {}, [], []
    for name, tensor in ours.items():
        value = found.get(name)
        if value is None:
            if not _OURS.search(name):
                missing.append(name)
            value = tensor
        elif value.shape != tensor.shape and _bare(value) == _bare(tensor):
            value = value.reshape(tensor.shape)  # a linear layer and a 1x1 convolution
        if value.shape != tensor.shape:
            shapes.append(f"{names[name]} {tuple(value.shape)}, not {tuple(tensor.shape)}")
        state[name] = value.to(tensor.dtype)
    foreign = [theirs for name, theirs in names.items() if name not in ours]
    parts = [
        f"{text}: {_some(some)}"
        for text, some in (
            ("it lacks", missing),
            ("it has besides", foreign),
            ("of other shapes", shapes),
        )
        if some
    ]
    if parts:
        raise UserError(f"{Path(path)} is not {what}; {'; '.join(parts)}")
    return state


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _bare(tensor: Tensor) -> list[int]:
    shape = list(tensor.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return shape

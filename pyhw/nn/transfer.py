"""From one form of a network to the next: what a new one takes over of a trained one."""

import re
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from pyhw.errors import UserError
from pyhw.nn.convert import Conversion
from pyhw.nn.kinds import layer_class_of

__all__ = ["transfer"]

_EXPERT = re.compile(r"\.experts\.\d+")


def transfer(new: nn.Module, old: nn.Module) -> list[Conversion]:
    """Copy what two forms of a network have in common from one to the other, by path.

    A layer takes over the weights of the layer at its path, rounded to powers of two if it is a
    shift layer; each expert of a mixture those of the layer in the mixture's place, and a layer in
    the place of a mixture those of its first expert; a joint projection `qkv` those of `q` and
    `kv`.
    What the old one has no counterpart of (routers, thresholds, value convolutions) keeps its fresh
    values.

    Parameters
    ----------
    new : torch.nn.Module
        Changed in place.
    old : torch.nn.Module
        Trained, perhaps in another form.

    Returns
    -------
    list of Conversion
        Every part with parameters or buffers of its own, in order of registration.

    Raises
    ------
    UserError
        If a layer has another shape than its counterpart, or nothing is in common.
    """
    parts = {path: part for path, part in old.named_modules() if _holds(part)}
    for path, part in list(parts.items()):
        if ".experts.0" in path:
            parts.setdefault(path.replace(".experts.0", "", 1), part)
    report = []
    for path, part in new.named_modules():
        if not _holds(part):
            continue
        source = parts.get(path) or parts.get(_EXPERT.sub("", path, count=1))
        if source is None and path.endswith(".qkv"):
            source = _joint(parts, path.removesuffix("qkv"))
        before = "nothing" if source is None else _name(source)
        note = "fresh" if source is None else _take(path, part, source)
        report.append(Conversion(path, before, type(part).__name__, note))
    if all(entry.note == "fresh" for entry in report):
        raise UserError("the networks have no part in common: start from the same network")
    return report


def _holds(part: nn.Module) -> bool:
    own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
    return any(True for _ in own)


def _name(source: nn.Module | SimpleNamespace) -> str:
    return "q, kv" if isinstance(source, SimpleNamespace) else type(source).__name__


def _joint(parts: dict[str, nn.Module], above: str) -> SimpleNamespace | None:
    """Return the projections of queries, keys and values as those of one layer."""
    found = [parts.get(above + name) for name in ("q", "kv")]
    if any(part is None for part in found):
        return None
    layers = [_weights(part) for part in found if part is not None]
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return SimpleNamespace(weight=torch.cat([layer.weight for layer in layers]), bias=bias)


def _weights(layer: nn.Module | SimpleNamespace) -> SimpleNamespace:
    if isinstance(layer, SimpleNamespace):
        return layer
    known = layer_class_of(layer)
    assert known is not None
    bias: Tensor | None = getattr(layer, "bias", None)
    return SimpleNamespace(
        weight=known.weight(layer).detach(), bias=None if bias is None else bias.detach()
    )


@torch.no_grad()
def _take(path: str, new: nn.Module, old: nn.Module | SimpleNamespace) -> str:
    """Copy what a part keeps and say what that is."""
    ours = new.state_dict()
    if isinstance(old, nn.Module) and type(new) is type(old):
        theirs = old.state_dict()
        wrong = [n for n in ours if n not in theirs or theirs[n].shape != ours[n].shape]
        if wrong:
            _refuse(path, wrong[0], ours[wrong[0]], theirs.get(wrong[0]))
        own = {name: theirs[name] for name in ours}
        new.load_state_dict(own)
        return "taken over"
    known = layer_class_of(new)
    if known is None or (isinstance(old, nn.Module) and layer_class_of(old) is None):
        return "fresh"
    source = _weights(old)
    weight = known.weight(new)
    if source.weight.shape != weight.shape:
        _refuse(path, "weight", weight, source.weight)
    if known.take_over is not None:
        return known.take_over(new, source, "zero")
    if not known.multiplies:
        return "fresh"
    weight.copy_(source.weight)
    bias = getattr(new, "bias", None)
    if bias is not None and source.bias is not None:
        bias.copy_(source.bias)
    return "taken over"


def _refuse(path: str, name: str, ours: Tensor, theirs: Tensor | None) -> None:
    there = "lacks it" if theirs is None else f"has {tuple(theirs.shape)}"
    raise UserError(
        f"{path}.{name} must have shape {tuple(ours.shape)}, but the network to start from "
        f"{there}: it is another network"
    )

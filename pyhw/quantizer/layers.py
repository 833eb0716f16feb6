"""What is done with each kind of layer: the one place where a module becomes stages.

A new kind of layer is one function given to `layer_kind`. It gets the stages so far, the layer and
the value that the layer reads, and returns the layer's value:

    @layer_kind(nn.Hypothetical)
    def _hypothetical(site: Site, layer: Any, ref: Ref) -> Ref:
        return site.build.place(Stage(path=site.path, ...), ref, takes=ref.shape[2])

A function of several values is one given to `join_kind`, and its name in
`pyhw.quantizer.functions`. Both raise `Unsupported` for settings that cannot be quantised. What is
only to become part of a later stage is marked on the value (`Ref.pending`); a function that can
take such marks names them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from pyhw.hdl.registry import Registry
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.tokens import DropPath

from .activations import RELU, TABLES, activation_of
from .convert import batch_norm, convolution, linear
from .extend import with_activation, with_norm
from .functions import Reshape, ScaleShift, Unsupported
from .pools import pool
from .refs import Ref
from .stage import Norm, Stage

if TYPE_CHECKING:
    from .build import Builder

__all__ = ["JOINS", "Join", "Site", "Take", "join_kind", "layer_kind", "pair_kind", "pair_of",
           "take_of", "weights_of"]  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Where a layer is called: the stages so far, its path, and the shape of its result.

    `dims` is the result's shape for one image in PyTorch, None if it is not known; `options` are
    arguments of the call that are no tensors.
    """

    build: "Builder"
    path: str
    dims: tuple[int, ...] | None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Take:
    """What is done with a kind of layer, and which marks of `Ref.pending` it can take."""

    function: Callable[[Site, Any, Ref], Ref]
    pending: frozenset[str] = frozenset()

    def __call__(self, site: Site, layer: nn.Module, ref: Ref) -> Ref:
        """Return the value of a layer."""
        ref.need_none_pending(self.pending)
        if "gain" not in self.pending:
            ref = site.build.scaled(site.path, ref)
        return self.function(site, layer, ref)


Join = Callable[["Builder", str, list[Ref]], Ref]
"""What is done with a function of several values: takes the stages, its path and what it reads."""

_KINDS: Registry[type, Take] = Registry("Layer class")
JOINS: Registry[str, Join] = Registry("Join name")
"""Functions of several values, by the kind that `pyhw.quantizer.functions` gives them."""

_Function = Callable[[Site, Any, Ref], Ref]


def layer_kind(
    *classes: type[nn.Module], pending: tuple[str, ...] = ()
) -> Callable[[_Function], _Function]:
    """Register what is done with layers of some classes; subclasses may compute something else.

    Layers of a registered class are never traced through.

    Raises
    ------
    ValueError
        If a class is taken.
    """

    def register(function: _Function) -> _Function:
        for cls in classes:
            _KINDS.add(cls, Take(function, frozenset(pending)))
        return function

    return register


Pair = Callable[[Site, Any, Ref, Ref], Ref]
"""What is done with a layer that reads two values."""

_PAIRS: Registry[type, Pair] = Registry("Class of layers of two values")


def pair_kind(*classes: type[nn.Module]) -> Callable[[Pair], Pair]:
    """Register what is done with layers that read two values; as `layer_kind`."""

    def register(function: Pair) -> Pair:
        for cls in classes:
            _PAIRS.add(cls, function)
        return function

    return register


def pair_of(layer: nn.Module) -> Pair | None:
    """Return what is done with a layer that reads two values; None if it reads one."""
    return _PAIRS.get(type(layer))


def join_kind(name: str) -> Callable[[Join], Join]:
    """Register what is done with functions of several values of a kind.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    return lambda join: JOINS.add(name, join)


@join_kind("add")
def _add(build: "Builder", path: str, inputs: list[Ref]) -> Ref:
    return build.added(path, inputs)


@join_kind("cat")
def _cat(build: "Builder", path: str, inputs: list[Ref]) -> Ref:
    return build.joined(path, inputs)


def take_of(layer: nn.Module) -> Take | None:
    """Return what is done with a layer, None if it cannot be quantised."""
    known = layer_class_of(layer)
    cls = parametrize.type_before_parametrizations(layer)
    if known is not None and (known.subclasses or cls in known.classes):
        return _WEIGHTED
    return _KINDS.get(cls)


@layer_kind(
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout, DropPath, pending=("padding", "features", "left_out", "gain"),
)  # fmt: skip
def _ignore(site: Site, layer: nn.Module, ref: Ref) -> Ref:
    return ref


@layer_kind(nn.Flatten, nn.Unflatten, Reshape)
def _reshape(site: Site, layer: Any, ref: Ref) -> Ref:
    if site.dims is None or not ref.known:
        return ref.lost()
    return ref.reshaped(site.dims)


def _weighted(site: Site, layer: Any, ref: Ref) -> Ref:
    known = layer_class_of(layer)
    assert known is not None
    if known.weight(layer).ndim == 2:
        return _linear(site, layer, ref)
    if ref.features is not None:
        ref.need_none_pending()
    stage = convolution(site.path, layer, ref.padding)
    ref.need_map()
    assert stage.weight is not None
    return site.build.place(stage, ref, stage.weight.shape[3] * stage.groups)


_WEIGHTED = Take(_weighted, frozenset({"padding", "features"}))


def _linear(site: Site, layer: Any, ref: Ref) -> Ref:
    ref.need_none_pending(frozenset({"features"}))
    if not ref.known:
        return ref
    if ref.tokens:
        channels = ref.shape[2]
        stage = linear(site.path, layer, (1, 1, channels), ref.features)
        made = site.build.place(stage, ref, channels)
        return replace(made, dims=(ref.dims[0], stage.channels))
    ref.need(ref.flat, "it must follow a Flatten")
    stage = linear(site.path, layer, ref.shape, ref.features)
    made = site.build.place(stage, replace(ref, features=None), ref.shape[2])
    return replace(made, dims=(stage.channels,))


@layer_kind(nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
            pending=("padding",))  # fmt: skip
def _pool(site: Site, layer: Any, ref: Ref) -> Ref:
    ref.need_map()
    if not ref.known:
        return ref
    stage = pool(site.path, layer, ref)
    if stage is None:
        return ref
    if ref.padding is not None and stage.kind == "max":
        if site.build.is_signed(ref.path):
            raise Unsupported(
                "it takes the maximum of padded zeros and values that may be negative; put a ReLU "
                "before, or use the padding of the pool"
            )
        if any(side >= stage.kernel[i % 2] for i, side in enumerate(stage.padding)):
            raise Unsupported("some of its windows hold padding alone; pad less")
    return site.build.place(stage, ref, ref.shape[2])


@layer_kind(nn.ZeroPad2d, nn.ConstantPad2d, pending=("padding",))
def _zero_pad(site: Site, layer: Any, ref: Ref) -> Ref:
    left, right, top, bottom = layer.padding
    if min(layer.padding) < 0 or (layer.value and any(layer.padding)):
        raise Unsupported("only padding with zeros is supported; use ZeroPad2d")
    ref.need_map()
    if not ref.known:
        return ref
    before = ref.padding or (0, 0, 0, 0)
    sides = (before[0] + top, before[1] + left, before[2] + bottom, before[3] + right)
    made = replace(ref, padding=sides if any(sides) else None)
    return replace(made, dims=(ref.shape[2], *made.padded))


@layer_kind(nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, pending=("features",))
def _batch_norm(site: Site, layer: Any, ref: Ref) -> Ref:
    norm = batch_norm(layer)
    ref.need(not ref.tokens or ref.single,
             "it reads tokens (N, T, C); use `pyhw.nn.tokens.ToMap` before it")
    wanted = ref.dims[0] if ref.dims else 0
    ref.need(
        layer.num_features == wanted,
        f"it has {layer.num_features} features for a map of {'x'.join(map(str, ref.shape))}",
    )
    return _normed(site, ref, norm)


@layer_kind(ScaleShift, pending=("features", "gain"))
def _scale_shift(site: Site, layer: ScaleShift, ref: Ref) -> Ref:
    if not ref.known:
        return ref
    if ref.tokens and layer.scale.numel() == 1 and not layer.shift.any():
        return replace(ref, gain=ref.gain * float(layer.scale))
    ref = site.build.scaled(site.path, ref)
    scale, shift = (_per_channel(tensor, ref.dims) for tensor in (layer.scale, layer.shift))
    return _normed(site, ref, Norm(scale, np.zeros(len(scale)), shift))


def _per_channel(constant: torch.Tensor, dims: tuple[int, ...]) -> np.ndarray:
    """Return a constant that is broadcast to (N, *dims) as one number per channel or feature."""
    if len(dims) == 2:
        dims = dims[::-1]  # tokens: channels come last
        constant = constant.reshape(constant.shape[::-1]) if constant.ndim == 1 else (
            constant.transpose(-1, -2) if constant.ndim > 1 else constant)
        constant = constant[:, None] if constant.ndim == 1 else constant
    count = dims[0] if dims else 1
    missing = 1 + len(dims) - constant.ndim
    shape = (1,) * missing + tuple(constant.shape)  # as PyTorch broadcasts
    others = [n for i, n in enumerate(shape) if i != 1 and n != 1]
    if missing < 0 or others or (dims and shape[1] not in (1, count)):
        raise Unsupported(
            f"its constant of shape {tuple(constant.shape)} is not one number per channel; use a "
            "batch norm or a bias"
        )
    return np.full(count, constant.flatten().numpy())


def _normed(site: Site, ref: Ref, norm: Norm) -> Ref:
    """Apply a norm per channel of a map, or per feature of a flat value."""
    if not ref.known:
        return ref
    if len(ref.dims) == 1 and not ref.single:
        before = ref.features
        return replace(ref, features=norm if before is None else before.then(norm))
    return site.build.extended(site.path, ref, lambda stage: with_norm(stage, norm))


@layer_kind(nn.ReLU, *TABLES)
def _activation(site: Site, layer: nn.Module, ref: Ref) -> Ref:
    activation = activation_of(layer)
    assert activation is not None
    if not ref.known or (activation is RELU and not site.build.is_signed(ref.path)):
        return ref
    return site.build.extended(site.path, ref, lambda stage: with_activation(stage, activation))


@layer_kind(nn.Softmax, nn.LogSoftmax)
def _softmax(site: Site, layer: Any, ref: Ref) -> Ref:
    if site.build.kind(ref) == "scores" and isinstance(layer, nn.Softmax):
        ref.need(layer.dim in (-1, 4), f"only keys are weighed (dim=-1), not dim={layer.dim}")
        return weights_of(site, ref)
    ref.need(
        layer.dim in (1, -len(ref.dims)) or (layer.dim is None and ref.flat),
        "it must be over the classes (dim=1)",
    )
    return replace(ref, left_out=layer) if ref.known else ref


def weights_of(site: Site, ref: Ref, **options: Any) -> Ref:
    """Return the weights of an attention's keys, of their scores."""
    heads = site.build.stages[ref.path].options["heads"]
    stage = Stage(path=site.path, kind="softmax", channels=ref.shape[2],
                  options={"heads": heads, **options})  # fmt: skip
    return site.build.put(stage, site.dims, ref)

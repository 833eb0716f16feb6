"""Reading a torch model: traced calls become stages, or one report of what cannot be.

What can be computed on the way from an accumulator to a stored value (batch norms, an activation,
residuals) becomes part of the stage before it, as long as nothing else reads what lies between.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.nn.kinds import layer_class_of

from .activations import activation_name
from .advice import advise
from .convert import UNKNOWN, Shape, batch_norm, convolution, linear, output_sides, pool
from .extend import with_activation, with_norm, with_residual
from .functions import Unsupported
from .signs import is_signed
from .stage import IMAGES, Residual, Stage
from .trace import Call, Traced, trace

__all__ = ["Reading", "read", "walk"]

IGNORED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def walk(model: nn.Module, shape: Shape) -> list[Stage]:
    """Read a model in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Of the layers and functions that `docs/quantization.md` lists.
    shape : (int, int, int)
        Height, width and channels of its input.

    Returns
    -------
    list of Stage
        In an order in which each reads only earlier ones; the last is the result.

    Raises
    ------
    UserError
        If a layer is not supported (one report of all of them, by path in the model), holds NaN
        or infinite values, or does not fit the shape of its input.
    """
    return read(model, shape).stages


@dataclass(frozen=True, eq=False)
class Reading:
    """A model that was read.

    Attributes
    ----------
    stages : list of Stage
        As `walk` returns them.
    traced : Traced
        Where they come from.
    first, last : dict of str to str
        By stage, the call of its layer, and the call whose result is the stage's value.
    """

    stages: list[Stage]
    traced: Traced
    first: dict[str, str]
    last: dict[str, str]


def read(model: nn.Module, shape: Shape) -> Reading:
    """Read a model as `walk` does, and keep where its stages come from."""
    traced = trace(model)
    walker = _Walker(traced.images, shape)
    for call in traced.calls:
        walker.visit(call)
    if walker.problems:
        count = len(walker.problems)
        raise UserError(
            f"{count} layer{'s' * (count > 1)} cannot be quantised: " + "; ".join(walker.problems)
        )
    if not any(stage.weight is not None for stage in walker.stages.values()):
        raise UserError("the model has no convolution or linear layer: there is nothing to run")
    return Reading(walker.finish(traced.output), traced, walker.first, walker.last)


@dataclass(frozen=True)
class _Ref:
    """A value in reading: the stage that it comes of so far, its shape, whether it is flat."""

    path: str
    shape: Shape
    flat: bool = False

    def need(self, kept: bool, text: str) -> None:
        """Refuse with the text unless a rule is kept or the shape is not known."""
        if not kept and self.shape != UNKNOWN:
            raise Unsupported(text)


class _Walker:
    """The stages so far by path, and the values; problems are collected, not raised."""

    def __init__(self, images: str, shape: Shape) -> None:
        self.values = {images: _Ref(IMAGES, shape)}
        self.stages: dict[str, Stage] = {}
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.problems: list[str] = []
        # Stages whose value is read as it is, so that nothing more can become part of them.
        self.closed = {IMAGES}

    def visit(self, call: Call) -> None:
        """Take one call."""
        inputs = [self.values[name] for name in call.inputs]
        if call.kind == "refused":
            self.problems.append(call.problem)
            # What comes after is still searched for layers that are not known, but its sizes
            # cannot be judged any more.
            result = _Ref(inputs[0].path if inputs else IMAGES, UNKNOWN)
        elif call.kind == "layers":
            result = inputs[0]
            for layer in call.layers:
                result = self._layer(call, layer, result)
        else:
            result = self._joined(call, inputs)
        self.values[call.name] = result
        self.first.setdefault(result.path, call.name)
        if result.path not in self.closed:
            self.last[result.path] = call.name
        if call.readers > 1:
            self.closed.add(result.path)

    def finish(self, output: str) -> list[Stage]:
        """Return all stages; the result is made sure to be the last, read by nobody."""
        path = self.values[output].path
        read = {name for stage in self.stages.values() for name in stage.reads}
        if path in read or path == IMAGES or self.stages[path].kind == "concat":
            self._new(self._free("output"), "point", self.values[output])
        else:
            self.stages[path] = self.stages.pop(path)
        return list(self.stages.values())

    def _layer(self, call: Call, layer: nn.Module, ref: _Ref) -> _Ref:
        values = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for name, tensor in values:
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise UserError(
                    f"layer {call.path!r}: its {name} holds NaN or infinite values, so it computes "
                    "nothing; train again with a smaller learning rate"
                )
        take = _take(layer)
        try:
            if take is None:
                raise Unsupported(advise(layer))
            return take(self, call.path, layer, ref)
        except Unsupported as problem:
            self.problems.append(f"{call.path} ({type(layer).__name__}): {problem}")
            return replace(ref, shape=UNKNOWN)

    def _joined(self, call: Call, inputs: list[_Ref]) -> _Ref:
        take = self._sum if call.kind == "add" else self._concat
        try:
            return take(call.path, inputs)
        except Unsupported as problem:
            self.problems.append(f"{call.path} (function): {problem}")
            return replace(inputs[0], shape=UNKNOWN)

    # Stages.

    def _free(self, path: str) -> str:
        """Return a path that no stage has: a layer may be called more than once."""
        number, free = 2, path
        while free in self.stages:
            free, number = f"{path}_{number}", number + 1
        return free

    def _place(self, stage: Stage, ref: _Ref, takes: int) -> _Ref:
        """Append a stage that computes, and return its value."""
        if ref.shape != UNKNOWN:
            ref.need(takes == ref.shape[2], f"it takes {takes} channels and gets {ref.shape[2]}")
            shape = (*output_sides(stage, ref.shape), stage.channels)
        else:
            shape = UNKNOWN
        path = self._free(stage.path)
        self.stages[path] = replace(stage, path=path, sources=(ref.path,))
        return _Ref(path, shape)

    def _new(self, path: str, kind: str, ref: _Ref) -> Stage:
        """Append a stage that changes no shape."""
        stage = Stage(path=path, kind=kind, channels=ref.shape[2], sources=(ref.path,))
        self.stages[path] = stage
        return stage

    def _extended(self, path: str, ref: _Ref, change: Callable[[Stage], Stage | None]) -> _Ref:
        """Make something part of the stage of a value, or of a new one where it has no room."""
        stage = None if ref.path in self.closed else change(self.stages[ref.path])
        if stage is None:
            stage = change(self._new(self._free(path), "point", ref))
        assert stage is not None
        self.stages[stage.path] = stage
        return replace(ref, path=stage.path)

    # Layers: each takes its path, itself and what it reads.

    def _ignore(self, path: str, layer: nn.Module, ref: _Ref) -> _Ref:
        return ref

    def _flatten(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        whole = layer.start_dim == 1 and layer.end_dim in (-1, 3)
        ref.need(whole, "only start_dim=1, end_dim=-1 is supported")
        return replace(ref, flat=True)

    def _convolution(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        stage = convolution(path, layer)
        ref.need(not ref.flat, "it follows a Flatten; put it before")
        assert stage.weight is not None
        return self._place(stage, ref, stage.weight.shape[3] * stage.groups)

    def _linear(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        if ref.shape == UNKNOWN:
            return ref
        ref.need(ref.flat or ref.shape[:2] == (1, 1), "it must follow a Flatten")
        stage = linear(path, layer, ref.shape)
        return replace(self._place(stage, ref, ref.shape[2]), flat=True)

    def _weighted(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        known = layer_class_of(layer)
        flat = known is not None and known.weight(layer).ndim == 2
        return (self._linear if flat else self._convolution)(path, layer, ref)

    def _pool(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        ref.need(not ref.flat, "it follows a Flatten; put it before")
        return self._place(pool(path, layer, ref.shape), ref, ref.shape[2])

    def _batch_norm(self, path: str, layer: Any, ref: _Ref) -> _Ref:
        height, width, channels = ref.shape
        norm = batch_norm(layer)
        ref.need(
            layer.num_features == channels and (not ref.flat or height * width <= 1),
            f"it has {layer.num_features} features for a map of {height}x{width}x{channels}; "
            "put it before the Flatten",
        )
        if ref.shape == UNKNOWN:
            return ref
        return self._extended(path, ref, lambda stage: with_norm(stage, norm))

    def _activation(self, path: str, layer: nn.Module, ref: _Ref) -> _Ref:
        name = activation_name(layer)
        if name == "relu" and not is_signed(ref.path, self.stages):
            return ref
        return self._extended(path, ref, lambda stage: with_activation(stage, name))

    # Functions of several values.

    def _sum(self, path: str, inputs: list[_Ref]) -> _Ref:
        a, b = inputs
        if UNKNOWN in (a.shape, b.shape):
            return replace(a, shape=UNKNOWN)
        if a.shape != b.shape or a.flat != b.flat:
            raise Unsupported(
                f"it adds maps of {'x'.join(map(str, a.shape))} and {'x'.join(map(str, b.shape))}"
            )
        order = [IMAGES, *self.stages]
        early, late = sorted(inputs, key=lambda ref: order.index(ref.path))
        for target, other in ((late, early), (early, late)):
            if a.path == b.path or target.path in self.closed:
                continue
            stage = with_residual(self.stages[target.path], Residual(other.path))
            if stage is not None:
                del self.stages[target.path]  # nothing reads it yet: it can come last
                self.stages[target.path] = stage
                return target
        stage = with_residual(self._new(self._free(path), "point", late), Residual(early.path))
        assert stage is not None
        self.stages[stage.path] = stage
        return replace(late, path=stage.path)

    def _concat(self, path: str, inputs: list[_Ref]) -> _Ref:
        if any(ref.shape == UNKNOWN for ref in inputs):
            return replace(inputs[0], shape=UNKNOWN)
        sides = {ref.shape[:2] for ref in inputs}
        flat = {ref.flat for ref in inputs}
        if len(sides) > 1 or len(flat) > 1 or (flat == {True} and sides != {(1, 1)}):
            raise Unsupported(
                "it joins maps of different sides, or flat ones; join the maps, then use Flatten"
            )
        sources = []
        for ref in inputs:
            # The images' step cannot be chosen, and a ReLU after a second step needs a clamp at 0.
            if ref.path == IMAGES or self.stages[ref.path].relu2:
                sources.append(self._new(self._free(f"{path}_part"), "point", ref).path)
            else:
                sources.append(ref.path)
        self.closed.update(sources)
        shape = (*inputs[0].shape[:2], sum(ref.shape[2] for ref in inputs))
        stage = self._new(self._free(path), "concat", _Ref(IMAGES, shape))
        self.stages[stage.path] = replace(stage, sources=tuple(sources))
        self.closed.add(stage.path)
        return _Ref(stage.path, shape, inputs[0].flat)


Take = Callable[[_Walker, str, Any, _Ref], _Ref]

_TAKE: dict[type, Take] = {
    **dict.fromkeys(IGNORED, _Walker._ignore),
    nn.Flatten: _Walker._flatten,
    nn.MaxPool2d: _Walker._pool,
    nn.AvgPool2d: _Walker._pool,
    nn.AdaptiveAvgPool2d: _Walker._pool,
    nn.BatchNorm1d: _Walker._batch_norm,
    nn.BatchNorm2d: _Walker._batch_norm,
}
"""What is done with each kind of layer; subclasses may compute something else and are refused."""


def _take(layer: nn.Module) -> Take | None:
    known = layer_class_of(layer)
    if known is not None and (known.subclasses or type(layer) in known.classes):
        return _Walker._weighted
    if activation_name(layer) is not None:
        return _Walker._activation
    return _TAKE.get(type(layer))

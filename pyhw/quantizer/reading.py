"""Reading a torch model: traced calls become stages, or one report of what cannot be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from pyhw.errors import UserError

from . import token_layers  # noqa: F401  (registers them)
from .advice import advise
from .build import Builder
from .functions import Unsupported
from .layers import JOINS, Site, pair_of, take_of
from .normalisation import normalisation_stage
from .refs import Ref, Shape
from .stage import IMAGES, Stage
from .token_kinds import kind_of
from .trace import Call, Traced, trace
from .wrappers import unwrapped

__all__ = ["Reading", "read"]

PROBES = 3
"""Images that a model is traced on where none are given."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A model that was read.

    Attributes
    ----------
    stages : list of Stage
        In an order in which each reads only earlier ones; the last is the result.
    traced : Traced
        Where they come from.
    first, last : dict of str to str
        By stage, the call of its layer, and the call whose result is the stage's value.
    left_out : torch.nn.Module or None
        A softmax after the last stage, and its path: the class is the same without it.
    left_out_path : str
        Its path, "" without one.
    """

    stages: list[Stage]
    traced: Traced
    first: dict[str, str]
    last: dict[str, str]
    left_out: nn.Module | None = None
    left_out_path: str = ""


def read(
    model: nn.Module,
    shape: Shape,
    images: torch.Tensor | None = None,
    normalise: tuple[np.ndarray, np.ndarray] | None = None,
    apart: bool = False,
) -> Reading:
    """Read a model in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Of the layers and functions that `docs/quantization.md` lists.
    shape : (int, int, int)
        Height, width and channels of its input.
    images : Tensor, shape (N, C, H, W), optional
        What the model is traced on, normalised; no number of the result depends on it.
    normalise : (array (C,), array (C,)), optional
        Mean and deviation that the first stage takes off and divides by.
    apart : bool
        Make every call a stage of its own, to compare values layer by layer.

    Raises
    ------
    UserError
        If a layer is not supported (one report of all of them, by path in the model), holds NaN
        or infinite values, or does not fit the shape of its input.
    """
    model = unwrapped(model)
    if images is None:
        height, width, channels = shape
        kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        noise = torch.rand(PROBES, channels, height, width,
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
        images = noise.to(kind)
    traced = trace(model, images)
    reader = _Reader(traced, shape, normalise, apart)
    for call in traced.calls:
        reader.take(call)
    return reader.finish()


class _Reader:
    """Takes one call after the other; problems are collected, not raised."""

    def __init__(
        self, traced: Traced, shape: Shape, normalise: tuple[np.ndarray, np.ndarray] | None,
        apart: bool,
    ) -> None:  # fmt: skip
        self.traced, self.build, self.apart = traced, Builder(), apart
        self.first: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.softmax = ""
        self.problems: list[str] = []
        path = IMAGES
        if normalise is not None:
            names = {call.path.partition(".")[0] for call in traced.calls}
            stage = normalisation_stage(*normalise, names)
            path = stage.path
            self.build.stages[path] = stage
            self.first[path] = self.last[path] = traced.images
            if traced.readers > 1 or apart:
                self.build.closed.add(path)
        self.values = {traced.images: Ref.map(path, shape)}

    def take(self, call: Call) -> None:
        """Take one call."""
        inputs = [self.values[name] for name in call.inputs]
        problems = len(self.problems)
        if call.kind == "refused":
            # What comes after is still searched for layers that are not known, but its sizes
            # cannot be judged any more.
            self.problems.append(call.problem)
            result = inputs[0].lost() if inputs else self.values[self.traced.images].lost()
        elif call.kind == "part":
            result = self._part(call, inputs[0])
        elif call.kind == "layers" and len(inputs) == 2:
            result = self._pair(call, inputs[0], inputs[1])
        elif call.kind == "layers":
            result = inputs[0]
            for layer in call.layers:
                last = layer is call.layers[-1]
                result = self._layer(call, layer, result, call.dims if last else None)
        else:
            result = self._joined(call, inputs)
        if len(self.problems) == problems:
            if call.problem:
                self.problems.append(call.problem)
                result = result.lost()
            elif result.known and call.dims is not None and call.dims != result.dims:
                self.problems.append(
                    f"{call.path}: it makes {'x'.join(map(str, call.dims))} of each image where "
                    f"{'x'.join(map(str, result.dims))} was expected; use a layer of its own"
                )
                result = result.lost()
        self.values[call.name] = result
        self.first.setdefault(result.path, call.name)
        if result.path not in self.build.closed and not result.pending:
            self.last[result.path] = call.name
        if call.readers > 1 or self.apart:
            self.build.closed.add(result.path)
        if result.left_out is not None and not self.softmax:
            self.softmax = call.path

    def finish(self) -> Reading:
        """Return all stages; the result is made sure to be the last, read by nobody."""
        result = self.values[self.traced.output]
        try:
            result.need_none_pending(frozenset({"left_out"}))
        except Unsupported as problem:
            self.problems.append(f"the model's result: {problem}")
        if self.problems:
            count = len(self.problems)
            raise UserError(
                f"{count} layer{'s' * (count > 1)} cannot be quantised: " + "; ".join(self.problems)
            )
        stages = self.build.stages
        if not any(stage.weight is not None for stage in stages.values()):
            raise UserError("the model has no convolution or linear layer: there is nothing to run")
        result = self.build.scaled("output", result)
        read = {name for stage in stages.values() for name in stage.reads}
        path = result.path
        for cut in self.build.cut - read - {path}:
            del stages[cut]
        bare = path in read or path == IMAGES or stages[path].kind == "concat"
        if bare or kind_of(stages[path]) is not None:
            self.build.new(self.build.free("output"), "point", result)
        else:
            stages[path] = stages.pop(path)
        return Reading(list(stages.values()), self.traced, self.first, self.last,
                       result.left_out, self.softmax)  # fmt: skip

    def _layer(
        self, call: Call, layer: nn.Module, ref: Ref, dims: tuple[int, ...] | None
    ) -> Ref:
        _check_finite(call.path, layer)
        take = take_of(layer)
        try:
            if take is None:
                raise Unsupported(advise(layer))
            return take(Site(self.build, call.path, dims, call.options), layer, ref)
        except Unsupported as problem:
            kind = parametrize.type_before_parametrizations(layer)
            self.problems.append(f"{call.path} ({kind.__name__}): {problem}")
            return ref.lost()

    def _pair(self, call: Call, a: Ref, b: Ref) -> Ref:
        (layer,) = call.layers
        take = pair_of(layer)
        assert take is not None
        try:
            for ref in (a, b):
                ref.need_none_pending()
            if not (a.known and b.known):
                return a.lost()
            a, b = (self.build.scaled(call.path, ref) for ref in (a, b))
            return take(Site(self.build, call.path, call.dims, call.options), layer, a, b)
        except Unsupported as problem:
            self.problems.append(f"{call.path} ({type(layer).__name__}): {problem}")
            return a.lost()

    def _part(self, call: Call, ref: Ref) -> Ref:
        try:
            return self.build.part(call.path, ref, **call.options) if ref.known else ref
        except Unsupported as problem:
            self.problems.append(f"{call.path} (function): {problem}")
            return ref.lost()

    def _joined(self, call: Call, inputs: list[Ref]) -> Ref:
        try:
            for ref in inputs:
                ref.need_none_pending()
            return JOINS[call.kind](self.build, call.path, inputs)
        except Unsupported as problem:
            self.problems.append(f"{call.path} (function): {problem}")
            return inputs[0].lost()


def _check_finite(path: str, layer: nn.Module) -> None:
    values: list[tuple[str, Any]] = [
        *layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]  # fmt: skip
    if parametrize.is_parametrized(layer):
        values += [(name, getattr(layer, name)) for name in layer.parametrizations]  # type: ignore
    for name, tensor in values:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"layer {path!r}: its {name} holds NaN or infinite values, so it computes "
                "nothing; train again with a smaller learning rate"
            )

"""The stages of a network in the making.

What can be computed on the way from an accumulator to a stored value (batch norms, an activation,
residuals) becomes part of the stage before it, as long as nothing else reads what lies between.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .convert import output_sides
from .extend import with_norm, with_residual
from .functions import Unsupported
from .refs import UNKNOWN, Ref
from .signs import is_signed
from .stage import IMAGES, Norm, Residual, Stage

__all__ = ["Builder"]


class Builder:
    """The stages so far.

    Attributes
    ----------
    stages : dict of str to Stage
        By path, in an order in which each reads only earlier ones.
    closed : set of str
        Paths of stages whose value is read as it is, so that nothing more can become part of them.
    cut : set of str
        Linear layers of which only parts are read, each a stage of its own.
    """

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.closed = {IMAGES}
        self.cut: set[str] = set()

    def is_signed(self, path: str) -> bool:
        """Return whether a stage's value can be negative."""
        return is_signed(path, self.stages)

    def free(self, path: str) -> str:
        """Return a path that no stage has: a layer may be called more than once."""
        number, free = 2, path
        while free in self.stages:
            free, number = f"{path}_{number}", number + 1
        return free

    def place(self, stage: Stage, ref: Ref, takes: int) -> Ref:
        """Append a stage that computes, and return its value.

        Parameters
        ----------
        stage : Stage
            Without sources; its padding includes the value's.
        ref : Ref
            What it reads.
        takes : int
            Channels that it reads.
        """
        shape = UNKNOWN
        if ref.known:
            ref.need(takes == ref.shape[2], f"it takes {takes} channels and gets {ref.shape[2]}")
            shape = (*output_sides(stage, ref.shape), stage.channels)
        path = self.free(stage.path)
        self.stages[path] = replace(stage, path=path, sources=(ref.path,))
        return Ref.map(path, shape)

    def new(self, path: str, kind: str, ref: Ref) -> Stage:
        """Append a stage that changes no shape."""
        stage = Stage(path=path, kind=kind, channels=ref.shape[2], sources=(ref.path,))
        self.stages[path] = stage
        return stage

    def extended(self, path: str, ref: Ref, change: Callable[[Stage], Stage | None]) -> Ref:
        """Make something part of the stage of a value, or of a new one where it has no room."""
        stage = None if ref.path in self.closed else change(self.stages[ref.path])
        if stage is None:
            stage = change(self.new(self.free(path), "point", ref))
        assert stage is not None
        self.stages[stage.path] = stage
        return ref.moved(stage.path)

    def kind(self, ref: Ref) -> str:
        """Return the kind of the stage that a value comes of, "" of the images."""
        return "" if ref.path == IMAGES else self.stages[ref.path].kind

    def put(self, stage: Stage, dims: tuple[int, ...] | None, *inputs: Ref) -> Ref:
        """Append a stage that works on tokens, and return its value.

        It has a position for each of the first input's, and nothing can become part of it.
        """
        path, shape = self.free(stage.path), (*inputs[0].shape[:2], stage.channels)
        self.stages[path] = replace(stage, path=path, sources=tuple(ref.path for ref in inputs))
        self.closed.add(path)
        return Ref(path, shape, dims or ())

    def part(self, path: str, ref: Ref, index: int, count: int) -> Ref:
        """Make an equal part of a linear layer's channels a layer of its own."""
        stage, channels = self.stages.get(ref.path), ref.shape[2]
        plain = stage is not None and stage.weight is not None and stage.groups == 1 and (
            stage.first.empty and stage.activation is None and stage.second is None)
        if not plain or channels % count or not -count <= index < count or not ref.tokens:
            raise Unsupported("only the channels of a linear layer of tokens can be cut, in equal "
                              "parts")  # fmt: skip
        assert stage is not None
        assert stage.weight is not None
        if stage.prototype is not None:
            raise Unsupported("a masked layer cannot be cut into parts")
        size = channels // count
        part = slice(index % count * size, (index % count + 1) * size)
        codes = None if stage.codes is None else (stage.codes[0][:, part], stage.codes[1][:, part])
        made = replace(
            stage, path=self.free(path), channels=size, weight=stage.weight[part], codes=codes,
            bias=None if stage.bias is None else stage.bias[part])  # fmt: skip
        self.cut.add(ref.path)
        self.stages[made.path] = made
        return Ref(made.path, (*ref.shape[:2], size), (ref.dims[0], size))

    def scaled(self, path: str, ref: Ref) -> Ref:
        """Multiply by the gain that no sum took."""
        if ref.gain == 1.0:
            return ref
        norm = _gain(ref.gain, ref.shape[2])
        made = self.extended(f"{path}.gain", ref, lambda stage: with_norm(stage, norm))
        return replace(made, gain=1.0)

    def added(self, path: str, inputs: list[Ref]) -> Ref:
        """Return the sum of two values: a residual of the later one, where it has room."""
        a, b = inputs
        if not (a.known and b.known):
            return a.lost()
        if a.shape != b.shape or a.dims != b.dims:
            raise Unsupported(
                f"it adds maps of {'x'.join(map(str, a.shape))} and {'x'.join(map(str, b.shape))}"
            )
        order = [IMAGES, *self.stages]
        early, late = sorted(inputs, key=lambda ref: order.index(ref.path))
        for target, other in ((late, early), (early, late)):
            if a.path == b.path or target.path in self.closed:
                continue
            stage = _sum(self.stages[target.path], target, other)
            if stage is not None:
                del self.stages[target.path]  # nothing reads it yet: it can come last
                self.stages[target.path] = stage
                return replace(target, gain=1.0)
        stage = _sum(self.new(self.free(path), "point", late), late, early)
        assert stage is not None
        self.stages[stage.path] = stage
        return replace(late, path=stage.path, gain=1.0)

    def joined(self, path: str, inputs: list[Ref]) -> Ref:
        """Return the channels of several values."""
        if not all(ref.known for ref in inputs):
            return inputs[0].lost()
        inputs = [self.scaled(path, ref) for ref in inputs]
        sides = {ref.shape[:2] for ref in inputs}
        ranks = {len(ref.dims) for ref in inputs}
        if len(sides) > 1 or len(ranks) > 1 or not (ranks == {3} or sides == {(1, 1)}):
            raise Unsupported(
                "it joins maps of different sides, or flat ones; join the maps, then use Flatten"
            )
        sources = []
        for ref in inputs:
            # The images' step cannot be chosen, and a ReLU after a second step needs a clamp at 0.
            if ref.path == IMAGES or self.stages[ref.path].relu2:
                sources.append(self.new(self.free(f"{path}_part"), "point", ref).path)
            else:
                sources.append(ref.path)
        self.closed.update(sources)
        shape = (*inputs[0].shape[:2], sum(ref.shape[2] for ref in inputs))
        stage = self.new(self.free(path), "concat", Ref(IMAGES, shape))
        self.stages[stage.path] = replace(stage, sources=tuple(sources))
        self.closed.add(stage.path)
        made = Ref.map(stage.path, shape)
        return made if ranks == {3} else made.reshaped((shape[2],))


def _gain(gain: float, channels: int) -> Norm:
    zero = np.zeros(channels)
    return Norm(zero + gain, zero, zero)


def _sum(stage: Stage, target: Ref, other: Ref) -> Stage | None:
    """Return the stage of a value with another value added, both times their gains."""
    channels = target.shape[2]
    if target.gain != 1.0:
        scaled = with_norm(stage, _gain(target.gain, channels))
        if scaled is None:
            return None
        stage = scaled
    gain = None if other.gain == 1.0 else np.full(channels, other.gain)
    return with_residual(stage, Residual(other.path, gain))

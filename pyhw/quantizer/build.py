"""The stages of a network in the making.

What can be computed on the way from an accumulator to a stored value (batch norms, an activation,
residuals) becomes part of the stage before it, as long as nothing else reads what lies between.
"""

from collections.abc import Callable
from dataclasses import replace

from .convert import output_sides
from .extend import with_residual
from .functions import Unsupported
from .refs import UNKNOWN, Ref
from .signs import is_signed
from .stage import IMAGES, Residual, Stage

__all__ = ["Builder"]


class Builder:
    """The stages so far.

    Attributes
    ----------
    stages : dict of str to Stage
        By path, in an order in which each reads only earlier ones.
    closed : set of str
        Paths of stages whose value is read as it is, so that nothing more can become part of them.
    """

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.closed = {IMAGES}

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
            stage = with_residual(self.stages[target.path], Residual(other.path))
            if stage is not None:
                del self.stages[target.path]  # nothing reads it yet: it can come last
                self.stages[target.path] = stage
                return target
        stage = with_residual(self.new(self.free(path), "point", late), Residual(early.path))
        assert stage is not None
        self.stages[stage.path] = stage
        return late.moved(stage.path)

    def joined(self, path: str, inputs: list[Ref]) -> Ref:
        """Return the channels of several values."""
        if not all(ref.known for ref in inputs):
            return inputs[0].lost()
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

"""Random small networks that exercise everything the contract allows, with images that show it."""

from dataclasses import replace

import numpy as np

from pyhw.hdl.formats import Format

from .execute import run_layers
from .infer import operand_types, types
from .ops import OPERATIONS, Graph, Input, Operation, Pointwise
from .post import DUMMY
from .random_limits import Limits
from .random_post import PostChoice, draw_format, fit_post
from .statistics import saturated_share, wanted_distinct
from .verify import verify

__all__ = ["Draw", "Limits", "random_graph"]


def random_graph(seed: int, limits: Limits | None = None) -> tuple[Graph, np.ndarray]:
    """Draw a network and images on which every layer shows what it does.

    Every layer with post-processing makes at least `wanted_distinct` values and clamps fewer
    than a fifth of its results.

    Parameters
    ----------
    seed : int
        The same seed and limits give the same network and images.
    limits : Limits, optional
        What may be drawn.

    Returns
    -------
    graph : Graph
        A graph that keeps the rules.
    images : int16 array (N, H, W, C)
        Images in the format of its input.
    """
    rng = np.random.default_rng(seed)
    while True:
        drawn = Draw(rng, limits or Limits(), f"random{seed}").graph()
        if drawn is not None:
            return verify(drawn[0]), drawn[1]


class Draw:
    """One network in the making: operations so far, and their values on the images."""

    def __init__(self, rng: np.random.Generator, limits: Limits, name: str) -> None:
        self.rng, self.limits, self.name = rng, limits, name
        side = limits.max_side
        shape = (self.pick(1, side), self.pick(1, side), self.channels())
        self.image = Input(name="image", shape=shape, fmt=draw_format(rng, _NARROW))
        self.ops: list[Operation] = [self.image]

    def pick(self, low: int, high: int) -> int:
        """Random integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """Return true in a share of the calls."""
        return bool(self.rng.random() < share)

    def channels(self) -> int:
        """Random channel count; small ones are as frequent as large ones."""
        high = self.limits.max_channels
        return self.pick(1, min(6, high)) if self.chance(0.4) else self.pick(1, high)

    def graph(self) -> tuple[Graph, np.ndarray] | None:
        """Return the network and its images, or None if the draw led nowhere."""
        fmt, shape = self.image.fmt, self.image.shape
        count = self.pick(min(16, self.limits.max_images), self.limits.max_images)
        images = self.rng.integers(fmt.min, fmt.max + 1, (count, *shape)).astype(np.int16)
        self.values = {"image": images.astype(np.int64)}
        for step in range(self.pick(1, self.limits.max_ops)):
            for _ in range(30):
                op = self.operation(f"op{step + 1}")
                if op is not None:
                    break
            else:
                return None
            self.ops.append(op)
            self.values = run_layers(self.so_far(), images)
            if types(self.so_far())[op.name].fmt.width > 16:
                break
        return self.so_far(), images

    def so_far(self) -> Graph:
        """Return the graph up to the last operation."""
        return Graph(self.name, tuple(self.ops), self.ops[-1].name, {"origin": "random_graph"})

    def operation(self, name: str) -> Operation | None:
        """Draw one operation; None if it would break a limit or show too little."""
        lim, last = self.limits, self.ops[-1].name
        self.types = types(self.so_far())
        if self.types[last].fmt.width > 8:
            return self.finish(Pointwise(name=name, input=last, post=DUMMY), second_only=True)
        kinds = [kind for kind in OPERATIONS.values() if kind.share(lim)]
        weights = np.array([kind.share(lim) for kind in kinds])
        kind = kinds[self.rng.choice(len(kinds), p=weights / weights.sum())]
        op = kind.draw(self, name, last)
        return op if op is None or not op.posts else self.finish(op)

    def padding(self, share: float, most: int) -> tuple[int, int, int, int]:
        """Draw padding, each side of its own size, in a share of the calls."""
        if not self.chance(share):
            return 0, 0, 0, 0
        return tuple(int(v) for v in self.rng.integers(0, most + 1, 4))  # type: ignore[return-value]

    def pad_value(self, read: str, channels: int) -> np.ndarray | None:
        """Draw pad values in the format of the input, or none."""
        fmt = self.types[read].fmt
        return self.rng.integers(fmt.min, fmt.max + 1, channels) if self.chance(0.5) else None

    def fits_accumulator(self, bounds: tuple[np.ndarray, np.ndarray]) -> bool:
        """Return whether bounds fit the signed accumulators that are allowed."""
        low, high = bounds
        return bool(max(high.max(), -low.min()) < 1 << (self.limits.acc_width - 1))

    def finish(self, op: Operation, second_only: bool = False) -> Operation | None:
        """Give an operation post-processing that fits what it computes on the images."""
        operands = operand_types(op, self.types)
        try:
            value = op.infer(*operands)
        except ValueError:
            return None
        counts = op.counts(value, *operands)
        if counts.weights and counts.terms > self.limits.work:
            return None
        shape = value.shape
        if np.prod(shape) * len(self.values["image"]) < 80:
            return None
        acc = op.compute(tuple(self.values[name] for name in op.operands), operands)
        for _ in range(4):
            choice = self.choice(op, shape, second_only, counts.terms > 0)
            post = fit_post(self.rng, acc, choice, self.values)
            done = op.with_post(post)
            graph = replace(self.so_far(), ops=(*self.ops, done), output=op.name)
            made = run_layers(graph, self.values["image"])[op.name]
            distinct = len(np.unique(made))
            if (
                distinct >= wanted_distinct(post.format)
                and saturated_share(post, acc, self.values) < 0.2
            ):
                return done
        return None

    def choice(
        self, op: Operation, shape: tuple, second_only: bool, sums: bool
    ) -> PostChoice:
        """Draw what post-processing consists of."""
        lim = self.limits
        terms = self.pick(1, lim.terms)
        if lim.logits and sums and self.chance(0.12):
            return PostChoice(fmt=Format(self.pick(20, 32), True), terms=terms)
        first = op.operands[0]
        like = [n for n, x in self.types.items() if x.shape == shape and n != first]
        like += [first] * (self.types[first].shape == shape)
        second = lim.second and self.chance(0.3)
        names: list[str | None] = [None, None]
        if lim.residual and like and self.chance(0.7):
            in_second = second and (second_only or self.chance(0.5))
            if in_second or not second_only:
                names[in_second] = str(self.rng.choice(like))
        fmt = draw_format(self.rng, _NARROW)
        table = lim.tables and self.chance(0.25)
        if lim.wide and (second or not table) and self.chance(0.1):
            fmt = Format(self.pick(9, 16), True)
        return PostChoice(fmt=fmt, terms=terms, table=table, second=second,
                          residual=names[0], residual2=names[1])  # fmt: skip


_NARROW = (2, 3, 4, 5, 6, 7, 8)

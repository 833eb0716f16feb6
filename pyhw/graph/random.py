"""Random small networks that exercise everything the contract allows, with images that show it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from .execute import accumulators, run_layers
from .infer import formats, output_shape, partial_bounds, shapes
from .masked import expand
from .ops import Concat, Conv, Graph, Input, Op, Permute, Pointwise, Pool
from .post import Post, Step
from .random_limits import Limits
from .random_post import PostChoice, draw_format, fit_post
from .statistics import saturated_share, wanted_distinct
from .verify import verify

__all__ = ["Limits", "random_graph"]


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
        drawn = _Draw(rng, limits or Limits(), f"random{seed}").graph()
        if drawn is not None:
            return verify(drawn[0]), drawn[1]


class _Draw:
    """One network in the making: operations so far, and their values on the images."""

    def __init__(self, rng: np.random.Generator, limits: Limits, name: str) -> None:
        self.rng, self.limits, self.name = rng, limits, name
        side = limits.max_side
        shape = (self.pick(1, side), self.pick(1, side), self.channels())
        self.ops: list[Op] = [Input(name="image", shape=shape, fmt=draw_format(rng, _NARROW))]

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
        fmt, shape = self.ops[0].fmt, self.ops[0].shape  # type: ignore[union-attr]
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
            if formats(self.so_far())[op.name].width > 16:
                break
        return self.so_far(), images

    def so_far(self) -> Graph:
        """Return the graph up to the last operation."""
        return Graph(self.name, tuple(self.ops), self.ops[-1].name, {"origin": "random_graph"})

    def operation(self, name: str) -> Op | None:
        """Draw one operation; None if it would break a limit or show too little."""
        lim, last = self.limits, self.ops[-1].name
        self.shapes, self.formats = shapes(self.so_far()), formats(self.so_far())
        if self.formats[last].width > 8:
            return self.finish(Pointwise(name=name, input=last, post=_DUMMY), second_only=True)
        kinds: list[tuple[float, Callable[[str, str], Op | None]]] = [
            (0.6, self.conv),
            (0.14 * lim.pools, self.pool),
            (0.1 * lim.pointwise, self.pointwise),
            (0.2 * lim.concat, self.concat),
            (0.06 * lim.permute, self.permute),
        ]
        weights = np.array([weight for weight, _ in kinds])
        draw = kinds[self.rng.choice(len(kinds), p=weights / weights.sum())][1]
        op = draw(name, last)
        if not isinstance(op, (Conv, Pool, Pointwise)):
            return op
        return self.finish(op)

    def concat(self, name: str, last: str) -> Op | None:
        """Join the last value with an earlier one, in either order."""
        like = [
            op.name for op in self.ops[:-1]
            if self.shapes[op.name][:2] == self.shapes[last][:2]
            and self.formats[op.name] == self.formats[last]
            and self.shapes[op.name][2] + self.shapes[last][2] <= self.limits.max_channels
        ]  # fmt: skip
        if not like:
            return None
        both = [last, str(self.rng.choice(like))]
        return Concat(name=name, inputs=tuple(both if self.chance(0.5) else both[::-1]))

    def permute(self, name: str, last: str) -> Op | None:
        """Shuffle positions."""
        height, width, _ = self.shapes[last]
        return Permute(name=name, input=last, index=self.rng.permutation(height * width))

    def pointwise(self, name: str, last: str) -> Op | None:
        """Post-process alone."""
        return Pointwise(name=name, input=last, post=_DUMMY)

    def pool(self, name: str, last: str) -> Op | None:
        """Draw a pooling."""
        height, width, channels = self.shapes[last]
        whole = self.chance(0.2)
        kernel = (height, width) if whole else (self.pick(1, 3), self.pick(1, 3))
        padding = self.padding(0.0 if whole else 0.4, 1)
        kind = "sum" if self.chance(0.5) else "max"
        pad_value = self.pad_value(last, channels) if kind == "sum" else None
        return Pool(name=name, input=last, kind=kind, kernel=kernel, padding=padding,
                    stride=(self.pick(1, 3), self.pick(1, 3)), pad_value=pad_value,
                    post=_DUMMY)  # fmt: skip

    def padding(self, share: float, most: int) -> tuple[int, int, int, int]:
        """Draw padding, each side of its own size, in a share of the calls."""
        if not self.chance(share):
            return 0, 0, 0, 0
        return tuple(int(v) for v in self.rng.integers(0, most + 1, 4))  # type: ignore[return-value]

    def pad_value(self, read: str, channels: int) -> np.ndarray | None:
        """Draw pad values in the format of the input, or none."""
        fmt = self.formats[read]
        return self.rng.integers(fmt.min, fmt.max + 1, channels) if self.chance(0.5) else None

    def conv(self, name: str, last: str) -> Op | None:
        """Draw a convolution: whole-map, of unchanged size, or of any kind."""
        rng, lim = self.rng, self.limits
        height, width, channels = self.shapes[last]
        style = rng.choice(["whole", "same", "any"], p=[0.15, 0.35, 0.5])
        dilation = (self.pick(1, 3), self.pick(1, 3)) if lim.dilation and self.chance(0.25) else (
            1, 1)  # fmt: skip
        stride, padding = (1, 1), (0, 0, 0, 0)
        kernel = (self.pick(1, 5), self.pick(1, 5))
        out = self.channels()
        if style == "whole":
            kernel, dilation = (height, width), (1, 1)
        elif style == "same":
            kernel = (2 * self.pick(0, 2) + 1, 2 * self.pick(0, 2) + 1)
            sides = [d * (k // 2) for k, d in zip(kernel, dilation)]
            padding = (sides[0], sides[1], sides[0], sides[1])
            out = self.shapes[str(rng.choice([op.name for op in self.ops]))][2]
        else:
            stride, padding = (self.pick(1, 3), self.pick(1, 3)), self.padding(0.6, 2)
        groups = 1
        if lim.groups and self.chance(0.2):
            groups = channels if self.chance(0.5) else int(rng.choice(_divisors(channels)))
            out = groups * max(1, min(out, lim.max_channels) // groups)
        shape = (out, *kernel, channels // groups)
        fields: dict[str, Any] = {
            "name": name, "input": last, "post": _DUMMY, "stride": stride, "padding": padding,
            "dilation": dilation, "groups": groups, "pad_value": self.pad_value(last, channels),
        }  # fmt: skip
        if rng.choice(lim.engines) == "l1":
            return Conv(term="l1", **fields, **self.l1_weights(shape, self.formats[last]))
        return self.shift_conv(shape, fields)

    def l1_weights(self, shape: tuple[int, ...], fmt: Format) -> dict[str, Any]:
        """Laplacian weights, mostly in the range of the activations."""
        ex = self.pick(0, 8 - fmt.width)
        limit = Format(self.limits.l1_code_width, fmt.signed)
        ew = self.pick(0, 3) if self.chance(0.3) else 0
        reach = (fmt.max << ex) / (1 << ew)
        middle = 0.0 if fmt.signed else reach * self.rng.uniform(0, 0.5)
        drawn = np.rint(self.rng.laplace(middle, max(0.5, reach / 4), shape))
        top = Format(8, fmt.signed)
        low, high = max(limit.min, top.min >> ew), min(limit.max, top.max >> ew)
        return {"weight": drawn.clip(low, high).astype(np.int16), "ex": ex, "ew": ew}

    def shift_conv(self, shape: tuple[int, ...], fields: dict[str, Any]) -> Op | None:
        """Shift weights of 1 to 5 digits whose partial sums fit the accumulator."""
        rng, fmt = self.rng, self.formats[fields["input"]]
        if self.limits.masked and self.chance(0.5):
            return self.masked_conv(shape, fields)
        digits = self.pick(1, 5)
        width = int(rng.choice(self.limits.code_widths))
        sign = rng.choice([-1, 0, 1], (digits, *shape), p=[0.4, 0.2, 0.4])
        for most in range((1 << (width - 1)) - 2, -1, -1):
            exponent = rng.integers(0, most + 1, sign.shape)
            op = Conv(term="shift", sign=sign, exponent=exponent, code_width=width, **fields)
            low, high = partial_bounds(op, fmt, 0)
            if max(high.max(), -low.min()) < 1 << (self.limits.acc_width - 1):
                return op
        return None

    def masked_conv(self, shape: tuple[int, ...], fields: dict[str, Any]) -> Op | None:
        """Draw a prototype, shorter than the layer or as long or longer, and a mask."""
        rng, fmt = self.rng, self.formats[fields["input"]]
        width = int(rng.choice(self.limits.code_widths))
        if self.chance(0.8):
            fields = fields | {"pad_value": None}  # weights with pad values are not expanded
        code, count = ShiftCode(width), int(np.prod(shape))
        size = count + self.pick(0, 20) if self.chance(0.2) else self.pick(1, min(count, 80))
        kept = rng.random(shape) < rng.uniform(0.3, 0.9)
        negative = rng.integers(0, 2, size) << (width - 1)
        for most in range(code.max_exponent, -1, -1):
            prototype = negative | rng.integers(0, most + 1, size)
            sign, exponent = expand(prototype, width, shape)  # type: ignore[arg-type]
            op = Conv(term="shift", sign=(sign * kept)[None], exponent=(exponent * kept)[None],
                      code_width=width, prototype=prototype, **fields)  # fmt: skip
            low, high = partial_bounds(op, fmt, 0)
            if max(high.max(), -low.min()) < 1 << (self.limits.acc_width - 1):
                return op
        return None

    def finish(self, op: Conv | Pool | Pointwise, second_only: bool = False) -> Op | None:
        """Give an operation post-processing that fits what it computes on the images."""
        lim, fmt = self.limits, self.formats[op.input]
        try:
            shape = output_shape(op, self.shapes)
        except ValueError:
            return None
        if isinstance(op, Conv):
            taps = int(np.prod(op.weight_shape[1:])) * op.digits
            if taps * np.prod(shape) > lim.work:
                return None
            if op.term == "l1" and taps * 255 >> lim.acc_width:
                return None
        if np.prod(shape) * len(self.values["image"]) < 80:
            return None
        acc = accumulators(op, self.values[op.input], fmt)
        for _ in range(4):
            choice = self.choice(op, shape, second_only)
            post = fit_post(self.rng, acc, choice, self.values)
            done = replace(op, post=post)
            graph = replace(self.so_far(), ops=(*self.ops, done), output=op.name)
            made = run_layers(graph, self.values["image"])[op.name]
            distinct = len(np.unique(made))
            if (
                distinct >= wanted_distinct(post.format)
                and saturated_share(post, acc, self.values) < 0.2
            ):
                return done
        return None

    def choice(self, op: Op, shape: tuple, second_only: bool) -> PostChoice:
        """Draw what post-processing consists of."""
        lim = self.limits
        terms = self.pick(1, lim.terms)
        if lim.logits and isinstance(op, (Conv, Pool)) and self.chance(0.12):
            return PostChoice(fmt=Format(self.pick(20, 32), True), terms=terms)
        like = [n for n, s in self.shapes.items() if s == shape and n != op.inputs[0]]
        like += [op.inputs[0]] * (self.shapes[op.inputs[0]] == shape)
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
_DUMMY = Post(Step([[0]], [[0]], [0], [0], Format(8)))  # type: ignore[arg-type]


def _divisors(value: int) -> list[int]:
    return [d for d in range(1, value + 1) if value % d == 0]

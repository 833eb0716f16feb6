"""Convolutions, linear layers among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..post import DUMMY, Post
from ..records import frozen_array, int_tuple
from ..rules import MAX_KERNEL, MAX_SIDE, require
from ..terms import TERMS, Term, term_of
from ..windows import pad_map, torch_windows, window_buffers
from .base import STORED, Counts, MapType, operation
from .processed import Windowed, check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["Conv"]


@operation("conv")
@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Windowed):
    """A convolution of any term; a linear layer is one whose kernel covers the map.

    ``acc[o] = sum over taps and input channels of the group (and digits) of term(x, w)``.

    Parameters
    ----------
    name, input : str
    term : str
        What is summed, one of `pyhw.graph.terms.TERMS`: ``'l1'`` is
        ``-|(x << ex) - (w << ew)|``, ``'shift'`` is ``sign * (x << exponent)`` summed over K
        digits.
    post : Post
    weight : int16 array (O, KH, KW, C / groups)
        Weights as integers, in the sense that the term gives them; l1: w, before its shift by
        `ew`.
    sign, exponent : int8 array (K, O, KH, KW, C / groups)
        Weights as K signed powers of two that together are one; shift only.
    code_width : int
        Bits of a stored digit; shift: 3, 4 or 5, which bound the exponents
        (`pyhw.hdl.formats.ShiftCode`).
    stride, dilation : (int, int)
        Vertical, horizontal.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    groups : int
        Input and output channels fall into this many independent groups.
    pad_value : int16 array (C,), optional
        What padded taps read, per input channel, in the input's format (before `ex`); 0 if None.
    ex, ew : int
        Left shifts of the L1 operands, 0..7; 0 for other terms.
    prototype : int8 array (d,), optional, shift of one digit only
        Codes (`pyhw.hdl.formats.ShiftCode`): weight i in the order (o, c, ky, kx) is that of entry
        ``i % d`` or 0. It says how the weights can be stored; no result depends on it.
    """

    name: str
    input: str
    term: str
    post: Post
    weight: np.ndarray | None = None
    sign: np.ndarray | None = None
    exponent: np.ndarray | None = None
    code_width: int | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pad_value: np.ndarray | None = None
    ex: int = 0
    ew: int = 0
    # Files hold a convolution with a prototype in another form (`masked_conv`).
    prototype: np.ndarray | None = field(default=None, metadata={"stored": False})

    def __post_init__(self) -> None:
        term_of(self.term).check_fields(self)
        self._set("stride", int_tuple("Conv", "stride", self.stride, 2))
        self._set("padding", int_tuple("Conv", "padding", self.padding, 4))
        self._set("dilation", int_tuple("Conv", "dilation", self.dilation, 2))
        if self.pad_value is not None:
            self._set("pad_value", frozen_array("Conv", "pad_value", self.pad_value, np.int16, 1))
        if self.prototype is not None:
            if self.digits != 1 or self.sign is None:
                raise ValueError("Conv with a prototype must have shift terms of one digit")
            self._set("prototype", frozen_array("Conv", "prototype", self.prototype, np.int8, 1))

    @property
    def terms(self) -> Term:
        """The term's module."""
        return term_of(self.term)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, KH, KW, C / groups)."""
        shape = self.weight.shape if self.weight is not None else self.sign.shape[1:]  # type: ignore[union-attr]
        return shape

    @property
    def kernel(self) -> tuple[int, int]:  # type: ignore[override]
        """(KH, KW)."""
        return self.weight_shape[1:3]

    @property
    def out_channels(self) -> int:
        """O."""
        return self.weight_shape[0]

    @property
    def digits(self) -> int:
        """Terms per weight: K for shift, 1 for weights as integers."""
        return 1 if self.sign is None else int(self.sign.shape[0])

    @property
    def depthwise(self) -> bool:
        """Whether every channel has a kernel of its own and no other."""
        return self.groups > 1 and self.groups == self.out_channels and self.weight_shape[3] == 1

    @property
    def weight_values(self) -> np.ndarray:
        """Weights as int64 (O, KH, KW, C / groups): ``w << ew``, or the sum of the digits."""
        if self.weight is not None:
            return self.weight.astype(np.int64) << self.ew
        assert self.sign is not None
        assert self.exponent is not None
        return (self.sign.astype(np.int64) << self.exponent.astype(np.int64)).sum(axis=0)

    def stored(self) -> Any:
        """Return a masked convolution as mask and prototype, any other as it is."""
        if self.prototype is None:
            return self
        return STORED["masked_conv"].of(self)  # type: ignore[attr-defined]

    def infer(self, *operands: MapType) -> MapType:
        """Return one position a window, and the output channels."""
        height, width = self.positions(operands[0].shape)
        return self.stores(height, width, self.out_channels)

    def check_fields(self, *operands: MapType) -> None:
        """Check window, channels and groups."""
        super().check_fields(*operands)
        channels, out = operands[0].channels, self.out_channels
        require(
            self,
            all(1 <= v <= MAX_KERNEL for v in self.dilation),
            f"dilation must be from 1 to {MAX_KERNEL}, not {self.dilation}",
        )
        require(
            self,
            1 <= out <= MAX_SIDE and 1 <= self.digits <= MAX_KERNEL,
            f"weights must have 1 to {MAX_SIDE} output channels and 1 to {MAX_KERNEL} digits",
        )
        require(
            self,
            self.groups >= 1 and channels % self.groups == 0 and out % self.groups == 0,
            f"groups must divide {channels} input and {out} output channels, not {self.groups}",
        )
        require(
            self,
            self.weight_shape[3] * self.groups == channels,
            f"weights must take {channels // self.groups} input channels per group, "
            f"not {self.weight_shape[3]}",
        )

    def per_token(self, *operands: MapType) -> bool:
        """Return whether the kernel is a point."""
        return self.kernel == (1, 1) == self.stride and not any(self.padding)

    def check_operands(self, *operands: MapType) -> None:
        """Check the format, the term's rules and the pad values."""
        check_narrow(self, operands[0])
        self.terms.check(self, operands[0].fmt)
        self.check_pad_values(operands[0])

    def acc_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the term's bounds."""
        return self.terms.bounds(self, operands[0].fmt)

    def partial_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the term's bounds of partial sums."""
        return self.terms.partial_bounds(self, operands[0].fmt)

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Sum terms over windows."""
        return self.terms.accumulate(self, pad_map(self, values[0], operands[0].fmt))

    def compute_with(
        self, kernels: "Kernels", values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]
    ) -> np.ndarray:
        """Sum terms over windows, as the term can."""
        return self.terms.accumulate_with(kernels, self, values[0], operands[0].fmt)

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return which position every tap reads, and the term's arrays."""
        return window_buffers(self, operands[0]) | self.terms.torch_buffers(self)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Gather windows by group and sum terms."""
        windows, rows, columns = torch_windows(self, tensors[0], buffers)
        # (N, P, T, C) to (N, P, G, T * C / G)
        grouped = windows.unflatten(3, (self.groups, -1)).transpose(2, 3).flatten(3, 4)
        sums = self.terms.torch_sums(self, grouped, buffers)
        return sums.reshape(sums.shape[0], rows, columns, self.out_channels)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Gather windows by group and sum terms."""
        taps, positions, count = builder.windows(self, operands[0])
        in_group = self.weight_shape[3]
        parts = builder.reshape(taps, positions, count, self.groups, in_group)
        parts = builder.node("Transpose", [parts], perm=[0, 1, 3, 2, 4])
        x = builder.reshape(parts, positions, self.groups, 1, count * in_group)
        sums = self.terms.onnx_sums(builder, self, x, positions)
        return builder.reshape(sums, *builder.types[self.name].shape)

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """Most operations."""
        return 0.6

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Conv | None":
        """Draw a convolution: whole-map, of unchanged size, or of any kind."""
        rng, lim = draw.rng, draw.limits
        height, width, channels = draw.types[last].shape
        style = rng.choice(["whole", "same", "any"], p=[0.15, 0.35, 0.5])
        dilation = (draw.pick(1, 3), draw.pick(1, 3)) if lim.dilation and draw.chance(0.25) else (
            1, 1)  # fmt: skip
        stride, padding = (1, 1), (0, 0, 0, 0)
        kernel = (draw.pick(1, 5), draw.pick(1, 5))
        out = draw.channels()
        if style == "whole":
            kernel, dilation = (height, width), (1, 1)
        elif style == "same":
            kernel = (2 * draw.pick(0, 2) + 1, 2 * draw.pick(0, 2) + 1)
            sides = [d * (k // 2) for k, d in zip(kernel, dilation)]
            padding = (sides[0], sides[1], sides[0], sides[1])
            out = draw.types[str(rng.choice([op.name for op in draw.ops]))].channels
        else:
            stride, padding = (draw.pick(1, 3), draw.pick(1, 3)), draw.padding(0.6, 2)
        groups = 1
        if lim.groups and draw.chance(0.2):
            divisors = [d for d in range(1, channels + 1) if channels % d == 0]
            groups = channels if draw.chance(0.5) else int(rng.choice(divisors))
            out = groups * max(1, min(out, lim.max_channels) // groups)
        fields: dict[str, Any] = {
            "name": name, "input": last, "post": DUMMY, "stride": stride, "padding": padding,
            "dilation": dilation, "groups": groups, "pad_value": draw.pad_value(last, channels),
        }  # fmt: skip
        term = TERMS[str(rng.choice(lim.engines))]
        make = partial(cls, term=term.name, **fields)
        return term.draw(draw, (out, *kernel, channels // groups), draw.types[last].fmt, make)

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return the term's."""
        return self.terms.counts(self, value.shape[0] * value.shape[1])

    def describe(self, *operands: MapType) -> str:
        """Return term, window and groups."""
        linear = (self.kernel == operands[0].shape[:2] and not any(self.padding)
                  and self.groups == 1)  # fmt: skip
        parts = ["linear" if linear else "conv", *self.terms.describe(self)]
        parts += self.describe_windows()
        if self.dilation != (1, 1):
            parts.append(f"dilation {self.dilation[0]},{self.dilation[1]}")
        if self.groups > 1:
            parts.append(f"groups {self.groups}")
        return " ".join(parts)

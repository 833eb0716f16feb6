"""Sums and maxima over windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

from ..post import DUMMY, Post
from ..records import frozen_array, int_tuple
from ..rules import require
from ..windows import extent, pad_map, tap, torch_windows, window_buffers
from .base import Counts, MapType, operation
from .processed import Windowed, check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["Pool"]


@operation("pool")
@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Windowed):
    """Sum or maximum over windows, per channel; the divisor of an average stands in m.

    Parameters
    ----------
    name, input : str
    kind : {'sum', 'max'}
    kernel, stride : (int, int)
        Vertical, horizontal.
    post : Post
    padding : (int, int, int, int)
        Top, left, bottom, right.
    pad_value : int16 array (C,), optional
        What padded taps of a sum read; 0 if None. A maximum leaves padded taps out (None).
    count_include_pad : bool
        Whether an average's divisor counts padded taps; must be true where there is padding.
    """

    name: str
    input: str
    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    post: Post
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: np.ndarray | None = None
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("sum", "max"):
            raise ValueError(f"Pool.kind must be 'sum' or 'max', not {self.kind!r}")
        self._set("kernel", int_tuple("Pool", "kernel", self.kernel, 2))
        self._set("stride", int_tuple("Pool", "stride", self.stride, 2))
        self._set("padding", int_tuple("Pool", "padding", self.padding, 4))
        if self.pad_value is not None:
            self._set("pad_value", frozen_array("Pool", "pad_value", self.pad_value, np.int16, 1))

    @property
    def taps(self) -> int:
        """Values of a channel that a position reads."""
        return self.kernel[0] * self.kernel[1]

    def border_values(self, channels: int, fmt: Format) -> np.ndarray:
        """Return what padded taps read: the format's minimum for a maximum, so that it loses."""
        if self.kind == "max":
            return np.full(channels, fmt.min, np.int64)
        return super().border_values(channels, fmt)

    def infer(self, *operands: MapType) -> MapType:
        """Return one position a window, and the operand's channels."""
        height, width = self.positions(operands[0].shape)
        return self.stores(height, width, operands[0].channels)

    def check_fields(self, *operands: MapType) -> None:
        """Check the window, and that an average has one divisor."""
        super().check_fields(*operands)
        require(
            self,
            self.count_include_pad or not any(self.padding) or self.kind == "max",
            "an average over padding must count the padded taps: a divisor that changes at "
            "the border is not supported; pad the map before it, or use count_include_pad",
        )

    def check_operands(self, *operands: MapType) -> None:
        """Check the format and the pad values."""
        check_narrow(self, operands[0])
        require(self, self.pad_value is None or self.kind == "sum",
                "a maximum takes no pad values")  # fmt: skip
        self.check_pad_values(operands[0])

    def acc_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the format, times the taps of a sum."""
        fmt, channels = operands[0].fmt, operands[0].channels
        taps = self.taps if self.kind == "sum" else 1
        return np.full(channels, taps * fmt.min), np.full(channels, taps * fmt.max)

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return the sum or the maximum over each window, per channel."""
        padded = pad_map(self, values[0], operands[0].fmt)
        size = extent(self, padded)
        join = np.add if self.kind == "sum" else np.maximum
        acc = tap(self, padded, 0, 0, size).astype(np.int64)
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                if ky or kx:
                    join(acc, tap(self, padded, ky, kx, size), out=acc)
        return acc

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return which position every tap reads."""
        return window_buffers(self, operands[0])

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Gather windows and reduce them."""
        windows, rows, columns = torch_windows(self, tensors[0], buffers)  # (N, P, T, C)
        made = windows.amax(2) if self.kind == "max" else windows.sum(2)
        return made.unflatten(1, (rows, columns))

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Gather windows and reduce them."""
        taps, positions, count = builder.windows(self, operands[0])
        parts = builder.reshape(taps, positions, count, builder.types[self.input].channels)
        if self.kind == "max":
            made = builder.node("ReduceMax", [parts], axes=[2], keepdims=0)
        else:
            made = builder.node("ReduceSum", [parts, builder.constant([2])], keepdims=0)
        return builder.reshape(made, *builder.types[self.name].shape)

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """Some, where allowed."""
        return 0.14 * limits.pools

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Pool":
        """Draw a pooling, a fifth of them over the whole map."""
        height, width, channels = draw.types[last].shape
        whole = draw.chance(0.2)
        kernel = (height, width) if whole else (draw.pick(1, 3), draw.pick(1, 3))
        padding = draw.padding(0.0 if whole else 0.4, 1)
        kind = "sum" if draw.chance(0.5) else "max"
        pad_value = draw.pad_value(last, channels) if kind == "sum" else None
        return cls(name=name, input=last, kind=kind, kernel=kernel, padding=padding,
                   stride=(draw.pick(1, 3), draw.pick(1, 3)), pad_value=pad_value,
                   post=DUMMY)  # fmt: skip

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return a term a tap; comparisons are no additions."""
        height, width, channels = value.shape
        terms = height * width * channels * self.taps
        return Counts(terms=terms, kind="pool", additions=terms * (self.kind == "sum"))

    def describe(self, *operands: MapType) -> str:
        """Return kind and window."""
        return " ".join(["pool", self.kind, *self.describe_windows()])

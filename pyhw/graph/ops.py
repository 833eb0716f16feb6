"""The operations of the integer graph, as immutable records.

A value is a map of shape (H, W, C) per image, integers in a `Format`. A record says what is
computed, not how: `pyhw.graph.execute` gives the meaning, `pyhw.graph.verify` the rules.
Source of the arithmetic: ``docs/numerics.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyhw.hdl.formats import Format

from .post import Post, Step, freeze_terms
from .records import Record, frozen_array, int_tuple

__all__ = [
    "Concat", "Conv", "Graph", "Input", "Op", "Permute", "Pointwise", "Pool", "Post", "Step",
]  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Record):
    """The images: a map of `shape` (H, W, C) in format `fmt`; the first operation of a graph."""

    name: str
    shape: tuple[int, int, int]
    fmt: Format

    def __post_init__(self) -> None:
        self._set("shape", int_tuple("Input", "shape", self.shape, 3))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: none."""
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Record):
    """A convolution with L1 or shift terms; a linear layer is one whose kernel covers the map.

    ``acc[o] = sum over taps and input channels of the group (and digits) of term(x, w)``.

    Parameters
    ----------
    name, input : str
    term : {'l1', 'shift'}
        ``-|(x << ex) - (w << ew)|``, or ``sign * (x << exponent)`` summed over K digits.
    post : Post
    weight : int16 array (O, KH, KW, C / groups), l1 only
        w, before its shift by `ew`.
    sign, exponent : int8 array (K, O, KH, KW, C / groups), shift only
        K signed powers of two that together are one weight.
    code_width : {3, 4, 5}, shift only
        Bits of a stored digit, which bound the exponents (`pyhw.hdl.formats.ShiftCode`).
    stride, dilation : (int, int)
        Vertical, horizontal.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    groups : int
        Input and output channels fall into this many independent groups.
    pad_value : int16 array (C,), optional
        What padded taps read, per input channel, in the input's format (before `ex`); 0 if None.
    ex, ew : int
        Left shifts of the L1 operands, 0..7; 0 for shift terms.
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
    prototype: np.ndarray | None = None

    def __post_init__(self) -> None:
        shift_fields = (self.sign, self.exponent, self.code_width)
        if self.term == "l1":
            if self.weight is None or any(v is not None for v in shift_fields):
                raise ValueError("Conv with term 'l1' must have weight and no shift fields")
            self._set("weight", frozen_array("Conv", "weight", self.weight, np.int16, 4))
        elif self.term == "shift":
            if self.weight is not None or any(v is None for v in shift_fields):
                raise ValueError(
                    "Conv with term 'shift' must have sign, exponent and code_width and no weight"
                )
            freeze_terms(self, "Conv", "sign", "exponent", 5)
        else:
            raise ValueError(f"Conv.term must be 'l1' or 'shift', not {self.term!r}")
        self._set("stride", int_tuple("Conv", "stride", self.stride, 2))
        self._set("padding", int_tuple("Conv", "padding", self.padding, 4))
        self._set("dilation", int_tuple("Conv", "dilation", self.dilation, 2))
        if self.pad_value is not None:
            self._set("pad_value", frozen_array("Conv", "pad_value", self.pad_value, np.int16, 1))
        if self.prototype is not None:
            if self.digits != 1 or self.term != "shift":
                raise ValueError("Conv with a prototype must have shift terms of one digit")
            self._set("prototype", frozen_array("Conv", "prototype", self.prototype, np.int8, 1))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input, then residuals."""
        return (self.input, *self.post.residuals)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, KH, KW, C / groups)."""
        shape = self.weight.shape if self.weight is not None else self.sign.shape[1:]  # type: ignore[union-attr]
        return shape

    @property
    def kernel(self) -> tuple[int, int]:
        """(KH, KW)."""
        return self.weight_shape[1:3]

    @property
    def out_channels(self) -> int:
        """O."""
        return self.weight_shape[0]

    @property
    def digits(self) -> int:
        """Terms per weight: K for shift, 1 for l1."""
        return 1 if self.sign is None else int(self.sign.shape[0])

    @property
    def weight_values(self) -> np.ndarray:
        """Weights as int64 (O, KH, KW, C / groups): ``w << ew``, or the sum of the digits."""
        if self.weight is not None:
            return self.weight.astype(np.int64) << self.ew
        assert self.sign is not None
        assert self.exponent is not None
        return (self.sign.astype(np.int64) << self.exponent.astype(np.int64)).sum(axis=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Record):
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
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input, then residuals."""
        return (self.input, *self.post.residuals)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Record):
    """Post-processing alone: the accumulator is the stored value of `input`."""

    name: str
    input: str
    post: Post

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input, then residuals."""
        return (self.input, *self.post.residuals)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Record):
    """The channels of several values of one height, width and format, in order."""

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        names: object = self.inputs
        if isinstance(names, str):
            raise TypeError(f"Concat.inputs must be a sequence of names, not {names!r}")
        self._set("inputs", tuple(self.inputs))


@dataclass(frozen=True, eq=False, kw_only=True)
class Permute(Record):
    """A permutation of positions: output position p is input position ``index[p]``.

    Positions count row by row; `index` is an int32 array (H * W,).
    """

    name: str
    input: str
    index: np.ndarray

    def __post_init__(self) -> None:
        self._set("index", frozen_array("Permute", "index", self.index, np.int32, 1))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input."""
        return (self.input,)


Op = Input | Conv | Pool | Pointwise | Concat | Permute


@dataclass(frozen=True, eq=False)
class Graph(Record):
    """A network: operations in an order in which each reads only earlier ones.

    Parameters
    ----------
    name : str
    ops : tuple of Op
        The `Input` first. A value has the name of the operation that makes it.
    output : str
        Name of the value that is the result.
    meta : dict
        Anything that JSON can hold, for people and reports (scales, accuracy, origin, class
        names); no result depends on it.
    """

    name: str
    ops: tuple[Op, ...]
    output: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._set("ops", tuple(self.ops))

    @property
    def input(self) -> Input:
        """The images' operation."""
        if not self.ops or not isinstance(self.ops[0], Input):
            raise ValueError(f"Graph {self.name!r} must begin with an Input")
        return self.ops[0]

    def op(self, name: str) -> Op:
        """Return the operation of a name; `KeyError` if there is none."""
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)

"""The contract of a term: what a convolution sums over its windows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.hdl.registry import Registry

from ..windows import pad_map
from .pairs import PairTerm

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..ops.base import Counts
    from ..ops.conv import Conv
    from ..random import Draw

__all__ = ["TERMS", "Bounds", "Term", "coded_term", "distance_term",
           "masked_term", "term", "term_of"]

Bounds = tuple[np.ndarray, np.ndarray]
"""Least and greatest, int64 (O,)."""


class Term(ABC):
    """What a convolution sums: ``acc[o] = sum over taps and channels of term(x, w)``.

    Weights stand in `Conv.weight`, integers in whatever sense the term gives them, or in
    `Conv.sign` and `Conv.exponent`, signed powers of two. One object serves all convolutions.
    """

    name: str
    title = ""
    """For people; the name by default."""
    pairs: PairTerm | None = None
    """What it makes of two maps, if `MatMul` may have it."""
    masked = False
    """Whether a mask and a prototype of codes can store its weights; then there is `expand`."""

    @abstractmethod
    def check_fields(self, conv: "Conv") -> None:
        """Refuse a record whose fields are not this term's; `ValueError`."""

    @abstractmethod
    def check(self, conv: "Conv", fmt: Format) -> None:
        """Check the weights' rules for inputs of a format, with `pyhw.graph.rules.require`."""

    @abstractmethod
    def bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return the least and the greatest accumulator (`Operation.acc_bounds`)."""

    def partial_bounds(self, conv: "Conv", fmt: Format) -> Bounds:
        """Return bounds of every partial sum from 0 (`Operation.partial_bounds`)."""
        low, high = self.bounds(conv, fmt)
        return np.minimum(low, 0), np.maximum(high, 0)

    @abstractmethod
    def accumulate(self, conv: "Conv", padded: np.ndarray) -> np.ndarray:
        """Return the sums over windows: the golden meaning of the term.

        Parameters
        ----------
        conv : Conv
        padded : integer array (N, H, W, C)
            The map with its border filled in.

        Returns
        -------
        int64 array (N, H', W', O)
        """

    def accumulate_with(
        self, kernels: "Kernels", conv: "Conv", x: np.ndarray, fmt: Format
    ) -> np.ndarray:
        """Return what `accumulate` does of a map (N, H, W, C), by a compiled kernel if it can."""
        return self.accumulate(conv, pad_map(conv, x, fmt))

    @abstractmethod
    def torch_buffers(self, conv: "Conv") -> dict[str, np.ndarray]:
        """Return integer arrays for `torch_sums`, by name (not ``index`` and ``pad``)."""

    @abstractmethod
    def torch_sums(
        self, conv: "Conv", windows: "Tensor", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Return the sums of int64 windows (N, P, G, K), K taps of a group: (N, P, G, O / G)."""

    @abstractmethod
    def onnx_sums(self, builder: "OnnxBuilder", conv: "Conv", windows: str, positions: int) -> str:
        """Add nodes for the sums of int64 windows (N, P, G, 1, K); return int64 (N, P, G, O/G)."""

    @abstractmethod
    def draw(
        self, draw: "Draw", shape: tuple[int, ...], fmt: Format, make: "Callable[..., Conv]"
    ) -> "Conv | None":
        """Draw a convolution of random weights of a shape (O, KH, KW, C / groups).

        `make` takes the fields that hold weights, and has all others; `fmt` is the format of the
        input. None if the draw fits no accumulator.
        """

    @abstractmethod
    def counts(self, conv: "Conv", positions: int) -> "Counts":
        """Return what it does for one image and what its weights take."""

    def describe(self, conv: "Conv") -> list[str]:
        """Return what its weights are, for people."""
        return [self.name]

    def expand(
        self, prototype: np.ndarray, code_width: int, shape: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sign and exponent of all weights of a prototype, as if no mask left one out."""
        raise NotImplementedError


TERMS: Registry[str, Term] = Registry("Term name")
"""Terms by name."""


def term(cls: type[Term]) -> type[Term]:
    """Register a class of a term under its name.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    TERMS.add(cls.name, cls())
    return cls


def term_of(name: str) -> Term:
    """Return a term by name.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = TERMS.get(name)
    if found is None:
        known = " or ".join(map(repr, TERMS))
        raise ValueError(f"Conv.term must be {known}, not {name!r}")
    return found


def masked_term() -> Term:
    """Return the term whose weights a mask and a prototype can store."""
    return next(known for known in TERMS.values() if known.masked)


def coded_term() -> str:
    """Return the name of the term of two maps that writes one as signed digits."""
    return _pair_term(True)


def distance_term() -> str:
    """Return the name of the term of two maps that compares them as they are."""
    return _pair_term(False)


def _pair_term(coded: bool) -> str:
    return next(name for name, known in TERMS.items()
                if known.pairs is not None and known.pairs.coded == coded)  # fmt: skip

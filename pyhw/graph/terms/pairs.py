"""What a term makes of two maps: the meaning of `MatMul`, beside that of weights."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.formats import Format

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder
    from ..ops.base import Counts
    from ..ops.matmul import MatMul, Sizes

__all__ = ["PairTerm"]

Range = tuple[int, int]
"""Least and greatest value."""


class PairTerm(ABC):
    """A term of two values that are both read; one object serves all products."""

    coded = False
    """Whether one operand is written as signed digits of `MatMul.code_width` bits."""

    @abstractmethod
    def check(self, op: "MatMul", a: Format, b: Format) -> None:
        """Check the rules of the operands' formats, digits and code width."""

    def largest_exponent(self, code_width: int) -> int:
        """Return the largest exponent of a digit of so many bits, where operands are coded."""
        raise NotImplementedError

    @abstractmethod
    def bounds(self, a: Range, b: Range) -> Range:
        """Return the least and the greatest term of values in two ranges."""

    @abstractmethod
    def products(self, x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
        """Return sums of terms over k of integer arrays (..., P, K) and (..., K, Q).

        `most` bounds the magnitude of the sums.
        """

    @abstractmethod
    def torch_products(self, x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the same of int64 tensors (N, S, P, K) and (N, S, Q, K)."""

    @abstractmethod
    def onnx_products(
        self, builder: "OnnxBuilder", x: str, y: str, outer: tuple[int, ...], sizes: "Sizes"
    ) -> str:
        """Add nodes for the same of int64 (N, *outer, P, K) and (N, *outer, K, Q)."""

    @abstractmethod
    def counts(self, terms: int) -> "Counts":
        """Return what so many terms cost."""

"""The contract of an engine's host half."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.engines.registry import engine_of
from pyhw.hdl.formats import Format

if TYPE_CHECKING:
    from pyhw.graph.ops import Conv

__all__ = ["DoesNotFit", "HostEngine"]


class DoesNotFit(ValueError):
    """Weights that an engine has no codes for: what is wrong, and what helps."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


class HostEngine(ABC):
    """What compiler and quantiser ask of an engine; one object serves all layers.

    The defaults are those of an engine that leaves nothing to the bias.
    """

    name: str

    @abstractmethod
    def encode(self, conv: "Conv", shape: EngineConfig, fmt: Format) -> np.ndarray:
        """Return the code of every digit of every weight, uint8 (digits, O, taps).

        Raises
        ------
        DoesNotFit
        """

    def zero_code(self, shape: EngineConfig) -> int:
        """Return the code that lanes without a tap get."""
        return int(engine_of(self.name).zero(shape.code_width))

    def constant(self, conv: "Conv", fmt: Format, idle: int) -> np.ndarray:
        """Return the engine's value minus the accumulator, int64 (O,).

        `idle` counts the lanes without a tap in all vectors of a burst. The compiler folds it
        into the bias.
        """
        return np.zeros(conv.out_channels, np.int64)

    @abstractmethod
    def sum_bits(self, conv: "Conv", fmt: Format, constant: np.ndarray) -> int:
        """Return the bits of an accumulator that hold every partial sum, in any order."""

    def chain_constant(self, conv: "Conv") -> np.ndarray:
        """Return the same as `constant` for the sums of chains (depthwise layers)."""
        return self.constant(conv, Format(8), 0)

    @abstractmethod
    def chain_bits(self, conv: "Conv", fmt: Format) -> int:
        """Return the bits of a signed accumulator that hold the sums of chains."""

"""The contract of an engine's host half."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.engines.registry import engine_of
from pyhw.hdl.formats import Format

if TYPE_CHECKING:
    from pyhw.graph.ops import Conv

__all__ = ["DoesNotFit", "EngineLuts", "HostEngine"]


@dataclass(frozen=True, kw_only=True)
class EngineLuts:
    """What the parts of an engine take, in LUT4s of ECP5 (`pyhw.fitter.area.engine`).

    Attributes
    ----------
    lane : float
        A lane of a row, with its share of the tree.
    extra_lane : float
        A lane of a row that sees the vectors only (`Descriptor.extra`).
    code : float
        What converts a code of a memory word.
    tap : float
        A tap of a chain, for each channel.
    """

    lane: float
    extra_lane: float = 0.0
    code: float = 1.0
    tap: float = 0.0


class DoesNotFit(ValueError):
    """Weights that an engine has no codes for: what is wrong, and what helps."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


class HostEngine(ABC):
    """What compiler and fitter ask of an engine; one object serves all layers.

    The defaults are those of an engine that leaves nothing to the bias.
    """

    name: str
    """Of its descriptor, and of the term that it computes."""
    rounded_weights = False
    """Whether codes are integers that are as wide as a user quantises weights."""

    @abstractmethod
    def encode(self, conv: "Conv", shape: EngineConfig, fmt: Format) -> np.ndarray:
        """Return the code of every digit of every weight, uint8 (digits, O, taps).

        Raises
        ------
        DoesNotFit
        """

    def codes(self, sign: np.ndarray, exponent: np.ndarray, code_width: int) -> np.ndarray:
        """Return the codes of powers of two, uint8; of an engine whose codes masks can make.

        Raises
        ------
        DoesNotFit
        """
        raise NotImplementedError(f"the {self.name} engine has no masked weights")

    def zero_code(self, shape: EngineConfig) -> int:
        """Return the code that lanes without a tap get."""
        return int(engine_of(self.name).zero(shape.code_width))

    def constant(self, conv: "Conv", fmt: Format, idle: int) -> np.ndarray:
        """Return the engine's results minus the sums that the term means, int64 (O,).

        `idle` counts the lanes without a tap in all vectors of a burst. The compiler takes it
        out of the bias.
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

    @abstractmethod
    def code_width(self, conv: "Conv", fmt: Format) -> int:
        """Return the bits of the narrowest code that holds a layer's weights."""

    def acc_width(self, conv: "Conv", fmt: Format, lanes: int) -> int:
        """Return bits of an accumulator that hold every sum, with so many lanes in a row."""
        return self.sum_bits(conv, fmt, self.constant(conv, fmt, 0))

    @abstractmethod
    def luts(self, code_width: int) -> EngineLuts:
        """Return what its parts take where codes have so many bits: measured, or an estimate."""

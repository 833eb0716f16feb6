"""The contract of a kind of stage of transformers, and where kinds are found.

A kind says what its stage computes in real numbers, and which operations of the graph do it. It
has no first step of a channel's, as records of tokens or nothing at all take that place; what
follows it in the network becomes a stage of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pyhw.graph.execute import value_of
from pyhw.graph.infer import operand_types
from pyhw.graph.ops import MapType, Operation
from pyhw.hdl.registry import Registry

from .operation import Value
from .settings import Settings
from .stage import Stage

if TYPE_CHECKING:
    from .choice import Chooser
    from .layer import Made
    from .reference import Reals

__all__ = ["KINDS", "Chain", "Context", "TokenKind", "kind_of", "token_kind"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """What a stage is quantised with.

    Attributes
    ----------
    name : str
        Of its operation.
    values : mapping of str to Value
        What it reads, by path.
    reals : Reals
        Real values of the network.
    chooser : Chooser
    settings : Settings
    """

    name: str
    values: Mapping[str, Value]
    reals: "Reals"
    chooser: "Chooser"
    settings: Settings

    def part(self, what: str) -> str:
        """Return the name of another operation of the stage."""
        return f"{self.name}.{what}"[:64]


@dataclass(eq=False)
class Chain:
    """Operations in the making, and what they compute on the calibration images."""

    read: tuple[Value, ...]
    ops: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrays = {value.name: value.x for value in self.read}
        self.known = {value.name: MapType(
            (value.x.shape[1], value.x.shape[2], value.x.shape[3]), value.fmt)
            for value in self.read}  # fmt: skip

    def add(self, op: Operation) -> np.ndarray:
        """Append an operation; return its value."""
        operands = operand_types(op, self.known)
        self.known[op.name] = op.infer(*operands)
        images = next(iter(self.arrays.values()))
        self.arrays[op.name] = value_of(op, self.arrays, operands, images)
        self.ops.append(op)
        return self.arrays[op.name]


class TokenKind(ABC):
    """What a kind of stage computes; one object serves all stages."""

    name: str
    signed: bool | None = True
    """Whether its value can be negative; None: where the value read can."""
    moves = False
    """Whether it only moves values, which keep format and step."""

    @abstractmethod
    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Return the real values, float64 (N, H', W', O), of what it reads and a number N."""

    @abstractmethod
    def quantise(self, stage: Stage, context: Context) -> "Made":
        """Return the stage's operations and its value."""


KINDS: Registry[str, TokenKind] = Registry("Stage kind")
"""Kinds by name."""


def token_kind(cls: type[TokenKind]) -> type[TokenKind]:
    """Register the class of a kind under its name.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    KINDS.add(cls.name, cls())
    return cls


def kind_of(stage: Stage) -> TokenKind | None:
    """Return the kind of a stage; None for one of `pyhw.quantizer.stage`."""
    return KINDS.get(stage.kind)

"""Mixtures: which branch a token takes, and what it brings back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyhw.hdl.formats import Format

from ..rules import require
from .base import Counts, MapType, Operation, Unary, operand_types, operation, types_of
from .processed import check_narrow

if TYPE_CHECKING:
    from torch import Tensor

    from ..onnx_export import OnnxBuilder

__all__ = ["Experts", "Route", "experts_of"]

MAX_EXPERTS = 256


@operation("route")
@dataclass(frozen=True, eq=False, kw_only=True)
class Route(Unary):
    """The expert of each token: the index of its largest logit, the lowest one of a tie.

    The input has the logits, a channel an expert.
    """

    since: ClassVar[int] = 4
    name: str
    input: str

    def infer(self, *operands: MapType) -> MapType:
        """Return one channel that counts the experts."""
        height, width, experts = operands[0].shape
        fmt = Format(max(2, (experts - 1).bit_length()))
        return MapType((height, width, 1), fmt, tuple(range(experts)))

    def check_fields(self, *operands: MapType) -> None:
        """Check that there is a choice."""
        experts = operands[0].channels
        require(self, 2 <= experts <= MAX_EXPERTS,
                f"logits must be of 2 to {MAX_EXPERTS} experts, not {experts}")  # fmt: skip

    def check_operands(self, *operands: MapType) -> None:
        """Check the format."""
        check_narrow(self, operands[0], 16)

    def per_token(self, *operands: MapType) -> bool:
        """Return that it works on positions alone."""
        return True

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Compare."""
        return values[0].argmax(axis=3)[..., None].astype(np.int64)

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Take the lowest index that has the maximum."""
        import torch

        logits = tensors[0]
        index = torch.arange(logits.shape[3], device=logits.device)
        none = torch.full_like(logits, logits.shape[3])
        best = logits.amax(3, keepdim=True)
        return torch.where(logits == best, index, none).amin(3, keepdim=True)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Compare."""
        logits = builder.cast(operands[0], "INT32")
        return builder.node("ArgMax", [logits], axis=3, keepdims=1, select_last_index=0)

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return a comparison a logit."""
        height, width, experts = operands[0].shape
        terms = height * width * experts
        return Counts(terms=terms, kind="statistics", additions=terms)


@operation("experts")
@dataclass(frozen=True, eq=False, kw_only=True)
class Experts(Operation):
    """Each token's value of the branch that it takes.

    A branch is the operations that only lead here (`experts_of`); each works on positions alone,
    so that a token goes through its branch and no other.

    Parameters
    ----------
    name, route : str
    branches : tuple of str
        Values of the branches, one an expert, of one shape and format.
    """

    since: ClassVar[int] = 4
    name: str
    route: str
    branches: tuple[str, ...]

    def __post_init__(self) -> None:
        names: object = self.branches
        if isinstance(names, str):
            raise TypeError(f"Experts.branches must be a sequence of names, not {names!r}")
        self._set("branches", tuple(self.branches))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the route, then the branches."""
        return (self.route, *self.branches)

    def infer(self, *operands: MapType) -> MapType:
        """Return what the branches have in common."""
        return replace(operands[1], values=None)

    def check_fields(self, *operands: MapType) -> None:
        """Check that each expert has a branch of its own."""
        require(self, len(set(self.branches)) == len(self.branches) >= 2,
                f"must have 2 or more branches, each of its own, not {self.branches}")  # fmt: skip

    def check_operands(self, *operands: MapType) -> None:
        """Check the route, and that shapes and formats agree."""
        route, *branches = operands
        experts = tuple(range(len(branches)))
        require(self, route.values == experts and route.channels == 1,
                f"{self.route!r} must be a Route over {len(experts)} experts")  # fmt: skip
        found = sorted({f"{x.shape} {x.fmt}" for x in branches})
        require(self, len(found) == 1,
                f"branches must have one shape and format, not {', '.join(found)}")  # fmt: skip
        require(self, route.shape[:2] == branches[0].shape[:2],
                f"route and branches must have one height and width, not {route.shape[:2]} and "
                f"{branches[0].shape[:2]}")  # fmt: skip

    def check_graph(self, ops: Mapping[str, Operation]) -> None:
        """Check that every branch leads here alone."""
        alone = experts_of(tuple(ops.values())).get(self.name, {})
        for branch in self.branches:
            require(self, branch in alone,
                    f"branch {branch!r} must work on positions alone and be read by nothing else")

    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Pick values."""
        route, *branches = values
        made = branches[0]
        for index, branch in enumerate(branches[1:], 1):
            made = np.where(route == index, branch, made)
        return made

    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Gather along an axis of branches."""
        import torch

        route, *branches = tensors
        stacked = torch.stack(branches, dim=4)
        index = route.unsqueeze(4).expand(-1, -1, -1, stacked.shape[3], 1)
        return stacked.gather(4, index).squeeze(4)

    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Pick values."""
        route, *branches = operands
        made = branches[0]
        for index, branch in enumerate(branches[1:], 1):
            chosen = builder.node("Equal", [route, builder.constant(index)])
            made = builder.node("Where", [chosen, branch, made])
        return made

    def describe(self, *operands: MapType) -> str:
        """Return route and branches."""
        return f"experts by {self.route}: {', '.join(self.branches)}"


def experts_of(ops: tuple[Operation, ...]) -> dict[str, dict[str, int]]:
    """Return, for every `Experts` by name, the operations of its branches and their expert.

    An operation is a branch's if it works on positions alone and all that read it are the
    branch's, or it is the branch and only the `Experts` reads it.
    """
    known = types_of(ops)
    readers: dict[str, set[str]] = {op.name: set() for op in ops}
    for op in ops:
        for name in op.inputs:
            readers[name].add(op.name)
    found: dict[str, dict[str, int]] = {}
    for op in ops:
        if not isinstance(op, Experts):
            continue
        mine: dict[str, int] = {}
        for one in reversed(ops):
            if not one.operands or not one.per_token(*operand_types(one, known)):
                continue
            if one.name in op.branches and readers[one.name] == {op.name}:
                mine[one.name] = op.branches.index(one.name)
            elif readers[one.name] and op.name not in readers[one.name]:
                led = {mine.get(name) for name in readers[one.name]}
                if len(led) == 1 and (expert := led.pop()) is not None:
                    mine[one.name] = expert
        found[op.name] = mine
    return found

"""A network: operations in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyhw.table import html_table, text_table

from ..records import Record
from .base import Operation
from .input import Input

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False)
class Graph(Record):
    """A network: operations in an order in which each reads only earlier ones.

    Parameters
    ----------
    name : str
    ops : tuple of Operation
        The `Input` first. A value has the name of the operation that makes it.
    output : str
        Name of the value that is the result.
    meta : dict
        Anything that JSON can hold, for people and reports (scales, accuracy, origin, class
        names); no result depends on it.

    Examples
    --------
    >>> import pyhw
    >>> graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    >>> [op.name for op in graph.ops]
    ['input', 'conv1', 'pool1', 'conv2', 'pool2', 'fc']
    """

    name: str
    ops: tuple[Operation, ...]
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

    def _title(self) -> str:
        return f"Graph {self.name}: {len(self.ops)} operations, result {self.output}"

    def _rows(self) -> list[tuple[str, ...]]:
        return [("operation", "kind", "reads"),
                *((op.name, type(op).__name__.lower(), ", ".join(op.inputs)) for op in self.ops)]

    def __repr__(self) -> str:
        return f"{self._title()}\n\n{text_table(self._rows(), 3)}".rstrip()

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._rows(), 3)

    def op(self, name: str) -> Operation:
        """Return the operation of a name; `KeyError` if there is none."""
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)

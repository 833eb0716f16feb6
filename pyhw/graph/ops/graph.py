"""A network: operations in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

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

    def __repr__(self) -> str:
        from ..summary import summarise

        try:
            return f"Graph {self.name}\n\n{summarise(self).text()}".rstrip()
        except ValueError as error:  # one that is not finished, or wrong
            return f"Graph {self.name}, {len(self.ops)} operations: {error}"

    def _repr_html_(self) -> str:
        from ..summary import summarise

        try:
            return summarise(self).html()
        except ValueError:
            return f"<pre>{escape(repr(self))}</pre>"

    def op(self, name: str) -> Operation:
        """Return the operation of a name; `KeyError` if there is none."""
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)

"""What a simulation showed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pyhw.table import html_table

if TYPE_CHECKING:
    from pyhw.simulation.network import Difference
    from pyhw.simulation.session import Report

__all__ = ["Simulation"]


@dataclass(frozen=True, repr=False, eq=False)
class Simulation:
    """Outputs of the simulated hardware, compared with the golden executor.

    Attributes
    ----------
    outputs : int64 array (N, H, W, C)
    cycles : int
        Of the first batch, as the hardware's counters say: from the first instruction to the last
        result.
    report : Report
        Counters, estimates, what the simulator took.
    others : dict of str to Difference or None
        Where other forms of the graph (PyTorch, ONNX Runtime) first differ, by name; None if they
        are equal.
    """

    outputs: np.ndarray
    cycles: int
    report: "Report"
    others: "dict[str, Difference | None]" = field(default_factory=dict)

    @property
    def difference(self) -> "Difference | None":
        """The first value that is not what it should be; None if there is none."""
        return self.report.difference or next(filter(None, self.others.values()), None)

    def lines(self) -> list[str]:
        """Return the report's lines."""
        return [*self.report.lines(),
                *(f"{name}: {difference or 'equal, every output bit'}"
                  for name, difference in self.others.items())]

    def __repr__(self) -> str:
        return "\n".join(["Simulation", *self.lines()])

    def _repr_html_(self) -> str:
        return html_table("Simulation", [("",), *((line,) for line in self.lines())])

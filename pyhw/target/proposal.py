"""Proposed configurations for a graph on a device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyhw.fitter.search import limits_of
from pyhw.table import html_table, text_table

if TYPE_CHECKING:
    from pyhw.families import Device
    from pyhw.fitter.search import Candidate

__all__ = ["Proposal"]


@dataclass(frozen=True, repr=False)
class Proposal:
    """What `pyhw.fit` found: usable wherever a configuration is.

    Attributes
    ----------
    name : str
        Of the graph.
    device : Device
    candidates : sequence of Candidate
        The best first; each has `config`, `batch`, `cycles`, `luts`, `block_rams`, `limit`.
    """

    name: str
    device: "Device"
    candidates: "Sequence[Candidate]"

    @property
    def best(self) -> "Candidate":
        """The first candidate."""
        return self.candidates[0]

    @property
    def config(self) -> Any:
        """The best candidate's configuration."""
        return self.best.config

    @property
    def batch(self) -> int:
        """Images at once for which its memories were chosen."""
        return self.best.batch

    @property
    def limit(self) -> str:
        """What keeps the best one from being faster, in a sentence."""
        return limits_of(self.best, self.device)

    def _rows(self) -> list[tuple[str, ...]]:
        head = ("engines", "groups", "images", "cycles an image", "LUT4", "block RAMs",
                "most cycles")
        rows: list[tuple[str, ...]] = [head]
        return rows + [
            (", ".join(f"{name} {e.rows} x {e.lanes}" for name, e in one.config.engines.items()),
             str(one.config.groups), str(one.batch), f"{one.cycles / one.batch:,.0f}",
             f"{one.luts:,}", str(one.block_rams), one.limit) for one in self.candidates]

    @property
    def title(self) -> str:
        """The graph, and what its device has."""
        return (f"{self.name} on {self.device.name}: {self.device.luts:,} LUT4, "
                f"{self.device.block_rams} block RAMs")

    def __repr__(self) -> str:
        return f"{self.title}\n\n{text_table(self._rows())}\n{self.limit}"

    def _repr_html_(self) -> str:
        return html_table(self.title, self._rows())

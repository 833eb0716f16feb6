"""What compute and store stage of an accelerator do in a run, as spans of time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Activity", "Span"]


class Activity:
    """Spans of cycles, each with what happens in it, in the order of time."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, int, int]] = []

    def add(self, kind: str, start: int, end: int) -> None:
        """Add the cycles from one to before another; none if they are the same."""
        if start >= end:
            return
        if self._spans and self._spans[-1][0] == kind and self._spans[-1][2] == start:
            start = self._spans.pop()[1]
        self._spans.append((kind, start, end))

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Yield what happens, the first cycle, and the cycle after the last."""
        return iter(self._spans)


@dataclass(frozen=True)
class Span:
    """When one layer is at work, cycles of the run.

    Parameters
    ----------
    start : int
        First cycle of the compute stage.
    end : int
        Its last result is written.
    vectors, stall_weights, stall_layer, stall_bank : int
        As in `pyhw.compiler.cycles.LayerCycles`.
    compute : Activity
        ``vectors`` pass the point where weights switch, or wait: ``layer``, ``bank``. What falls
        on a cycle of `held` is put off.
    store : Activity
        ``results`` are stored.
    held : list of int
        Cycles in which the vectors are held.
    conflicts : list of int
        Cycles of the store stage in which the store unit waits for port B.
    """

    start: int
    end: int
    vectors: int
    stall_weights: int
    stall_layer: int
    stall_bank: int
    compute: Activity = field(default_factory=Activity)
    store: Activity = field(default_factory=Activity)
    held: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)

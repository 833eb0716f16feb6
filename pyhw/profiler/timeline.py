"""A run along time: what compute and store stage do, bin by bin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyhw.compiler.activity import Span

from .account import CAUSES, LayerAccount

__all__ = ["STORE", "Timeline", "compute_counts", "timeline"]

STORE = ("results", "port")
"""What the store stage does, if anything: results are stored, or wait for the scratchpad's
port."""
_STATES = ("fill", "vectors", "weights", "layer", "bank")
_STATIC = ("useful", "reduction", "channels", "images")


@dataclass(frozen=True)
class Timeline:
    """A run in bins of equal length.

    Parameters
    ----------
    cycles : int
        Of the run.
    compute : float array (bins, causes)
        Cycles of each bin by `CAUSES`, each lane with its share; what is missing is a cycle with
        nothing at work.
    store : float array (bins, 2)
        Cycles of each bin by `STORE`.
    starts : list of int
        First cycle of every layer.
    """

    cycles: int
    compute: np.ndarray
    store: np.ndarray
    starts: list[int]


def _states(span: Span, cycles: int) -> np.ndarray:
    """Return what the compute stage does in each of a layer's cycles, as an index of `_STATES`."""
    states = np.zeros(cycles, np.uint8)
    for kind, start, end in span.compute:
        states[start - span.start:end - span.start] = _STATES.index(kind)
    states[np.array(span.held, np.int64) - span.start] = _STATES.index("weights")
    return states


def compute_counts(span: Span, cycles: int) -> dict[str, int]:
    """Return the cycles of a layer by what its compute stage does: fill, vectors, weights, layer,
    bank.
    """
    counts = np.bincount(_states(span, cycles), minlength=len(_STATES))
    return dict(zip(_STATES, counts.tolist(), strict=True))


def timeline(spans: Sequence[Span], accounts: Sequence[LayerAccount], bins: int) -> Timeline:
    """Return a run along time.

    Parameters
    ----------
    spans : sequence of Span
        Of the model's trace of the run.
    accounts : sequence of LayerAccount
        Of its layers.
    bins : int
        At most so many.
    """
    ends = [span.start + one.counted.cycles for span, one in zip(spans, accounts, strict=True)]
    cycles = max(ends)
    bins = min(bins, cycles)
    edges = np.arange(bins + 1) * cycles // bins
    compute = np.zeros((bins, len(CAUSES)))
    column = {cause: index for index, cause in enumerate(CAUSES)}
    for span, one in zip(spans, accounts, strict=True):
        counts = _binned(_states(span, one.counted.cycles), span.start, edges, len(_STATES))
        for name in ("fill", "layer"):
            compute[:, column[name]] += counts[:, _STATES.index(name)]
        # Of the waits that residuals share, every one has the same share.
        for name in ("weights", "bank"):
            here = counts[:, _STATES.index(name)]
            cycles_of = here.sum()
            rest = one.lane_cycles[name] / (one.lanes * cycles_of) if cycles_of else 0.0
            compute[:, column[name]] += here * rest
            compute[:, column["port"]] += here * (1 - rest)
        # Every vector of a layer uses the same share of the lanes.
        issued = one.counted.vectors * one.lanes
        for cause in _STATIC:
            compute[:, column[cause]] += (counts[:, _STATES.index("vectors")]
                                        * one.lane_cycles[cause] / issued)
    return Timeline(cycles, compute, _store(spans, cycles, edges), [span.start for span in spans])


def _binned(states: np.ndarray, start: int, edges: np.ndarray, kinds: int) -> np.ndarray:
    """Count each of so many states in every bin; the first state is of cycle `start`."""
    first, end = np.searchsorted(edges, (start, start + len(states) - 1), "right") - 1
    cuts = np.maximum(edges[first:end + 1] - start, 0)
    counts = np.zeros((len(edges) - 1, kinds))
    for kind in range(kinds):
        counts[first:end + 1, kind] = np.add.reduceat(states == kind, cuts, dtype=np.int64)
    return counts


def _store(spans: Sequence[Span], cycles: int, edges: np.ndarray) -> np.ndarray:
    states = np.zeros(cycles, np.uint8)
    for span in spans:
        for _, start, end in span.store:
            states[start:end] = 1
        states[np.array(span.conflicts, np.int64)] = 2
    return _binned(states, 0, edges, 1 + len(STORE))[:, 1:]

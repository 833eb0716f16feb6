"""The search for an accelerator: many shapes by a quick bound, the best few by the exact model."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pyhw.compiler import CompileError
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.compiler.specialise import specialise as specialised_for
from pyhw.errors import UserError
from pyhw.families import Device
from pyhw.graph.ops import Graph
from pyhw.graph.verify import verify
from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING, engine_of
from pyhw.hdl.isa import Space, param_layout

from .area import cells
from .bound import Bound
from .shortage import too_small
from .space import FILL, GROUPS, LARGE, SLOTS, DesignSpace
from .work import sizes_of, work_of

__all__ = ["FILL", "OBJECTIVES", "Candidate", "limits_of", "propose"]

OBJECTIVES = ("throughput", "area")

EXACT = 8
"""Candidates that are compiled."""
ALIKE = 0.01
"""Rates in steps of about a hundredth: of those that are alike, fewer LUTs come first."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration for a graph on a device.

    Attributes
    ----------
    config : Config
    batch : int
        Images at once.
    cycles : int
        Of a run of that many images, exact.
    luts : int
        Estimated LUT4s.
    block_rams : int
    limit : str
        Where most cycles go: the name of an engine, ``weights`` (loading), ``post-processor``.
    """

    config: Config
    batch: int
    cycles: int
    luts: int
    block_rams: int
    limit: str

    def images_per_second(self, clock_hz: float) -> float:
        """Return the rate without input and output."""
        return self.batch * clock_hz / self.cycles


@dataclass(frozen=True)
class _Ranked:
    """A candidate by the quick bound, per image."""

    cost: float
    config: Config
    slots: int


def propose(
    graph: Graph,
    device: Device,
    *,
    batch: int | None = None,
    objective: str = "throughput",
    count: int = 5,
    specialise: bool = False,
    fill: float = FILL,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Propose accelerators for a graph on a device, the best first.

    Parameters
    ----------
    graph : Graph
    device : Device
    batch : int, optional
        Images at once; any that fits by default.
    objective : {'throughput', 'area'}
        Most images a second on the device, or fewest LUTs.
    count : int
        Most candidates returned.
    specialise : bool
        Leave out of control what the graph's program does not need (`Config.ranges`).
    fill : float
        Share of the device's LUTs that may be taken.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    list of Candidate
        At least one.

    Raises
    ------
    UserError
        If none fits: what is short, by how much, and what would fit.
    """
    if objective not in OBJECTIVES:
        raise UserError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    graph = verify(graph)
    show = progress or (lambda done, total, text: None)
    search = _Search(graph, device, batch, specialise, fill)
    best = search.best(objective, show)
    if not best:
        # An input stored as it comes takes less room.
        plain = _Search(graph, device, batch, specialise, fill, fold=False)
        if plain.scratch < search.scratch:
            search, best = plain, plain.best(objective, show)
    if not best:
        raise UserError(too_small(search.space, batch))

    def order(one: Candidate) -> tuple[float, float]:
        per_image = one.cycles / one.batch
        if objective == "area":
            return one.luts, per_image
        return int(math.log(per_image) / ALIKE), one.luts

    return sorted(best, key=order)[:count]


def limits_of(candidate: Candidate, device: Device) -> str:
    """Say in one line what keeps a candidate from being faster on a device."""
    used = {
        "LUTs": candidate.luts / (FILL * device.luts),
        "block RAM": candidate.block_rams / device.block_rams,
    }
    name, share = max(used.items(), key=lambda item: item[1])
    are = "is" if name == "block RAM" else "are"
    where = {"weights": "the loading of weights", "post-processor": "the post-processor",
             POOLING: "pooling"}.get(candidate.limit)  # fmt: skip
    where = where or f"the {engine_of(candidate.limit).title} engine"
    return f"most cycles go to {where}; of the device, {name} {are} scarcest ({share:.0%} used)"


class _Search:
    def __init__(self, graph: Graph, device: Device, batch: int | None, specialised: bool,
                 fill: float, fold: bool = True) -> None:
        self._graph, self._device, self._batch = graph, device, batch
        self.space = DesignSpace(graph, device, specialised, fill, fold)
        self.scratch = self.space.scratch

    def best(self, objective: str, progress: Progress) -> list[Candidate]:
        """Return the candidates that fit, compiled, in no order."""
        ranked, found = self.rank(objective, progress)[:EXACT], []
        for number, one in enumerate(ranked):
            progress(number, len(ranked), "compiling")
            candidate = self.exact(one)
            if candidate is not None:
                found.append(candidate)
        return found

    def _slots(self) -> np.ndarray:
        """Return the images a group to try for every number of groups; 0 for none."""
        if self._batch is None:
            return np.array([SLOTS for _ in GROUPS])
        each = [-(-self._batch // g) if g <= self._batch else 0 for g in GROUPS]
        return np.array([[slots if self.space.holds(slots) else 0] for slots in each])

    def rank(self, objective: str, progress: Progress) -> list[_Ranked]:
        """Return the best candidates that fit by the estimates, the best first."""
        found: list[_Ranked] = []
        small, room = objective == "area", 3 * EXACT
        bound = Bound(self.space, self._slots(), small, self._batch)
        # The largest pools first: good candidates early spare the look at others.
        variants = sorted(self.space.variants(), key=lambda v: (-v.taps, -v.prototypes))
        for number, variant in enumerate(variants):
            progress(number, len(variants), "ranking")
            worst = found[-1].cost if len(found) >= room else math.inf
            for cost, point in bound.points(variant, worst, EXACT, small):
                if len(found) >= room and cost >= found[-1].cost:
                    continue
                config = self.space.config(point)
                if config is not None and self.space.fits(config):
                    found.append(_Ranked(cost, config, point.slots))
                    found.sort(key=lambda one: one.cost)
                    found = self._varied(found)[:room]
        return found

    @staticmethod
    def _varied(found: list[_Ranked]) -> list[_Ranked]:
        """Keep the best of those that differ only in memories, bursts or slots."""
        seen, kept = set(), []
        for one in found:
            config = one.config
            key = (config.groups, config.post.width, config.pool.lanes, config.depthwise.columns,
                   config.weights.prototypes, *config.engines.items())
            if key not in seen:
                seen.add(key)
                kept.append(one)
        return kept

    def exact(self, ranked: _Ranked) -> Candidate | None:
        """Compile for a candidate and fit its memories to what the program takes."""
        roomy = ranked.config.changed(**LARGE)
        batch = self._batch or ranked.config.groups * ranked.slots
        try:
            program = self.space.compiled(roomy, batch)
        except CompileError:
            return None
        sizes = {space: len(raw) for space, _, raw in program.sections}
        banks = roomy.banks
        scratch = max(place.base + place.size for place in program.placements)
        config = roomy.changed(scratch_bytes=-(-max(scratch, 64) // banks) * banks,
            weight_words=max(sizes.get(Space.WEIGHTS, 0) // roomy.weights.load_bytes, 1),
            param_records=max(sizes[Space.PARAMS] // param_layout(roomy).bytes, 1),
            program_words=max(sizes[Space.PROGRAM] // 4, 64),
        )
        config = self.space.rounded(config)
        if config.ranges:
            config = specialised_for(config, program)
        if not self.space.fits(config):
            return None
        layers = estimate(program, roomy, batch)
        return Candidate(
            config=config,
            batch=batch,
            cycles=run_cycles(layers),
            luts=round(cells(config, self._device.family)),
            block_rams=self.space.blocks(config),
            limit=self._limit(config, ranked.slots),
        )

    def _limit(self, config: Config, slots: int) -> str:
        """Return what most cycles go to, by the bounds."""
        spent: dict[str, int] = {}
        for work in work_of(self._graph, config):
            engine, weights, drain = work.cycles(sizes_of(config, work.engine), slots)
            name = work.engine
            if drain > max(engine, weights):
                name = "post-processor"
            elif weights > engine:
                name = "weights"
            spent[name] = spent.get(name, 0) + max(engine, weights, drain)
        return max(spent, key=lambda name: spent[name])

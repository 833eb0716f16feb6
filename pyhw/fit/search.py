"""The search for an accelerator: many shapes by a quick bound, the best few by the exact model."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdl.config import Config, EngineConfig
from hdl.isa import Space, param_layout
from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.errors import UserError
from pyhw.graph.ops import Graph
from pyhw.graph.verify import verify

from .area import FAMILY_SHARE, area, luts
from .devices import DEVICES, Device
from .memories import Memory, block_rams, memories
from .work import LATENCY, Needs, Work, needs, work_of

__all__ = ["FILL", "OBJECTIVES", "Candidate", "limits_of", "propose"]

FILL = 0.9
"""Share of a device's LUTs that a design may take; place and route needs the rest."""
OBJECTIVES = ("throughput", "area")

GROUPS = (1, 2, 3, 4, 6, 8, 12, 16)
SLOTS = (1, 2, 4)
SIDES = (1, 2, 4, 8, 16, 32, 64)
POST = (1, 2, 4, 8, 16, 32)
WORDS = (32, 64, 128, 256, 512)
BURST = 32
EXACT = 8
"""Candidates that are compiled."""
ALIKE = 0.01
"""Rates in steps of about a hundredth: of those that are alike, fewer LUTs come first."""
LARGE: dict[str, Any] = {
    "scratch_bytes": 1 << 22, "weight_words": 1 << 22, "param_records": 1 << 16,
    "program_words": 1 << 16,
}  # fmt: skip

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
        Where most cycles go: ``l1``, ``shift``, ``pool`` (their engine), ``weights`` (loading),
        ``post-processor``.
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
    search = _Search(graph, device, batch)
    ranked = search.rank(objective, progress or (lambda done, total, text: None))
    if not ranked:
        raise UserError(search.too_small())
    best: list[Candidate] = []
    for number, one in enumerate(ranked[:EXACT]):
        if progress is not None:
            progress(number, min(EXACT, len(ranked)), "compiling")
        found = search.exact(one)
        if found is not None:
            best.append(found)
    if not best:
        raise UserError(search.too_small())

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
    where = {
        "weights": "the loading of weights",
        "post-processor": "the post-processor",
        "l1": "the L1 engine",
        "shift": "the shift engine",
        "pool": "pooling",
    }[candidate.limit]
    return f"most cycles go to {where}; of the device, {name} are scarcest ({share:.0%} used)"


class _Product:
    """Shapes of two engines, and where each shape's halves stand in the lists of all halves."""

    def __init__(self, shapes: list[tuple[int, int, int, int]]) -> None:
        self.first = sorted({shape[:2] for shape in shapes})
        self.second = sorted({shape[2:] for shape in shapes})
        self.lanes = sorted({max(shape[1], shape[3]) for shape in shapes})
        self.in_first = np.array([self.first.index(shape[:2]) for shape in shapes])
        self.in_second = np.array([self.second.index(shape[2:]) for shape in shapes])
        self.in_lanes = np.array([self.lanes.index(max(s[1], s[3])) for s in shapes])


class _Search:
    def __init__(self, graph: Graph, device: Device, batch: int | None) -> None:
        self._graph, self._device, self._batch = graph, device, batch
        self._name = re.sub(r"\W", "_", f"{graph.name}_{device.name}")
        if not self._name.isidentifier():
            self._name = "fitted"
        self._needs = needs(graph)
        self._work: dict[tuple[int, ...], list[Work]] = {}
        self._shares: dict[tuple[str, int, int, int, int], tuple[float, int]] = {}
        self._product: _Product | None = None
        self._weights: dict[tuple[int, int], int] = {}
        self._scratch = self._scratch_bytes()
        self._pooling = any(w.engine == "pool" for w in self._works(self._engines(4, 8, 4, 8)))

    def _engines(self, rows: int, lanes: int, rows2: int, lanes2: int) -> dict[str, Any]:
        """Return the engines that the graph needs, in these shapes."""
        need = self._needs
        found: dict[str, EngineConfig | None] = {"l1": None, "shift": None}
        if need.l1 is not None:
            found["l1"] = EngineConfig(rows=rows, lanes=lanes, code_width=need.l1,
                                       acc_width=need.l1_acc_width(lanes))  # fmt: skip
        if need.shift is not None:
            found["shift"] = EngineConfig(rows=rows2, lanes=lanes2, code_width=need.shift,
                                          acc_width=need.shift_acc_width)  # fmt: skip
        if found["l1"] is None and found["shift"] is None:  # a configuration has one
            found["shift"] = EngineConfig(rows=1, lanes=1, code_width=3, acc_width=16)
        return found

    def _fixed(self) -> dict[str, Any]:
        """Return the fields that the graph decides."""
        need: Needs = self._needs
        return {
            "name": self._name,
            "pool_acc_width": need.pool_acc_width,
            "terms": need.terms,
            "tables": need.tables,
            "residual": need.residual,
            "second_step": need.second_step,
            "burst_depth": BURST if self._device.family != "ice40" else 16,
            "max_payload": 1024 if self._device.family != "ice40" else 256,
            "distributed": self._device.family != "ice40",
            "index_entries": need.index_entries,
        }

    def _works(self, engines: dict[str, Any]) -> list[Work]:
        key = tuple(e.lanes if e else 0 for e in engines.values())
        if key not in self._work:
            probe = Config(**self._fixed(), **engines)
            self._work[key] = work_of(self._graph, probe)
        return self._work[key]

    def _scratch_bytes(self) -> int:
        """Return the bytes of one image slot."""
        engines = self._engines(16, 16, 16, 16)
        try:
            program = self._compiled(Config(**self._fixed() | LARGE, **engines, load_bits=512), 1)
        except CompileError as error:
            raise UserError(f"no accelerator can run it: {error}") from None
        return max(place.base + place.size for place in program.placements)

    def _compiled(self, config: Config, batch: int) -> Any:
        return compile_graph(self._graph, config, batch)

    def _shapes(self, small: bool) -> Iterator[tuple[int, int, int, int]]:
        sides = [s for s in SIDES if not small or s <= 16]
        one = [(1, 1)]
        first = list(itertools.product(sides, sides)) if self._needs.l1 else one
        second = list(itertools.product(sides, sides)) if self._needs.shift else one
        for (rows, lanes), (rows2, lanes2) in itertools.product(first, second):
            yield rows, lanes, rows2, lanes2

    def _slots(self, groups: int) -> tuple[int, ...]:
        return SLOTS if self._batch is None else (-(-self._batch // groups),)

    def rank(self, objective: str, progress: Progress) -> list[_Ranked]:
        """Return the best candidates that fit by the estimates, the best first."""
        found: list[_Ranked] = []
        small = objective == "area"
        shapes = list(self._shapes(small))
        outer = list(itertools.product(GROUPS if not small else (1, 2), POST, WORDS))
        for number, (groups, post, bits) in enumerate(outer):
            progress(number, len(outer), "ranking")
            if self._batch is not None and groups > self._batch:
                continue
            for slots in self._slots(groups):
                found += self._rank_shapes(shapes, groups, post, bits, slots, objective, found)
                found = sorted(found, key=lambda one: one.cost)[: 3 * EXACT]
        return self._varied(found)

    @staticmethod
    def _varied(found: list[_Ranked]) -> list[_Ranked]:
        """Keep the best of those that differ only in the width of memory words or the slots."""
        seen, kept = set(), []
        for one in found:
            config = one.config
            key = (config.groups, config.post_width, config.l1, config.shift)
            if key not in seen:
                seen.add(key)
                kept.append(one)
        return kept

    def _rank_shapes(
        self,
        shapes: list[tuple[int, int, int, int]],
        groups: int,
        post: int,
        bits: int,
        slots: int,
        objective: str,
        found: list[_Ranked],
    ) -> Iterator[_Ranked]:
        """Yield what fits with some groups and widths and is better than what was found."""
        worst = found[-1].cost if len(found) >= 3 * EXACT else float("inf")
        sizes, blocks = self._sizes(shapes, groups, post, bits, slots)
        fitting = sizes <= FILL * self._device.luts
        fitting &= blocks <= self._device.block_rams
        if not fitting.any():
            return
        cycles = self._costs(groups, post, bits, slots)
        costs = cycles if objective == "throughput" else sizes + cycles * 1e-9
        costs = np.where(fitting & (costs < worst), costs, np.inf)
        for index in np.argsort(costs)[:EXACT]:
            if costs[index] == np.inf:
                return
            config = self._config(shapes[index], groups, post, bits, slots)
            if config is not None and self._fits(config):
                yield _Ranked(float(costs[index]), config, slots)

    def _sizes(self, shapes: list[Any], groups: int, post: int, bits: int,
               slots: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return LUTs and block RAMs, as `luts` and `block_rams` of the whole have them.

        Area and memories are sums, so the engines' shares are computed once for each shape and
        the rest once for each width of the vectors.
        """
        family = self._device.family

        def engine(name: str, rows: int, lanes: int) -> tuple[float, int]:
            key = (name, rows, lanes, groups, bits)
            if key not in self._shares:
                engines = self._engines(rows, lanes, rows, lanes)
                one = engines[name]
                if one is None:
                    self._shares[key] = 0.0, 0
                else:
                    probe = self._probe({"l1": None, "shift": None} | {name: one},
                                        groups, post, bits)  # fmt: skip
                    words = sum(
                        work.blocks(rows) * work.steps(lanes)
                        * work.words(probe, rows, lanes, one.code_width)
                        for work in self._works(engines) if work.engine == name
                    )  # fmt: skip
                    self._shares[key] = area(probe)[0].luts, words
            return self._shares[key]

        def rest(lanes: int) -> tuple[float, int]:
            one = EngineConfig(rows=1, lanes=lanes, code_width=3, acc_width=16)
            probe = self._probe({"l1": None, "shift": one}, groups, post, bits)
            probe = self._with_memories(probe, 1, slots)
            blocks = sum(block_rams(memory, family) for memory in memories(probe)
                         if memory.name not in ("weights", "accumulators, shift"))  # fmt: skip
            return sum(part.luts for part in area(probe)[1:]), blocks

        least_luts, least_blocks = rest(1)
        if (
            least_luts * FAMILY_SHARE[family] > FILL * self._device.luts
            or least_blocks > self._device.block_rams
        ):
            return np.full(len(shapes), np.inf), np.full(len(shapes), np.inf)
        # All shapes are the product of those of both engines, so each is looked at once.
        if self._product is None:
            self._product = _Product(shapes)
        product = self._product
        ones = np.array([engine("l1", *shape) for shape in product.first])[product.in_first]
        others = np.array([engine("shift", *shape) for shape in product.second])[product.in_second]
        remaining = np.array([rest(lanes) for lanes in product.lanes])[product.in_lanes]
        words, where = np.unique(
            np.maximum(ones[:, 1] + others[:, 1], 1).astype(int), return_inverse=True)  # fmt: skip
        blocks = np.array([self._weight_blocks(int(total), bits) for total in words])[where]
        size = ones[:, 0] + others[:, 0] + remaining[:, 0]
        return size * FAMILY_SHARE[family], blocks + remaining[:, 1]

    def _weight_blocks(self, words: int, bits: int) -> int:
        key = (words, bits)
        if key not in self._weights:
            memory = Memory(name="weights", depth=words, width=bits, byte_writes=True)
            self._weights[key] = block_rams(memory, self._device.family)
        return self._weights[key]

    def _costs(self, groups: int, post: int, bits: int, slots: int) -> np.ndarray:
        """Return bounds of the cycles per image, layer by layer, shared between shapes."""
        def total(engine: str, rows: int, lanes: int) -> int:
            engines = self._engines(rows, lanes, rows, lanes)
            probe = self._probe(engines, groups, post, bits)
            return sum(
                max(work.cycles(probe, slots)) + LATENCY
                for work in self._works(engines)
                if work.engine == engine
            )

        pooled = total("pool", 8, 8)
        assert self._product is not None
        first = np.array([total("l1", *shape) for shape in self._product.first])
        second = np.array([total("shift", *shape) for shape in self._product.second])
        cycles = pooled + first[self._product.in_first] + second[self._product.in_second]
        return cycles / (groups * slots)

    def _pool_lanes(self) -> int:
        return 4 if self._pooling else 1

    def _config(
        self, shape: tuple[int, int, int, int], groups: int, post: int, bits: int, slots: int
    ) -> Config | None:
        """Return the configuration with memories just large enough, by the estimates."""
        engines = self._engines(*shape)
        probe = self._probe(engines, groups, post, bits)
        words = 0
        for work in self._works(engines):
            engine = engines.get(work.engine)
            if engine is not None:
                each = work.words(probe, engine.rows, engine.lanes, engine.code_width)
                words += work.blocks(engine.rows) * work.steps(engine.lanes) * each
        return None if words > 1 << 20 else self._with_memories(probe, words, slots)

    def _probe(self, engines: dict[str, Any], groups: int, post: int, bits: int) -> Config:
        """Return a configuration whose memories are not yet sized."""
        return Config(**self._fixed(), **engines, groups=groups, post_width=post, load_bits=bits,
                      pool_lanes=self._pool_lanes(), scratch_bytes=1 << 14)  # fmt: skip

    def _with_memories(self, probe: Config, words: int, slots: int) -> Config:
        return replace(
            probe,
            weight_words=max(words, 1),
            scratch_bytes=-(-max(self._scratch * slots, 64) // probe.banks) * probe.banks,
            param_records=self._needs.records,
            program_words=max(self._needs.instructions, 64),
        )

    def _blocks(self, config: Config) -> int:
        return sum(block_rams(one, self._device.family) for one in memories(config))

    def _fits(self, config: Config) -> bool:
        return (
            luts(config, self._device.family) <= FILL * self._device.luts
            and self._blocks(config) <= self._device.block_rams
        )

    def exact(self, ranked: _Ranked) -> Candidate | None:
        """Compile for a candidate and fit its memories to what the program takes."""
        roomy = replace(ranked.config, **LARGE)
        batch = ranked.config.groups * ranked.slots
        try:
            program = self._compiled(roomy, batch)
        except CompileError:
            return None
        sizes = {space: len(raw) for space, _, raw in program.sections}
        banks = roomy.banks
        scratch = max(place.base + place.size for place in program.placements)
        config = replace(
            roomy,
            scratch_bytes=-(-max(scratch, 64) // banks) * banks,
            weight_words=max(sizes.get(Space.WEIGHTS, 0) // (roomy.load_bits // 8), 1),
            param_records=max(sizes[Space.PARAMS] // param_layout(roomy).bytes, 1),
            program_words=max(sizes[Space.PROGRAM] // 4, 64),
        )
        config = self._rounded(config)
        if not self._fits(config):
            return None
        layers = estimate(program, roomy)
        return Candidate(
            config=config,
            batch=batch,
            cycles=run_cycles(layers),
            luts=round(luts(config, self._device.family)),
            block_rams=self._blocks(config),
            limit=self._limit(config, ranked.slots),
        )

    def _rounded(self, config: Config) -> Config:
        """Fill the last block RAMs of the program memories, for programs a little larger."""
        for name in ("weight_words", "param_records", "program_words"):
            depth = 512 if self._device.family != "ice40" else 256
            larger = replace(config, **{name: -(-getattr(config, name) // depth) * depth})
            if self._blocks(larger) == self._blocks(config):
                config = larger
        return config

    def _limit(self, config: Config, slots: int) -> str:
        """Return what most cycles go to, by the bounds."""
        spent: dict[str, int] = {}
        for work in self._works({"l1": config.l1, "shift": config.shift}):
            engine, weights, drain = work.cycles(config, slots)
            name = work.engine
            if drain > max(engine, weights):
                name = "post-processor"
            elif weights > engine:
                name = "weights"
            spent[name] = spent.get(name, 0) + max(engine, weights, drain)
        return max(spent, key=lambda name: spent[name])

    def too_small(self) -> str:
        """Return one line: what is short, by how much, and what would fit."""
        slots = 1 if self._batch is None else self._batch
        tried = [
            config
            for shape in self._shapes(small=True)
            for bits in WORDS[:3]
            if (config := self._config(shape, 1, 1, bits, slots)) is not None
        ]
        if not tried:
            return f"{self._graph.name} has more weights than any memory here holds"
        family = self._device.family
        least_luts = min(tried, key=lambda c: luts(c, family))
        least_rams = min(tried, key=lambda c: (self._blocks(c), luts(c, family)))
        room, rams = int(FILL * self._device.luts), self._device.block_rams
        short = []
        if (need := round(luts(least_luts, family))) > room:
            short.append(f"{need - room:,} LUTs short ({need:,} of {room:,} usable)")
        if (need := self._blocks(least_rams)) > rams:
            short.append(f"{need - rams:,} block RAMs short ({need:,} of {rams:,})")
        if not short:
            short.append("LUTs and block RAMs suffice one by one, but not for one accelerator")
        ways = []
        if slots > 1:
            ways.append("fewer images at once")
        if need > rams:
            ways.append("quantising with narrower weights (--weight-bits)")
        ways += [f"{d.name}" for d in DEVICES.values() if d.luts > self._device.luts
                 and any(luts(c, d.family) <= FILL * d.luts
                         and sum(block_rams(m, d.family) for m in memories(c)) <= d.block_rams
                         for c in (least_luts, least_rams))][:3]  # fmt: skip
        hint = f"; what may help: {', '.join(ways)}" if ways else ""
        return (f"{self._device.name} is too small for {self._graph.name} with {slots} "
                f"image{'s' * (slots > 1)} at once: {' and '.join(short)}{hint}")  # fmt: skip

"""Area, memories and a bound of the cycles of all accelerators of a variant at once.

Area and memories are sums of parts, cycles of layers, and each depends on few of the sizes. So
every part is computed once for each of its sizes, as an array, and added up where it may fit.
Axes of the arrays: rows and lanes of an engine, groups, slots, results a cycle, bits of a word.
"""

from collections import Counter
from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from pyhw.families import find_family
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.registry import POOLING, engine_of

from ..fitter import area
from .memories import Memory, block_rams, memories, single_port_blocks, word_blocks
from .point import Point, Shape, Variant, least_engine
from .space import GROUPS, POST, DesignSpace
from .work import LATENCY, Sizes, Work, sizes_of, stored_once

__all__ = ["Bound"]


def _outer(sizes: list[np.ndarray]) -> Any:
    """Return the sums of one entry of each array, an axis for each."""
    return reduce(np.add.outer, sizes)


class Bound:
    """Bounds for the variants of a design space.

    Parameters
    ----------
    space : DesignSpace
    slots : int array (groups, choices)
        Images a group to try, for each of `GROUPS`.
    small : bool
        Whether to try only what is small.
    batch : int or None
        Images at once; None for as many as there is room for.
    """

    def __init__(
        self, space: DesignSpace, slots: np.ndarray, small: bool, batch: int | None
    ) -> None:
        self._space, self._small, self._batch = space, small, batch
        self._family, self._words = space.device.family, space.words
        cells = space.room - area.unpaired(self._family, space.overlap)
        self._room = cells / find_family(self._family).lut_share
        self._groups = np.array(GROUPS[:2] if small else GROUPS)
        self._slots = slots[: len(self._groups)]
        self._cycles: dict[tuple[Any, ...], np.ndarray] = {}
        self._visits: dict[tuple[Any, ...], np.ndarray] = {}

    def points(self, variant: Variant, worst: float, count: int, by_area: bool
               ) -> Iterator[tuple[float, Point]]:  # fmt: skip
        """Yield the points that fit and cost less than `worst`, at most `count` for all widths.

        Cost is cycles an image, or (`by_area`) LUT4s.
        """
        space = self._space
        shapes = space.shapes(self._small, variant.taps)
        axes = tuple(map(len, shapes.values()))
        plain = Config.of(**space.fixed(variant),
                          **space.engines({name: each[0] for name, each in shapes.items()}))
        cycles = [self._engine_cycles(variant, plain, *one) for one in shapes.items()]
        pooled = self._pool_cycles(variant, plain)
        sizes = [self._engine_luts(plain, *one) for one in shapes.items()]
        bits = self._result_bits(plain, shapes)
        shared, banks = area.results(plain, 1, bits), np.zeros_like(bits)
        if not plain.build.distributed:
            banks = 2 * word_blocks(plain.burst_depth, bits, self._family)
        words = [self._engine_words(variant, plain, *one) for one in shapes.items()]
        lanes = [np.array([shape[1] for shape in each]) for each in shapes.values()]
        reads = np.maximum(reduce(np.maximum.outer, lanes), variant.pool_lanes)
        copies = self._prototype_blocks(plain, shapes)
        for g, groups in enumerate(self._groups):
            rest = [self._rest(plain, variant, int(groups), post, np.unique(reads))
                    for post in POST]  # fmt: skip
            where = np.searchsorted(np.unique(reads), reads)
            for s, slots in enumerate(self._slots[g]):
                if not slots:
                    continue
                for p, b in np.ndindex(len(POST), len(self._words)):
                    luts, blocks = rest[p][0], rest[p][1][int(slots)]
                    size_of = [each[:, g, b] for each in sizes]
                    room = self._room - luts.min() - area.WORD_BIT * self._words[b]
                    here = [each[:, g, s, p, b] for each in cycles]
                    least = [each.min() for each in size_of]
                    fit = [each <= room - sum(least[:k] + least[k + 1:])
                           for k, each in enumerate(size_of)]
                    if not all(each.any() for each in fit):
                        continue
                    share = float(min(groups * slots, self._batch or groups * slots))
                    pool = pooled[g, s, p, b]
                    if not by_area and (
                        sum(each[fits].min() for each, fits in zip(here, fit, strict=True)) + pool
                    ) / share >= worst:
                        continue
                    size = _outer(size_of) + luts[where] + area.WORD_BIT * self._words[b]
                    size = size + groups * shared
                    each = (_outer(here) + pool) / share
                    cost = size + each * 1e-9 if by_area else each
                    total = _outer([each[:, b] for each in words])
                    fits = (size <= self._room) & (cost < worst)
                    if not fits.any():
                        continue
                    held = blocks[where] + copies[..., b] + groups * banks
                    stored = np.maximum(total, 1), self._words[b]
                    if plain.build.single_port:
                        fits &= single_port_blocks(*stored) <= space.device.single_port_rams
                    else:
                        held = held + word_blocks(*stored, self._family)
                    fits &= held <= space.device.block_rams
                    cost = np.where(fits, cost, np.inf).ravel()
                    for index in np.argpartition(cost, min(count, cost.size - 1))[:count]:
                        if cost[index] < np.inf:
                            chosen = dict(zip(shapes, np.unravel_index(index, axes), strict=True))
                            yield float(cost[index]), Point(
                                variant=variant,
                                shapes={name: shapes[name][i] for name, i in chosen.items()},
                                groups=int(groups), post=POST[p], bits=self._words[b],
                                slots=int(slots))  # fmt: skip

    def _engine(self, name: str, shape: Shape) -> EngineConfig:
        return self._space.engines({name: shape})[name]

    def _prototype_blocks(self, plain: Config, shapes: dict[str, list[Shape]]) -> np.ndarray:
        """Return block RAMs of prototypes, by the shapes of every engine and words."""
        name, axes = plain.masked, tuple(map(len, shapes.values()))
        if name is None or not plain.weights.prototypes:
            return np.zeros((*axes, len(self._words)), np.int64)
        store = Memory(name="prototypes", depth=plain.weights.prototypes,
                       width=max(engine_of(name).code_widths))  # fmt: skip
        blocks = block_rams(store, self._family) * self._visits_of(plain, name, shapes[name])[1]
        own = [len(each) if one == name else 1 for one, each in shapes.items()]
        return np.asarray(blocks.reshape(*own, -1))

    def _visits_of(self, plain: Config, name: str, shapes: list[Shape]) -> tuple[Any, Any]:
        """Return the expander's visits a step and codes a cycle, (shapes, words)."""
        key = plain.weights.prototypes, plain.burst_depth, tuple(shapes)
        if key not in self._visits:
            found = np.zeros((2, len(shapes), len(self._words)), np.int64)
            for i, shape in enumerate(shapes):
                engine = self._engine(name, shape)
                for b, bits in enumerate(self._words):
                    one = plain.changed(**{name: engine}, taps=0, load_bits=bits,
                                        scratch_bytes=1 << 14)  # fmt: skip
                    found[:, i, b] = sizes_of(one, name).visits, one.expand_lanes
            self._visits[key] = found
        return self._visits[key][0], self._visits[key][1]

    def _works(self, variant: Variant, name: str, lanes: int, once: bool) -> Counter[Work]:
        """Return the layers of an engine, alike ones together; `once`: that store weights."""
        works = [one for one in self._space.works(variant, lanes) if one.engine == name]
        return Counter(one.alike for one in (stored_once(works) if once else works))

    def _engine_cycles(self, variant: Variant, plain: Config, name: str,
                       shapes: list[Shape]) -> np.ndarray:  # fmt: skip
        """Return cycles of an engine's layers: (shapes, groups, slots, post, words)."""
        out = np.zeros((len(shapes), *self._slots.shape, len(POST), len(self._words)))
        for chosen, sizes, work, count in self._layers(variant, plain, name, shapes):
            out[chosen] += count * self._work_cycles(work, sizes)
        return out

    def _layers(self, variant: Variant, plain: Config, name: str, shapes: list[Shape],
                once: bool = False) -> Iterator[tuple[list[int], Sizes, Work, int]]:  # fmt: skip
        """Yield the shapes of equal lanes with their sizes, and each layer with how often it is."""
        visits = np.zeros((len(shapes), len(self._words)), np.int64)
        if name == plain.masked and plain.weights.prototypes:
            visits = self._visits_of(plain, name, shapes)[0]
        for lanes in {shape[1] for shape in shapes}:
            chosen = [i for i, shape in enumerate(shapes) if shape[1] == lanes]
            sizes = self._sizes(plain, plain.engines[name].code_width, lanes,
                                np.array([shapes[i][0] for i in chosen]), visits[chosen])
            for work, count in self._works(variant, name, lanes, once).items():
                yield chosen, sizes, work, count

    def _sizes(self, plain: Config, code_width: int, lanes: int, rows: np.ndarray,
               visits: np.ndarray) -> Sizes:  # fmt: skip
        return Sizes(
            rows=rows.reshape(-1, 1, 1, 1, 1), lanes=lanes, code_width=code_width,
            groups=self._groups.reshape(-1, 1, 1, 1), pool_lanes=plain.pool.lanes,
            taps=plain.depthwise.columns, burst_depth=plain.burst_depth,
            load_bits=np.array(self._words),
            post_width=np.array(POST).reshape(-1, 1), read_lanes=max(lanes, plain.pool.lanes),
            visits=visits.reshape(len(rows), 1, 1, 1, -1), held=not plain.build.distributed)

    def _work_cycles(self, work: Work, sizes: Sizes) -> np.ndarray:
        key: tuple[Any, ...] = (work, sizes.lanes, sizes.rows.tobytes(), sizes.burst_depth,
                                sizes.visits.tobytes())  # fmt: skip
        if work.engine == POOLING or work.chain or work.pads:
            key += sizes.pool_lanes, sizes.taps
        if key not in self._cycles:
            slots = np.maximum(self._slots, 1)[None, :, :, None, None]
            engine, weights, drain = work.cycles(sizes, slots)
            self._cycles[key] = np.maximum(np.maximum(engine, weights), drain) + LATENCY
        return self._cycles[key]

    def _pool_cycles(self, variant: Variant, plain: Config) -> np.ndarray:
        sizes = self._sizes(plain, 8, 1, np.ones(1, np.int64),
                            np.zeros((1, len(self._words)), np.int64))  # fmt: skip
        out = np.zeros((1, *self._slots.shape, len(POST), len(self._words)))
        for work, count in self._works(variant, POOLING, 8, False).items():
            out += count * self._work_cycles(work, sizes)
        return np.asarray(out[0])

    def _engine_luts(self, plain: Config, name: str, shapes: list[Shape]) -> np.ndarray:
        """Return LUT4s of an engine and what belongs to it: (shapes, groups, words)."""
        engines = [self._engine(name, shape) for shape in shapes]
        rows, lanes, acc = (np.array(values).reshape(-1, 1, 1) for values in zip(
            *((e.rows, e.lanes, e.acc_width) for e in engines), strict=True))  # fmt: skip
        size = area.engine(name, plain, self._groups.reshape(-1, 1), rows, lanes, acc,
                           np.array(self._words), engines[0].code_width)  # fmt: skip
        if name == plain.masked and plain.weights.prototypes:
            made = self._visits_of(plain, name, shapes)[1][:, None, :]
            size = size + area.expander(made, np.array(self._words))
        return np.asarray(size)

    def _result_bits(self, plain: Config, shapes: dict[str, list[Shape]]) -> np.ndarray:
        """Return the bits of a group's accumulators, an axis for the shapes of each engine."""
        found = {}
        for axis, (name, each) in enumerate(shapes.items()):
            engines = [self._engine(name, shape) for shape in each]
            own = [1] * axis + [-1] + [1] * (len(shapes) - axis - 1)
            found[name] = (np.array([engine.rows for engine in engines]).reshape(own),
                           np.array([engine.acc_width for engine in engines]).reshape(own))
        return np.asarray(area.result_bits(plain, found))

    def _engine_words(self, variant: Variant, plain: Config, name: str,
                      shapes: list[Shape]) -> np.ndarray:  # fmt: skip
        """Return weight words of an engine's layers: (shapes, words)."""
        out = np.zeros((len(shapes), len(self._words)), np.int64)
        for chosen, sizes, work, count in self._layers(variant, plain, name, shapes, once=True):
            words = np.broadcast_to(work.words(sizes), (len(chosen), 1, 1, 1, len(self._words)))
            out[chosen] += count * words[:, 0, 0, 0]
        return out

    def _rest(self, plain: Config, variant: Variant, groups: int, post: int, reads: np.ndarray
              ) -> tuple[np.ndarray, dict[int, np.ndarray]]:  # fmt: skip
        """Return LUT4s without engines and words, and block RAMs without weights, by lanes read."""
        luts: list[float] = []
        blocks: dict[int, list[int]] = {int(s): [] for s in self._slots.ravel() if s}
        for read in reads:
            one = least_engine(rows=max(plain.depthwise.columns, 1), lanes=int(read))
            probe = plain.changed(**dict.fromkeys(plain.engines) | one, groups=groups,
                                  post_width=post, prototypes=0,
                                  scratch_bytes=1 << 14)  # fmt: skip
            luts.append(
                area.pooling(probe, groups) + area.window(groups, read)
                + area.scratchpad(probe, groups, probe.banks, post)
                + area.post_processor(probe, post) + area.control(probe))  # fmt: skip
            for slots, counts in blocks.items():
                held = self._space.with_memories(probe, 1, slots)
                counts.append(sum(
                    block_rams(memory, self._family) for memory in memories(held)
                    if memory.name not in ("weights", "accumulators")))  # fmt: skip
        return np.array(luts), {slots: np.array(counts) for slots, counts in blocks.items()}

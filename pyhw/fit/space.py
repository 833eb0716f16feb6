"""The accelerators that a graph could have: their shapes, sizes and bounds of their cycles."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from hdl.config import Config, EngineConfig
from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.graph.ops import Graph

from .area import FAMILY_SHARE, area, luts
from .devices import Device
from .memories import Memory, block_rams, memories
from .work import LATENCY, Needs, Work, needs, work_of

__all__ = ["FILL", "GROUPS", "LARGE", "POST", "SIDES", "SLOTS", "WORDS", "DesignSpace", "Shape"]

FILL = 0.9
"""Share of a device's LUTs that a design may take; place and route needs the rest."""
GROUPS = (1, 2, 3, 4, 6, 8, 12, 16)
SLOTS = (1, 2, 4)
"""Images a group."""
SIDES = (1, 2, 4, 8, 16, 32, 64)
"""Rows and lanes of an engine."""
POST = (1, 2, 4, 8, 16, 32)
"""Results post-processed in a cycle."""
WORDS = (32, 64, 128, 256, 512)
"""Bits of a weight word."""
BURST = 32
LARGE: dict[str, Any] = {
    "scratch_bytes": 1 << 22, "weight_words": 1 << 22, "param_records": 1 << 16,
    "program_words": 1 << 16,
}  # fmt: skip
"""Memories that hold any program."""

Shape = tuple[int, int, int, int]
"""Rows and lanes of the L1 engine, then of the shift engine."""


class _Product:
    """Shapes of two engines, and where each shape's halves stand in the lists of all halves."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.first = sorted({shape[:2] for shape in shapes})
        self.second = sorted({shape[2:] for shape in shapes})
        self.lanes = sorted({max(shape[1], shape[3]) for shape in shapes})
        self.in_first = np.array([self.first.index(shape[:2]) for shape in shapes])
        self.in_second = np.array([self.second.index(shape[2:]) for shape in shapes])
        self.in_lanes = np.array([self.lanes.index(max(s[1], s[3])) for s in shapes])


class DesignSpace:
    """The accelerators for one graph on one device.

    Parameters
    ----------
    graph : Graph
        Verified.
    device : Device

    Raises
    ------
    UserError
        If no accelerator can run the graph, whatever its size.
    """

    def __init__(self, graph: Graph, device: Device) -> None:
        self._graph, self._device = graph, device
        self._name = re.sub(r"\W", "_", f"{graph.name}_{device.name}")
        if not self._name.isidentifier():
            self._name = "fitted"
        self._needs = needs(graph)
        self._work: dict[tuple[int, ...], list[Work]] = {}
        self._shares: dict[tuple[str, int, int, int, int], tuple[float, int]] = {}
        self._product: _Product | None = None
        self._weights: dict[tuple[int, int], int] = {}
        self._scratch = self._scratch_bytes()
        self._pooling = any(w.engine == "pool" for w in self.works(self.engines(4, 8, 4, 8)))

    def engines(self, rows: int, lanes: int, rows2: int, lanes2: int) -> dict[str, Any]:
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

    def works(self, engines: dict[str, Any]) -> list[Work]:
        """Return the layers as engines of these lanes run them."""
        key = tuple(e.lanes if e else 0 for e in engines.values())
        if key not in self._work:
            probe = Config(**self._fixed(), **engines)
            self._work[key] = work_of(self._graph, probe)
        return self._work[key]

    def _scratch_bytes(self) -> int:
        """Return the bytes of one image slot."""
        engines = self.engines(16, 16, 16, 16)
        try:
            program = self.compiled(Config(**self._fixed() | LARGE, **engines, load_bits=512), 1)
        except CompileError as error:
            raise UserError(f"no accelerator can run it: {error}") from None
        return max(place.base + place.size for place in program.placements)

    def compiled(self, config: Config, batch: int) -> Program:
        """Return the graph's program."""
        return compile_graph(self._graph, config, batch)

    def shapes(self, small: bool) -> Iterator[Shape]:
        """Yield every combination of shapes, or only those with sides up to 16."""
        sides = [s for s in SIDES if not small or s <= 16]
        one = [(1, 1)]
        first = list(itertools.product(sides, sides)) if self._needs.l1 else one
        second = list(itertools.product(sides, sides)) if self._needs.shift else one
        for (rows, lanes), (rows2, lanes2) in itertools.product(first, second):
            yield rows, lanes, rows2, lanes2

    def sizes(self, shapes: list[Shape], groups: int, post: int, bits: int,
               slots: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return LUTs and block RAMs, as `luts` and `block_rams` of the whole have them.

        Area and memories are sums, so the engines' shares are computed once for each shape and
        the rest once for each width of the vectors.
        """
        family = self._device.family

        def engine(name: str, rows: int, lanes: int) -> tuple[float, int]:
            key = (name, rows, lanes, groups, bits)
            if key not in self._shares:
                engines = self.engines(rows, lanes, rows, lanes)
                one = engines[name]
                if one is None:
                    self._shares[key] = 0.0, 0
                else:
                    probe = self._probe({"l1": None, "shift": None} | {name: one},
                                        groups, post, bits)  # fmt: skip
                    words = sum(
                        work.blocks(rows) * work.steps(lanes)
                        * work.words(probe, rows, lanes, one.code_width)
                        for work in self.works(engines) if work.engine == name
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

    def costs(self, groups: int, post: int, bits: int, slots: int) -> np.ndarray:
        """Return bounds of the cycles per image, layer by layer, shared between shapes."""

        def total(engine: str, rows: int, lanes: int) -> int:
            engines = self.engines(rows, lanes, rows, lanes)
            probe = self._probe(engines, groups, post, bits)
            return sum(
                max(work.cycles(probe, slots)) + LATENCY
                for work in self.works(engines)
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

    def config(self, shape: Shape, groups: int, post: int, bits: int, slots: int) -> Config | None:
        """Return the configuration with memories just large enough, by the estimates."""
        engines = self.engines(*shape)
        probe = self._probe(engines, groups, post, bits)
        words = 0
        for work in self.works(engines):
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

    def blocks(self, config: Config) -> int:
        """Return the block RAMs of a configuration on the device."""
        return sum(block_rams(one, self._device.family) for one in memories(config))

    def fits(self, config: Config) -> bool:
        """Return whether the device holds a configuration."""
        return (
            luts(config, self._device.family) <= FILL * self._device.luts
            and self.blocks(config) <= self._device.block_rams
        )

    def rounded(self, config: Config) -> Config:
        """Fill the last block RAMs of the program memories, for programs a little larger."""
        for name in ("weight_words", "param_records", "program_words"):
            depth = 512 if self._device.family != "ice40" else 256
            larger = replace(config, **{name: -(-getattr(config, name) // depth) * depth})
            if self.blocks(larger) == self.blocks(config):
                config = larger
        return config

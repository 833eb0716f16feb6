"""The accelerators that a graph could have: what they are made of, and which a device holds."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.families import Device, find_family
from pyhw.graph.ops import Graph
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.instruction import instruction

from .area import cells
from .memories import block_rams, memories, single_port_rams
from .needs import Needs, needs
from .point import Point, Shape, Variant, least_engine
from .work import Work, sizes_of, stored_once, work_of

__all__ = ["FILL", "GROUPS", "LARGE", "POST", "SIDES", "SLOTS", "WORDS", "DesignSpace"]  # fmt: skip

FILL = 0.92
"""Share of a device's LUTs that a design may take; place and route needs the rest."""
LEAN = 10_000
"""LUT4s up to which a device's specialised accelerators keep one instruction instead of three, and
have no performance counters."""
GROUPS = (1, 2, 3, 4, 6, 8, 12, 16)
SLOTS = (1, 2, 4)
"""Images a group."""
SIDES = (1, 2, 4, 8, 16, 32, 64)
"""Rows and lanes of an engine that are tried for every graph; others if the graph fills them."""
NINES = (3,)
"""More sides, where words of 18 and 36 bits are tried: these hold threes of codes."""
FILLED, OTHERS = 0.93, 5
"""Share of an engine's rows or lanes that other sides must keep at work, and the most of them."""
POST = (1, 2, 4, 6, 8, 12, 16, 32)
"""Results post-processed in a cycle."""
WORDS = (32, 64, 128, 256, 512)
"""Bits of a weight word."""
LEAN_WORDS = (8, 16, 18, 32, 36, 64)
"""The same on the smallest devices; 18 and 36 where blocks have nine bits a byte."""
BURSTS = (16, 32)
"""Positions of a burst; a family without RAM in LUTs takes 16."""
PAYLOAD = 1024
"""Most bytes of a frame; fewer where two of them take more than a block RAM."""
POOLS = (1, 2, 4, 8)
"""Lanes of the pooling unit."""
CHAINED = (4, 8, 16, 32)
"""The same, with chains of taps behind them."""
MOST_BANKS = 128
"""Banks of a scratchpad, to a multiple of which it is rounded."""
LARGE: dict[str, Any] = {
    "scratch_bytes": 1 << 22, "weight_words": 1 << 22, "param_records": 1 << 16,
    "program_words": 1 << 16,
}  # fmt: skip
"""Memories that hold any program."""


class DesignSpace:
    """The accelerators for one graph on one device.

    Parameters
    ----------
    graph : Graph
        Verified.
    device : Device
    specialise : bool
        Accelerators whose control holds this graph's program and no more.
    fill : float
        Share of the device's LUTs that may be taken.
    fold : bool
        As for `compile_graph`.

    Raises
    ------
    UserError
        If no accelerator can run the graph, whatever its size.
    """

    def __init__(self, graph: Graph, device: Device, specialise: bool = False, fill: float = FILL,
                 fold: bool = True) -> None:
        self.graph, self.device, self.fill, self._fold = graph, device, fill, fold
        self.family = find_family(device.family)
        self.room = fill * device.luts
        """LUTs for accelerators."""
        # Every program has this one; others are known when there is a program.
        self.ranges = {"control.slots_from_run": (1, 1)} if specialise else {}
        self.overlap = device.luts > LEAN or not specialise
        self._name = re.sub(r"\W", "_", f"{graph.name}_{device.name}")
        if not self._name.isidentifier():
            self._name = "fitted"
        self.needs: Needs = needs(graph)
        self.words = WORDS if self.overlap else tuple(
            bits for bits in LEAN_WORDS if bits % 9 or (
                self.family.nine_bit_bytes and not self.needs.prototypes))
        """Bits of a weight word to try."""
        self.sides = SIDES + NINES * any(bits % 9 == 0 for bits in self.words)
        """Rows and lanes to try."""
        self._work: dict[tuple[tuple[int, ...], bool], list[Work]] = {}
        plain = Variant(taps=0, pool_lanes=4, burst_depth=16, prototypes=0,
                        second_step=self.needs.second_step)  # fmt: skip
        self._sides = {name: self._sides_of(name, plain) for name in self.needs.engines}
        self._pooling = any(w.engine == POOLING for w in self.works(plain, 8))
        self.scratch = self._scratch_bytes(plain)
        """Bytes of one image slot."""

    def variants(self) -> Iterator[Variant]:
        """Yield every choice of what is not a shape or a width."""
        need = self.needs
        chains = {c for width in need.kernels for c in range(1, min(width, 8) + 1)
                  if width % c == 0}  # fmt: skip
        bursts = BURSTS if self.family.lut_ram else BURSTS[:1]
        steps = sorted({False, need.second_step})
        # Masks are taken wherever they take less memory than codes.
        for taps, burst, second, codes in itertools.product(
            sorted({0} | chains), bursts, steps, [need.prototypes]
        ):
            for pool in CHAINED if taps else POOLS if self._pooling else POOLS[:1]:
                yield Variant(taps=taps, pool_lanes=pool, burst_depth=burst, second_step=second,
                              prototypes=codes)  # fmt: skip

    def shapes(self, small: bool, taps: int) -> dict[str, list[Shape]]:
        """Return the rows and lanes of every engine to try; `small`: of sides up to 16."""
        found = {}
        for name, (rows, lanes) in self._sides.items():
            if small:
                rows = lanes = [side for side in self.sides if side <= 16]
            found[name] = [(r, n) for r in rows for n in lanes if r >= taps]
        return found or {name: [(1, 1)] for name in least_engine()}

    def _sides_of(self, name: str, plain: Variant) -> tuple[list[int], list[int]]:
        """Return the rows and the lanes of an engine to try: those that layers fill."""
        rows, lanes = list(self.sides), list(self.sides)
        works = [w for w in self.works(plain, 16) if w.engine == name and not w.chain]
        terms = [w.positions * w.channels * w.runs * w.run * w.digits for w in works]
        for sides, sizes in ((rows, [w.block for w in works]), (lanes, [w.run for w in works])):
            filled = {
                side: sum(terms) / sum(t * -(-s // side) * side / s
                                       for t, s in zip(terms, sizes, strict=True))
                for side in range(6, SIDES[-1]) if side not in self.sides and works
            }  # fmt: skip
            best = sorted(filled, key=lambda side: (-filled[side], side))[:OTHERS]
            sides += [side for side in best if filled[side] > FILLED]
        return sorted(rows), sorted(lanes)

    def engines(self, shapes: Mapping[str, Shape]) -> dict[str, EngineConfig]:
        """Return engines of these shapes as the graph needs them; a configuration has one."""
        needs = self.needs.engines
        return {
            name: EngineConfig(rows=rows, lanes=lanes, acc_width=needs[name].acc_width(lanes),
                               code_width=needs[name].code_width)
            for name, (rows, lanes) in shapes.items() if name in needs
        } or least_engine()

    def fixed(self, variant: Variant) -> dict[str, Any]:
        """Return the fields that the graph and a variant decide."""
        need, payload = self.needs, min(PAYLOAD, self.family.byte_words // 2)
        return {
            "name": self._name,
            "pool_lanes": variant.pool_lanes,
            "pool_acc_width": need.chain_acc_width if variant.taps else need.pool_acc_width,
            "pool_max": need.pool_max,
            "taps": variant.taps,
            "prototypes": variant.prototypes,
            "terms": need.terms,
            "exponent": need.exponent,
            "sum_bits": need.sum_bits,
            "tables": need.tables,
            "residual_terms": need.residual_terms,
            "residual_wide": need.residual_wide,
            "second_step": variant.second_step,
            "burst_depth": variant.burst_depth,
            "max_payload": payload if self.overlap else 64,
            "distributed": self.family.lut_ram,
            "single_port": self.device.single_port_rams > 0,
            "index_entries": need.index_entries,
            "ranges": self.ranges,
            "overlap": self.overlap,
            "counted_layers": int(self.overlap),
        }

    def works(self, variant: Variant, lanes: int | Mapping[str, int]) -> list[Work]:
        """Return the layers as engines of these lanes run them, all alike or by name."""
        names = list(self.needs.engines)
        each = tuple(lanes if isinstance(lanes, int) else lanes[name] for name in names)
        key = each, variant.second_step
        if key not in self._work:
            plain = replace(variant, taps=0)
            engines = self.engines({name: (8, n) for name, n in zip(names, each, strict=True)})
            self._work[key] = work_of(self.graph, Config.of(**self.fixed(plain), **engines))
        return self._work[key]

    def _scratch_bytes(self, plain: Variant) -> int:
        engines = self.engines(dict.fromkeys(self.needs.engines, (16, 16)))
        try:
            program = self.compiled(
                Config.of(**self.fixed(plain) | LARGE, **engines, load_bits=512), 1)  # fmt: skip
        except CompileError as error:
            raise UserError(f"no accelerator can run it: {error}") from None
        return max(place.base + place.size for place in program.placements)

    def compiled(self, config: Config, batch: int) -> Program:
        """Return the graph's program."""
        return compile_graph(self.graph, config, batch, fold=self._fold)

    def config(self, point: Point) -> Config | None:
        """Return the configuration with memories just large enough, by the estimates."""
        probe = self.probe(point)
        engines = probe.engines
        lanes = {name: shape[1] for name, shape in point.shapes.items()}
        words = sum(
            int(work.words(sizes_of(probe, work.engine)))
            for work in stored_once(self.works(point.variant, lanes))
            if work.engine in engines
        )
        if words > 1 << 20 or not self.holds(point.slots):
            return None
        return self.with_memories(probe, words, point.slots)

    def holds(self, slots: int) -> bool:
        """Return whether any scratchpad holds so many images a group."""
        return self.scratch * slots <= LARGE["scratch_bytes"] - MOST_BANKS

    def probe(self, point: Point) -> Config:
        """Return a configuration whose memories are not yet sized."""
        return Config.of(**self.fixed(point.variant), **self.engines(point.shapes),
                         groups=point.groups, post_width=point.post, load_bits=point.bits,
                         scratch_bytes=1 << 14)  # fmt: skip

    def with_memories(self, probe: Config, words: int, slots: int) -> Config:
        """Return a configuration with so many weight words and image slots."""
        return probe.changed(
            weight_words=max(words, 1),
            scratch_bytes=-(-max(self.scratch * slots, 64) // probe.banks) * probe.banks,
            param_records=max(self.needs.records, 1),
            program_words=max(self.needs.layers * instruction(probe).words + 1, 64),
        )

    def blocks(self, config: Config) -> int:
        """Return the block RAMs of a configuration on the device."""
        return sum(block_rams(one, self.device.family) for one in memories(config))

    def single_ports(self, config: Config) -> int:
        """Return the single-port blocks of a configuration."""
        return sum(map(single_port_rams, memories(config)))

    def fits(self, config: Config) -> bool:
        """Return whether the device holds a configuration."""
        return (
            cells(config, self.device.family) <= self.room
            and self.blocks(config) <= self.device.block_rams
            and self.single_ports(config) <= self.device.single_port_rams
        )

    def rounded(self, config: Config) -> Config:
        """Fill the last block RAMs of the program memories, for programs a little larger."""
        for name in ("weight_words", "param_records", "program_words"):
            depth = self.family.block_shapes[0][0]
            larger = config.changed(**{name: -(-config.value(name) // depth) * depth})
            if (self.blocks(larger), self.single_ports(larger)) == (
                    self.blocks(config), self.single_ports(config)):
                config = larger
        return config


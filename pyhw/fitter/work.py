"""The layers of a graph as an accelerator runs them, and a quick bound of their cycles.

The bound ranks hundreds of thousands of shapes, so everything here takes arrays of sizes as well as
single ones; `pyhw.compiler.cycles` then gives the exact figures of a few.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyhw.compiler.fold import fold_input
from pyhw.compiler.loop_nest import LoopNest
from pyhw.compiler.lower import split_steps
from pyhw.compiler.lowering import LayerShape, lowering_of
from pyhw.graph.infer import types
from pyhw.graph.ops import Graph, MapType
from pyhw.hdl.config import Config
from pyhw.hdl.expansion import BURST_RESTART, visit_count
from pyhw.hdl.packing import codes_per_word, word_count

__all__ = ["LATENCY", "Sizes", "Work", "sizes_of", "stored_once", "work_of"]

RESIDUAL = 1.6
"""Cycles for each result of a sum that lies where its residual lay, about: most of a burst's
results and residuals meet in a bank (1.4 to 1.75 by the exact model, ResNet-8)."""
LATENCY = 60
"""Cycles of a layer in which its first vectors and last results are under way, about."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a layer's cycles depend on; each is an int, and those with a * may be int arrays.

    Attributes
    ----------
    rows*, lanes*, code_width : int
        Of the layer's engine (pooling: 1).
    groups*, pool_lanes, taps, burst_depth, load_bits*, post_width* : int
        As in `Config`.
    read_lanes* : int
        Bytes of a vector.
    visits* : int
        Cycles in which the weight expander makes a step's codes; 0 without one.
    held : bool
        Whether a residual holds the vectors back for a cycle (block RAM) instead of waiting.
    """

    rows: Any
    lanes: Any
    code_width: int
    groups: Any
    pool_lanes: int
    taps: int
    burst_depth: int
    load_bits: Any
    post_width: Any
    read_lanes: Any
    visits: Any = 0
    held: bool = False


def sizes_of(config: Config, engine: str) -> Sizes:
    """Return the sizes of a configuration for the layers of an engine, or of 'pool'."""
    shape, visits = config.engines.get(engine), 0
    if shape is not None and engine == config.masked and config.weights.prototypes:
        per_word = codes_per_word(config.weights.load_bits, shape.code_width)
        visits = visit_count(shape.rows, shape.lanes, per_word, config.expand_lanes)
    return Sizes(
        rows=shape.rows if shape else 1, lanes=shape.lanes if shape else 1,
        code_width=shape.code_width if shape else 8, groups=config.groups,
        pool_lanes=config.pool.lanes, taps=config.depthwise.columns, burst_depth=config.burst_depth,
        load_bits=config.weights.load_bits, post_width=config.post.width,
        read_lanes=config.read_lanes,
        visits=visits, held=not config.build.distributed)  # fmt: skip


class Work(LayerShape):
    """A layer with bounds of what it costs in accelerators of given sizes."""

    @property
    def alike(self) -> "Work":
        """The same for all layers that take the same cycles, whatever their weights are."""
        return replace(self, name="", content="")

    @property
    def stored(self) -> tuple[Any, ...]:
        """What decides the words that the weight memory holds of it."""
        columns = self.columns if self.chain else 0
        return (self.engine, self.content, self.channels, self.block, self.runs, self.run,
                self.digits, self.chain, columns, self.masked, self.pads)

    def together(self, sizes: Sizes) -> int:
        """Return the kernel columns that go through a chain together; 0 without chains."""
        if self.chain is None or not sizes.taps:
            return 0
        width, most = self.chain
        if self.columns > sizes.burst_depth:
            return 1
        return max(c for c in range(1, min(most, sizes.taps) + 1) if width % c == 0)

    def block_rows(self, sizes: Sizes) -> Any:
        """Return the channels of a full block."""
        if self.engine == "pool":
            return np.minimum(sizes.pool_lanes, self.channels)
        if self.together(sizes):
            return np.minimum(np.minimum(sizes.pool_lanes, sizes.lanes), self.channels)
        return np.minimum(sizes.rows, self.block)

    def blocks(self, sizes: Sizes) -> Any:
        """Return the blocks of output channels."""
        whole = self.channels if self.together(sizes) else self.block
        return self.channels // whole * -(-whole // self.block_rows(sizes))

    def steps(self, sizes: Sizes) -> Any:
        """Return the steps of a burst."""
        if together := self.together(sizes):
            return self.runs // together * self.digits
        lanes = 1 if self.engine == "pool" else sizes.lanes
        return self.runs * -(-self.run // lanes) * self.digits

    def step_words(self, sizes: Sizes) -> Any:
        """Return the weight words of a step, or the cycles in which its codes are made."""
        if self.engine == "pool":
            return 0
        together = self.together(sizes)
        if self._expanded(sizes):
            return sizes.visits
        rows = sizes.taps if together else sizes.rows
        codes = word_count(rows * sizes.lanes, sizes.load_bits, sizes.code_width)
        return codes + (word_count(sizes.read_lanes, sizes.load_bits, 8) if self.pads else 0)

    def _expanded(self, sizes: Sizes) -> bool:
        return self.masked and bool(np.any(sizes.visits)) and not self.together(sizes)

    def words(self, sizes: Sizes) -> Any:
        """Return the words that its weights or masks take; masks may share their first word."""
        if self._expanded(sizes):
            return -(-self.channels * self.runs * self.run // sizes.load_bits)
        return self.blocks(sizes) * self.steps(sizes) * self.step_words(sizes)

    def nest(self, sizes: Sizes, slots: Any) -> LoopNest:
        """Return its loops."""
        together, burst = self.together(sizes), sizes.burst_depth
        if together > 1:
            burst = burst // self.columns * self.columns
        return LoopNest(
            columns=self.columns, rows=self.positions // self.columns, slots=slots, burst=burst,
            warmup=max(together - 1, 0), steps=self.steps(sizes), blocks=self.blocks(sizes),
            block_channels=self.block_rows(sizes), channels=self.channels)

    def cycles(self, sizes: Sizes, slots: Any) -> tuple[Any, Any, Any]:
        """Return bounds of a layer for all images: of the engine, the weights and the store
        unit.
        """
        nest = self.nest(sizes, slots)
        here = nest.block_channels
        vectors = here if self.serial else -(-here // sizes.post_width)
        drain = nest.blocks * vectors * nest.positions * sizes.groups
        if self.residual and not sizes.held:
            drain = drain * RESIDUAL
        last = drain // (nest.blocks * nest.bursts)
        engine = nest.vectors + last
        if self.residual and sizes.held:
            engine = engine + drain
        words = nest.steps * self.step_words(sizes)
        if self._expanded(sizes):
            words = words + BURST_RESTART
        return engine, nest.blocks * nest.bursts * words + last, drain


def stored_once(works: Iterable[Work]) -> list[Work]:
    """Return the layers whose weights take words of their own: of those that share, the first."""
    return list({one.stored: one for one in reversed(list(works))}.values())[::-1]


def work_of(graph: Graph, config: Config) -> list[Work]:
    """Return the layers of a graph as a configuration runs them.

    Parameters
    ----------
    graph : Graph
        Verified.
    config : Config
        Only its engines' lanes and `second_step` count.
    """
    graph = split_steps(graph, config)
    folded = fold_input(graph, config, 1)
    known = types(graph)
    known[graph.input.name] = MapType(folded.map.shape, graph.input.fmt)
    return [
        Work(**vars(shape))
        for op in graph.ops[1:]
        for shape in lowering_of(op).shapes(
            folded.conv if folded.conv is not None and op.name == folded.conv.name else op, known
        )
    ]

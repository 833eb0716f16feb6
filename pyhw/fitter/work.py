"""The layers of a graph as an accelerator runs them, and a quick bound of their cycles.

The bound ranks hundreds of thousands of shapes, so everything here takes arrays of sizes as well as
single ones; `pyhw.compiler.cycles` then gives the exact figures of a few.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyhw.compiler.fold import fold_input
from pyhw.compiler.lower import split_steps
from pyhw.graph.infer import formats, shapes
from pyhw.graph.ops import Concat, Conv, Graph, Input, Operation, Pointwise, Pool
from pyhw.hdl.config import Config
from pyhw.hdl.expansion import BURST_RESTART, visit_count
from pyhw.hdl.formats import Format

__all__ = ["LATENCY", "Sizes", "Work", "sizes_of", "work_of"]

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
    if shape is not None and engine == "shift" and config.weights.prototypes:
        per_word = config.weights.load_bits // shape.code_width
        visits = visit_count(shape.rows, shape.lanes, per_word, config.expand_lanes)
    return Sizes(
        rows=shape.rows if shape else 1, lanes=shape.lanes if shape else 1,
        code_width=shape.code_width if shape else 8, groups=config.groups,
        pool_lanes=config.pool.lanes, taps=config.depthwise.columns, burst_depth=config.burst_depth,
        load_bits=config.weights.load_bits, post_width=config.post.width,
        read_lanes=config.read_lanes,
        visits=visits, held=not config.build.distributed)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one layer does for one image.

    Attributes
    ----------
    name, engine : str
        Engine: 'l1', 'shift' or 'pool'.
    positions, columns : int
        Output positions, and those of a row.
    channels : int
        Output channels.
    block : int
        Most channels that may share a block: those that see the same inputs.
    runs, run : int
        Runs of a window, and bytes of each.
    digits : int
    chain : tuple of (int, int), optional
        Kernel width of a layer that chains of taps can run, and the columns of it that may go
        through a chain together if there are so many taps.
    masked : bool
        Whether a weight expander can make its codes.
    pads : bool
        Whether pad values lie beside the weights.
    residual : bool
        Whether a stored map is added.
    single : bool
        Whether results are stored one by one (more than 8 bits).
    """

    name: str
    engine: str
    positions: int
    columns: int
    channels: int
    block: int
    runs: int
    run: int
    digits: int = 1
    chain: tuple[int, int] | None = None
    masked: bool = False
    pads: bool = False
    residual: bool = False
    serial: bool = False

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
        codes = -(-(sizes.taps if together else sizes.rows) * sizes.lanes
                  // (sizes.load_bits // sizes.code_width))  # fmt: skip
        return codes + (-(-sizes.read_lanes // (sizes.load_bits // 8)) if self.pads else 0)

    def _expanded(self, sizes: Sizes) -> bool:
        return self.masked and bool(np.any(sizes.visits)) and not self.together(sizes)

    def words(self, sizes: Sizes) -> Any:
        """Return the words that its weights or masks take; masks may share their first word."""
        if self._expanded(sizes):
            return -(-self.channels * self.runs * self.run // sizes.load_bits)
        return self.blocks(sizes) * self.steps(sizes) * self.step_words(sizes)

    def cycles(self, sizes: Sizes, slots: Any) -> tuple[Any, Any, Any]:
        """Return bounds of a layer for all images: of the engine, the weights and the store
        unit.
        """
        together, blocks = self.together(sizes), self.blocks(sizes)
        total, rows = self.positions * slots, self.positions // self.columns * slots
        issued, bursts = total, -(-total // sizes.burst_depth)
        if together > 1:
            issued = total + rows * (together - 1)
            bursts = -(-rows // (sizes.burst_depth // self.columns))
        here = self.block_rows(sizes)
        vectors = here if self.serial else -(-here // sizes.post_width)
        drain = blocks * vectors * total * sizes.groups
        if self.residual and not sizes.held:
            drain = drain * RESIDUAL
        last = drain // (blocks * bursts)
        engine = blocks * self.steps(sizes) * issued + last
        if self.residual and sizes.held:
            engine = engine + drain
        words = self.steps(sizes) * self.step_words(sizes)
        if self._expanded(sizes):
            words = words + BURST_RESTART
        return engine, blocks * bursts * words + last, drain


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
    size, types = shapes(graph), formats(graph)
    return [
        one
        for op in graph.ops
        if not isinstance(op, Input)
        for one in _works(
            folded.conv if folded.conv is not None and op.name == folded.conv.name else op,
            size | {graph.input.name: folded.map.shape},
            types,
        )
    ]


def _works(
    op: Operation, size: dict[str, tuple[int, int, int]], types: dict[str, Format]
) -> Iterable[Work]:
    height, width, channels = size[op.name]
    positions = height * width
    serial = types[op.name].bytes > 1
    if isinstance(op, Concat):
        for name in op.inputs:
            part = size[name][2]
            yield Work(name=op.name, engine="pool", positions=positions, columns=width,
                       channels=part, block=part, runs=1, run=1, serial=serial)  # fmt: skip
        return
    post = getattr(op, "post", None)
    wide = isinstance(op, Pointwise) and types[op.input].bytes > 1
    shared = {
        "name": op.name, "positions": positions, "columns": width, "channels": channels,
        "serial": serial,
        "residual": wide or (post is not None and bool(post.residuals)),
    }  # fmt: skip
    if not isinstance(op, Conv):
        taps = op.kernel[0] * op.kernel[1] if isinstance(op, Pool) else 1
        yield Work(engine="pool", block=channels, runs=taps, run=1, **shared)
        return
    kh, kw = op.kernel
    per_group = op.weight_shape[3]
    source = size[op.input]
    padded = any(op.padding)
    whole = kw == source[1] and not padded and op.dilation[1] == 1 and kh * kw > 1
    if op.groups == 1 and whole and (kh == 1 or op.dilation[0] == 1):
        runs, run = 1, kh * kw * per_group
    elif op.groups == 1 and op.dilation[1] == 1:
        runs, run = kh, kw * per_group
    else:
        runs, run = kh * kw, per_group
    pads, chain = bool(op.border_values(source[2], types[op.input]).any()), None
    if 1 < op.groups == op.out_channels and per_group == 1:
        chain = kw, kw if op.stride[1] == op.dilation[1] == 1 else 1
    yield Work(engine=op.term, block=channels // op.groups, runs=runs, run=run, digits=op.digits,
               chain=chain, masked=op.prototype is not None and not pads, pads=pads,
               **shared)  # fmt: skip

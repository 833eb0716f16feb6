"""What a graph asks of an accelerator, and a quick bound of its cycles on one.

The bound ranks thousands of shapes; `pyhw.compiler.cycles` then gives the exact figures of a few.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hdl.config import Config
from hdl.formats import Format
from hdl.isa import LAYER
from pyhw.compiler.fold import fold_input
from pyhw.compiler.lower import split_steps
from pyhw.graph.infer import formats, pad_values, shapes
from pyhw.graph.ops import Concat, Conv, Graph, Input, Op, Permute, Pointwise, Pool

__all__ = ["Needs", "Work", "needs", "work_of"]

LATENCY = 60
"""Cycles of a layer in which its first vectors and last results are under way, about."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one layer does for one image.

    Attributes
    ----------
    name, engine : str
        Engine: 'l1', 'shift' or 'pool'.
    positions : int
        Output positions.
    channels : int
        Output channels.
    block : int
        Most channels that may share a block: those that see the same inputs.
    runs, run : int
        Runs of a window, and bytes of each.
    digits : int
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
    channels: int
    block: int
    runs: int
    run: int
    digits: int = 1
    pads: bool = False
    residual: bool = False
    single: bool = False

    def steps(self, lanes: int) -> int:
        """Return the vectors of a window."""
        return self.runs * -(-self.run // lanes) * self.digits

    def blocks(self, rows: int) -> int:
        """Return the blocks of output channels."""
        return self.channels // self.block * -(-self.block // rows)

    def words(self, config: Config, rows: int, lanes: int, code_width: int) -> int:
        """Return the weight words of a step."""
        codes = -(-rows * lanes // (config.load_bits // code_width))
        pads = -(-config.read_lanes * 8 // config.load_bits) if self.pads else 0
        return codes + pads

    def cycles(self, config: Config, slots: int) -> tuple[int, int, int]:
        """Return bounds of a layer for all images: of the engine, the weights and the drain."""
        rows, lanes, words = config.pool_lanes, config.pool_lanes, 0
        engine = config.engines.get(self.engine)
        if engine is not None:
            rows, lanes = engine.rows, engine.lanes
            words = self.words(config, rows, lanes, engine.code_width)
        steps = self.steps(lanes) if engine is not None else self.runs
        total = self.positions * slots
        blocks, bursts = self.blocks(rows), -(-total // config.burst_depth)
        here = min(rows, self.block)
        vectors = here if self.single else -(-here // config.post_width)
        drain = blocks * vectors * total * config.groups * (1 + self.residual)
        last = drain // (blocks * bursts)
        return blocks * steps * total + last, blocks * steps * bursts * words + last, drain


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a graph needs whatever the shape of the engines is.

    Attributes
    ----------
    l1, shift : int or None
        Bits of codes; None without such layers.
    shift_acc_width : int
    windows : tuple of (int, int, bool)
        Of each L1 layer: terms, taps of the kernel, whether what it reads is signed.
    pool_acc_width, terms, tables, records, instructions, index_entries : int
        As in `Config`.
    residual, second_step : bool
    """

    l1: int | None
    shift: int | None
    shift_acc_width: int
    windows: tuple[tuple[int, int, bool], ...]
    pool_acc_width: int
    terms: int
    tables: int
    records: int
    instructions: int
    index_entries: int
    residual: bool
    second_step: bool

    def l1_acc_width(self, lanes: int) -> int:
        """Return bits that hold every L1 sum; lanes past a run count where inputs are signed."""
        sums = [terms * 255 + signed * taps * (lanes - 1) * 128
                for terms, taps, signed in self.windows]  # fmt: skip
        return min(max([*sums, 255]).bit_length(), 32)


def needs(graph: Graph) -> Needs:
    """Read from a graph what every accelerator for it has to have."""
    types, size = formats(graph), shapes(graph)
    convs = [op for op in graph.ops if isinstance(op, Conv)]
    posts = [op.post for op in graph.ops if isinstance(op, (Conv, Pool, Pointwise))]
    steps = [step for post in posts for step in (post.first, post.second) if step is not None]
    signs = [s for step in steps for s in (step.m_sign, step.r_sign) if s is not None]
    pools = [op for op in graph.ops if isinstance(op, Pool) and op.kind == "sum"]
    sums = [(op.kernel[0] * op.kernel[1] * _most(types[op.input])).bit_length() + 1 for op in pools]
    wide = [op for op in graph.ops if isinstance(op, Pointwise) and types[op.input].bytes > 1]
    permuted = [op for op in graph.ops if isinstance(op, Permute)]
    tables = {(post.table & 0xFF).astype(np.uint8).tobytes() for post in posts
              if post.table is not None}  # fmt: skip
    layers = sum(_jobs(op) for op in graph.ops)
    shift, acc = _shift_needs([c for c in convs if c.term == "shift"], types)
    return Needs(
        l1=_l1_code([c for c in convs if c.term == "l1"], types),
        shift=shift,
        shift_acc_width=acc,
        windows=tuple(
            (int(np.prod(c.weight_shape[1:])), c.kernel[0] * c.kernel[1], types[c.input].signed)
            for c in convs if c.term == "l1"
        ),
        pool_acc_width=max([*sums, 10]),
        terms=max(int((sign != 0).sum(axis=0).max()) for sign in signs),
        tables=len(tables),
        records=sum(size[op.name][2] * (1 + (_second(op))) for op in graph.ops
                    if not isinstance(op, Input)),
        instructions=layers * LAYER.words + 1,
        index_entries=sum(op.index.size for op in permuted),
        residual=bool(wide) or any(post.residuals for post in posts),
        second_step=any(post.second is not None for post in posts),
    )  # fmt: skip


def _most(fmt: Format) -> int:
    return int(max(fmt.max, -fmt.min))


def _second(op: Op) -> bool:
    post = getattr(op, "post", None)
    return post is not None and post.second is not None


def _jobs(op: Op) -> int:
    """Return the most layers that an operation becomes on large enough engines."""
    if isinstance(op, Input):
        return 0
    return len(op.inputs) if isinstance(op, Concat) else 1 + _second(op)


def _l1_code(convs: list[Conv], types: dict[str, Format]) -> int | None:
    if not convs:
        return None
    code = 2
    for op in convs:
        assert op.weight is not None
        low, high = int(op.weight.min()), int(op.weight.max())
        code = max(code, max(high, -1 - low).bit_length() + types[op.input].signed)
    return code


def _shift_needs(convs: list[Conv], types: dict[str, Format]) -> tuple[int | None, int]:
    if not convs:
        return None, 8
    exponent, acc = 0, 8
    for op in convs:
        assert op.sign is not None
        assert op.exponent is not None
        exponent = max(exponent, int(op.exponent.max()))
        powers = np.where(op.sign == 0, 0, 1 << op.exponent.astype(np.int64))
        most = int(powers.sum(axis=(0, 2, 3, 4)).max())
        acc = max(acc, (most * ((_most(types[op.input]) << op.ex) + 1)).bit_length() + 1)
    code = next(width for width in (3, 4, 5) if exponent <= (1 << (width - 1)) - 2)
    return code, min(acc, 32)


def work_of(graph: Graph, config: Config) -> list[Work]:
    """Return the layers of a graph as a configuration runs them.

    Parameters
    ----------
    graph : Graph
        Verified.
    config : Config
        Only its engines' lanes, `second_step` and `residual` count.
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
    op: Op, size: dict[str, tuple[int, int, int]], types: dict[str, Format]
) -> Iterable[Work]:
    height, width, channels = size[op.name]
    positions = height * width
    single = types[op.name].bytes > 1
    if isinstance(op, Concat):
        for name in op.inputs:
            part = size[name][2]
            yield Work(name=op.name, engine="pool", positions=positions, channels=part,
                       block=part, runs=1, run=1, single=single)  # fmt: skip
        return
    post = getattr(op, "post", None)
    wide = isinstance(op, Pointwise) and types[op.input].bytes > 1
    shared = {
        "name": op.name, "positions": positions, "channels": channels, "single": single,
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
    pads = pad_values(op, source[2], types[op.input])
    yield Work(engine=op.term, block=channels // op.groups, runs=runs, run=run, digits=op.digits,
               pads=bool(pads.any()), **shared)  # fmt: skip

"""What a graph asks of every accelerator for it, whatever the shape of the engines is."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pyhw.compiler.lowering import Demands, lowering_of
from pyhw.engines import host_engine
from pyhw.graph.content import content_hash
from pyhw.graph.infer import largest_exponent, most_terms, operand_types, sum_widths, types
from pyhw.graph.ops import Conv, Graph, MapType, Operation
from pyhw.hdl.formats import Format

__all__ = ["EngineNeeds", "Needs", "needs"]

LEAST_ACC_WIDTH = 8
"""Bits of the narrowest accumulator that an engine may have."""


@dataclass(frozen=True, kw_only=True)
class EngineNeeds:
    """What a graph's layers ask of the engine that runs them.

    Attributes
    ----------
    code_width : int
        Bits of the narrowest code that holds all weights.
    layers : tuple of (Conv, Format)
        The layers, and the formats that they read.
    """

    code_width: int
    layers: tuple[tuple[Conv, Format], ...]
    _widths: dict[int, int] = field(default_factory=dict)

    def acc_width(self, lanes: int) -> int:
        """Return bits of an accumulator that hold every sum, at most 32, by lanes of a row."""
        if lanes not in self._widths:
            each = [host_engine(conv.term).acc_width(conv, fmt, lanes) for conv, fmt in self.layers]
            self._widths[lanes] = min(max(LEAST_ACC_WIDTH, *each), 32)
        return self._widths[lanes]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a graph needs whatever the shape of the engines is.

    Attributes
    ----------
    engines : dict of str to EngineNeeds
        Those that run its layers, by name in order.
    pool_acc_width : int
        Bits that hold every pooled sum.
    chain_acc_width : int
        Bits that hold the sums of depthwise layers as well.
    kernels : tuple of int
        Kernel widths of the layers that chains of taps can run.
    prototypes : int
        Codes of the vectors whose masked layers take less memory as masks.
    terms, exponent, sum_bits, tables, records, layers, index_entries : int
        As in `Config`.
    residual_terms : int
    residual_wide, pool_max, second_step : bool
        As in `Config`.
    """

    engines: Mapping[str, EngineNeeds]
    pool_acc_width: int
    chain_acc_width: int
    kernels: tuple[int, ...]
    prototypes: int
    terms: int
    exponent: int
    sum_bits: int
    tables: int
    records: int
    layers: int
    index_entries: int
    pool_max: bool
    residual_terms: int
    residual_wide: bool
    second_step: bool


def needs(graph: Graph) -> Needs:
    """Read from a graph what every accelerator for it has to have."""
    known = types(graph)
    demands = [lowering_of(op).demands(op, known) for op in graph.ops[1:]]
    convs = [demand.conv for demand in demands if demand.conv is not None]
    posts = [post for op in graph.ops for post in op.posts]
    steps = [step for post in posts for step in (post.first, post.second) if step is not None]
    wide = [post for op, demand in zip(graph.ops[1:], demands) if demand.wide for post in op.posts]
    tables = {(post.table & 0xFF).astype(np.uint8).tobytes() for post in posts
              if post.table is not None}  # fmt: skip
    layers = sum(demand.layers for demand in demands)
    chained = [conv for conv in convs if conv.depthwise]
    pool_acc = max(10, *(demand.pool_sum.bit_length() + 1 for demand in demands))
    engines = _engines(convs, known)
    return Needs(
        engines=engines,
        pool_acc_width=pool_acc,
        chain_acc_width=max([pool_acc, *(
            host_engine(c.term).chain_bits(c, known[c.input].fmt) for c in chained)]),
        kernels=tuple(sorted({c.kernel[1] for c in chained})),
        prototypes=_prototypes(convs, known, engines),
        terms=max([1, *(most_terms(step.m_sign) for step in steps)]),
        exponent=max([1, *map(largest_exponent, steps)]),
        sum_bits=max(16, *(_sum_bits(op, known) for op in graph.ops)),
        tables=len(tables),
        records=_records(graph, demands, known),
        layers=layers,
        index_entries=sum(demand.index_entries for demand in demands),
        pool_max=any(demand.pool_max for demand in demands),
        residual_terms=max(
            [0, *(most_terms(step.r_sign) for step in steps if step.r_sign is not None),
             *(most_terms(post.first.m_sign) for post in wide)]),
        residual_wide=bool(wide) or any(
            known[name].fmt.bytes > 1 for post in posts for name in post.residuals),
        second_step=any(post.second is not None for post in posts),
    )  # fmt: skip


def _engines(convs: list[Conv], known: dict[str, MapType]) -> dict[str, EngineNeeds]:
    found = {}
    for name in sorted({conv.term for conv in convs}):
        layers = tuple((c, known[c.input].fmt) for c in convs if c.term == name)
        width = max(host_engine(name).code_width(conv, fmt) for conv, fmt in layers)
        found[name] = EngineNeeds(code_width=width, layers=layers)
    return found


def _records(graph: Graph, demands: list[Demands], known: dict[str, MapType]) -> int:
    """Return the channels that have records of their own; equal layers share theirs."""
    stored: dict[str, int] = {}
    for op, demand in zip(graph.ops[1:], demands, strict=True):
        # An engine's constant, which the weights decide, is part of the bias.
        conv = demand.conv
        weights = () if conv is None else (conv.weight, conv.sign, conv.exponent)
        posts = [(post.first, post.second, post.residual is None) for post in op.posts]
        key = content_hash(*weights, *itertools.chain(*posts)) if posts else op.name
        stored[key] = known[op.name].channels * (1 + _second(op))
    return sum(stored.values())


def _second(op: Operation) -> bool:
    return any(post.second is not None for post in op.posts)


def _sum_bits(op: Operation, known: dict[str, MapType]) -> int:
    """Return the bits of the sums of an operation's steps before their right shifts."""
    widths = [0]
    for post in op.posts:
        added = [None if name is None else known[name].fmt
                 for name in (post.residual, post.residual2)]
        low, high = op.acc_bounds(*operand_types(op, known))
        widths += sum_widths(post, low, high, added[0], added[1])
    return max(widths)


def _prototypes(convs: list[Conv], known: dict[str, MapType],
                engines: Mapping[str, EngineNeeds]) -> int:  # fmt: skip
    """Return the codes of vectors that save memory, those inside another one left out."""
    weights: dict[bytes, int] = {}
    code_width = 0
    for op in convs:
        if op.prototype is not None and op.sign is not None and not op.border_values(
                op.weight_shape[3] * op.groups, known[op.input].fmt).any():
            used = op.prototype[: op.sign.size].tobytes()
            weights[used] = weights.get(used, 0) + op.sign.size
            code_width = engines[op.term].code_width
    memory = b""
    for used in sorted(weights, key=lambda used: (-len(used), used)):
        saved = weights[used] * (code_width - 1) - len(used) * code_width
        if saved > 0 and used not in memory:
            memory += used
    return len(memory) if len(memory) <= 1 << 16 else 0

"""What a graph asks of every accelerator for it, whatever the shape of the engines is."""

import itertools
from dataclasses import dataclass

import numpy as np

from pyhw.compiler.lowering import Demands, lowering_of
from pyhw.graph.content import content_hash
from pyhw.graph.infer import largest_exponent, most_terms, operand_types, sum_widths, types
from pyhw.graph.ops import Conv, Graph, MapType, Operation
from pyhw.hdl.formats import Format

__all__ = ["Needs", "needs"]


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

    l1: int | None
    shift: int | None
    shift_acc_width: int
    windows: tuple[tuple[int, int, bool], ...]
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

    def l1_acc_width(self, lanes: int) -> int:
        """Return bits that hold every L1 sum; lanes past a run count where inputs are signed."""
        sums = [terms * 255 + signed * taps * (lanes - 1) * 128
                for terms, taps, signed in self.windows]  # fmt: skip
        return min(max([*sums, 255]).bit_length(), 32)


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
    shift, acc = _shift_needs([c for c in convs if c.term == "shift"], known)
    return Needs(
        l1=_l1_code([c for c in convs if c.term == "l1"], known),
        shift=shift,
        shift_acc_width=acc,
        windows=tuple(
            (int(np.prod(c.weight_shape[1:])), c.kernel[0] * c.kernel[1], known[c.input].fmt.signed)
            for c in convs if c.term == "l1"
        ),
        pool_acc_width=pool_acc,
        chain_acc_width=max([pool_acc, *(_chain_bits(c, known[c.input].fmt) for c in chained)]),
        kernels=tuple(sorted({c.kernel[1] for c in chained})),
        prototypes=_prototypes(convs, known, shift or 0),
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


def _most(fmt: Format) -> int:
    return int(max(fmt.max, -fmt.min))


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


def _l1_code(convs: list[Conv], known: dict[str, MapType]) -> int | None:
    if not convs:
        return None
    code = 2
    for op in convs:
        assert op.weight is not None
        low, high = int(op.weight.min()), int(op.weight.max())
        code = max(code, max(high, -1 - low).bit_length() + known[op.input].fmt.signed)
    return code


def _shift_needs(convs: list[Conv], known: dict[str, MapType]) -> tuple[int | None, int]:
    if not convs:
        return None, 8
    exponent, acc = 0, 8
    for op in convs:
        assert op.sign is not None
        assert op.exponent is not None
        exponent = max(exponent, int(op.exponent.max()))
        most = _most_powers(op) * ((_most(known[op.input].fmt) << op.ex) + 1)
        acc = max(acc, most.bit_length() + 1)
    code = next(width for width in (3, 4, 5) if exponent <= (1 << (width - 1)) - 2)
    return code, min(acc, 32)


def _chain_bits(op: Conv, source: Format) -> int:
    """Return the bits of a depthwise layer's sums (`pyhw.compiler.lowering.depthwise`)."""
    if op.term == "l1":
        return (256 * op.kernel[0] * op.kernel[1]).bit_length() + 1
    return (_most_powers(op) * (_most(source) + 1) << op.ex).bit_length() + 1


def _most_powers(op: Conv) -> int:
    """Return the largest sum of powers of two of a channel."""
    assert op.sign is not None
    assert op.exponent is not None
    powers = np.where(op.sign == 0, 0, 1 << op.exponent.astype(np.int64))
    return int(powers.sum(axis=(0, 2, 3, 4)).max())


def _prototypes(convs: list[Conv], known: dict[str, MapType], code_width: int) -> int:
    """Return the codes of vectors that save memory, those inside another one left out."""
    weights: dict[bytes, int] = {}
    for op in convs:
        if op.prototype is not None and op.sign is not None and not op.border_values(
                op.weight_shape[3] * op.groups, known[op.input].fmt).any():
            used = op.prototype[: op.sign.size].tobytes()
            weights[used] = weights.get(used, 0) + op.sign.size
    memory = b""
    for used in sorted(weights, key=lambda used: (-len(used), used)):
        saved = weights[used] * (code_width - 1) - len(used) * code_width
        if saved > 0 and used not in memory:
            memory += used
    return len(memory) if len(memory) <= 1 << 16 else 0

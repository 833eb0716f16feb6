"""What is in a graph: layers, operations by kind, weights, formats and sizes (``pyhw info``)."""

from dataclasses import dataclass, replace

from pyhw.hdl.formats import Format, width_of
from pyhw.hdl.tokens import PRECISION
from pyhw.table import text_table

from .infer import operand_types, types
from .ops import Graph, MapType, Operation, Shape
from .ops.base import RecordType
from .ops.route import experts_of
from .post import Post
from .terms import TERMS
from .verify import verify

__all__ = ["LayerSummary", "Summary", "summarise"]

_POOL = "pool"
"""Kind of what is summed or compared without weights."""
WORDS = 4
"""Columns of the table of layers that hold words."""


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One operation; all counts are for one image."""

    name: str
    """Name of the operation and its value."""
    text: str
    """What it does, for people."""
    shape: Shape
    """Shape (H, W, C) of its value."""
    fmt: Format
    """Stored format of its value."""
    terms: int = 0
    """Terms summed or compared, every digit of a weight counted."""
    kind: str = ""
    """What they are: the name of a convolution's term, or ``pool``."""
    multiplications: int = 0
    """Products of two values."""
    shifts: int = 0
    """Shifts of a value by a weight's exponent."""
    additions: int = 0
    """Additions and subtractions: two for an L1 term, one for any other, and those of the
    post-processing (a multiplier's present terms and the bias)."""
    lookups: int = 0
    """Bytes and multipliers looked up in tables, those of functions among them."""
    branch: tuple[str, int] | None = None
    """`Experts` and number of the branch that it belongs to: it runs for the tokens sent there."""
    record_bits: int = 0
    """Bits of one record of a token and head, in the sizes that its bounds ask for; 0 for maps."""
    weights: int = 0
    """Weights, digits not counted."""
    weight_bits: int = 0
    """Bits of the stored weight codes; of a masked layer, one a weight, and the prototype's codes
    in the first layer that has it."""
    acc_width: int = 0
    """Bits of a two's complement accumulator for every input in the format; 0 without one."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored value."""
        if self.record_bits:
            records = self.shape[0] * self.shape[1] * self.shape[2] // RecordType.FIELDS
            return records * -(-self.record_bits // 8)
        return self.shape[0] * self.shape[1] * self.shape[2] * self.fmt.bytes


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A graph's layers and their sums."""

    name: str
    """Name of the graph."""
    layers: tuple[LayerSummary, ...]
    """Operations in order, the input first."""

    def total(self, field: str) -> int:
        """Return the sum of a count of `LayerSummary` over all layers."""
        return sum(getattr(layer, field) for layer in self.layers)

    def terms(self) -> dict[str, int]:
        """Return the terms by kind: those of every kind of convolution, and of pooling."""
        found = dict.fromkeys([*TERMS, _POOL], 0)
        for layer in self.layers:
            if layer.kind:
                found[layer.kind] = found.get(layer.kind, 0) + layer.terms
        return found

    def routed(self) -> tuple[int, int]:
        """Return the fewest and the most terms of an image, of all ways to send tokens."""
        branches: dict[str, dict[int, int]] = {}
        for layer in self.layers:
            if layer.branch is not None:
                of = branches.setdefault(layer.branch[0], {})
                of[layer.branch[1]] = of.get(layer.branch[1], 0) + layer.terms
        inside = sum(sum(of.values()) for of in branches.values())
        others = self.total("terms") - inside
        return tuple(others + sum(pick(of.values()) for of in branches.values())
                     for pick in (min, max))  # type: ignore[return-value]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table of the layers, its head first."""
        rows: list[tuple[str, ...]] = [
            ("layer", "operation", "output", "format", "terms", "weights", "acc")]
        rows += [(
            layer.name, layer.text, "x".join(map(str, layer.shape)),
            "records" if layer.record_bits else str(layer.fmt),
            f"{layer.terms:,}" if layer.terms else "",
            f"{layer.weights:,}" if layer.weights else "",
            str(layer.acc_width) if layer.acc_width else "") for layer in self.layers]
        return rows

    def text(self) -> str:
        """Return a table of the layers and the totals below it, lines of plain text."""
        lines = text_table(self.rows(), WORDS).splitlines()
        largest = max(layer.stored_bytes for layer in self.layers)
        lines += [
            "",
            f"{self.name}, per image:",
            *(f"  {_title(kind) + ' terms':<15}  {count:>14,}"
              for kind, count in self.terms().items() if count or kind in (*TERMS, _POOL)),
            f"  additions        {self.total('additions'):>14,}",
            f"  multiplications  {self.total('multiplications'):>14,}",
            f"  weights          {self.total('weights'):>14,}"
            f"  ({-(-self.total('weight_bits') // 8):,} bytes as codes)",
            f"  largest map      {largest:>14,}  bytes",
        ]
        if self.total("lookups"):
            lines.insert(-2, f"  table look-ups   {self.total('lookups'):>14,}")
        if any(layer.branch for layer in self.layers):
            low, high = self.routed()
            lines.append(f"  a token runs one branch of each mixture: {low:,} to {high:,} terms")
        return "\n".join(lines) + "\n"


def _title(kind: str) -> str:
    if kind == _POOL:
        return "pooling"
    return TERMS[kind].title or kind if kind in TERMS else kind


def summarise(graph: Graph) -> Summary:
    """Count what a graph holds and does.

    Raises
    ------
    ValueError
        If the graph breaks a rule.
    """
    verify(graph)
    known = types(graph)
    there: set[bytes] = set()
    branches = {
        name: (experts, branch)
        for experts, inside in experts_of(graph.ops).items()
        for name, branch in inside.items()
    }
    layers = (replace(_layer(op, known, there), branch=branches.get(op.name)) for op in graph.ops)
    return Summary(name=graph.name, layers=tuple(layers))


def _layer(op: Operation, known: dict[str, MapType], there: set[bytes]) -> LayerSummary:
    value, operands = known[op.name], operand_types(op, known)
    lookups = 0
    counts, width, text = op.counts(value, *operands), 0, [op.describe(*operands)]
    additions, bits = counts.additions, counts.weight_bits
    for content, more in counts.shared_bits.items():
        bits += 0 if content in there else more
        there.add(content)
    for post in op.posts:
        low, high = op.acc_bounds(*operands)
        width = width_of(int(low.min()), int(high.max()))
        positions = value.shape[0] * value.shape[1]
        token = None if post.token is None else known[post.token].records
        additions += positions * _post_additions(post, token)
        lookups += positions * value.channels * (post.table is not None)
        text += [f"by {post.token}"] * (post.token is not None)
        text += ["table"] * (post.table is not None)
        text += ["second step"] * (post.second is not None)
        text += [f"+ {name}" for name in post.residuals]
    return LayerSummary(
        name=op.name, text=" ".join(text), shape=value.shape, fmt=value.fmt, acc_width=width,
        terms=counts.terms, kind=counts.kind, multiplications=counts.multiplications,
        shifts=counts.shifts, additions=additions, lookups=lookups + counts.lookups,
        weights=counts.weights, weight_bits=bits, record_bits=_record_bits(value.records),
    )  # fmt: skip


def _record_bits(records: RecordType | None) -> int:
    """Return sign and exponent of every term, the bias and the shift; 0 for a map."""
    if records is None:
        return 0
    bias = width_of(*records.bias) if any(records.bias) else 0
    return records.terms * (1 + PRECISION.bit_length()) + bias + records.shift.bit_length()


def _post_additions(post: Post, token: RecordType | None) -> int:
    """Additions of post-processing per position: present terms and one bias per channel.

    With records of tokens, all terms of a record, for each digit of its gain.
    """
    total = 0
    if token is not None:
        total += post.first.channels * (token.terms * token.gain_digits + 1)
    for step in (post.first, post.second):
        if step is not None and (token is None or step is post.second):
            total += int((step.m_sign != 0).sum()) + step.channels
            if step.r_sign is not None:
                total += int((step.r_sign != 0).sum())
    return total

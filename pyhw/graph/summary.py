"""What is in a graph: layers, operations by kind, weights, formats and sizes (``pyhw info``)."""

from dataclasses import dataclass

from pyhw.hdl.formats import Format, width_of

from .infer import Shape, acc_bounds, formats, shapes
from .ops import Conv, Graph, Op, Pointwise, Pool
from .post import Post
from .verify import verify

__all__ = ["LayerSummary", "Summary", "summarise"]


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
    l1_terms: int = 0
    """Terms ``-|x - w|``."""
    shift_terms: int = 0
    """Terms ``±(x << e)``, every digit of a weight counted."""
    pool_terms: int = 0
    """Values summed or compared by pooling."""
    additions: int = 0
    """Additions and subtractions: two for an L1 term, one for any other, and those of the
    post-processing (a multiplier's present terms and the bias)."""
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

    def text(self) -> str:
        """Return a table of the layers and the totals below it, lines of plain text."""
        head = ("layer", "operation", "output", "format", "terms", "weights", "acc")
        rows = [head]
        for layer in self.layers:
            terms = layer.l1_terms + layer.shift_terms + layer.pool_terms
            rows.append((
                layer.name, layer.text, "x".join(map(str, layer.shape)), str(layer.fmt),
                f"{terms:,}" if terms else "", f"{layer.weights:,}" if layer.weights else "",
                str(layer.acc_width) if layer.acc_width else "",
            ))  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 4 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in rows
        ]
        largest = max(layer.stored_bytes for layer in self.layers)
        lines += [
            "",
            f"{self.name}, per image:",
            f"  L1 terms         {self.total('l1_terms'):>14,}",
            f"  shift terms      {self.total('shift_terms'):>14,}",
            f"  pooling terms    {self.total('pool_terms'):>14,}",
            f"  additions        {self.total('additions'):>14,}",
            f"  multiplications  {0:>14,}",
            f"  weights          {self.total('weights'):>14,}"
            f"  ({-(-self.total('weight_bits') // 8):,} bytes as codes)",
            f"  largest map      {largest:>14,}  bytes",
        ]
        return "\n".join(lines) + "\n"


def summarise(graph: Graph) -> Summary:
    """Count what a graph holds and does.

    Raises
    ------
    ValueError
        If the graph breaks a rule.
    """
    verify(graph)
    size, types = shapes(graph), formats(graph)
    known: set[bytes] = set()
    layers = tuple(_layer(op, size, types, known) for op in graph.ops)
    return Summary(name=graph.name, layers=layers)


def _layer(
    op: Op, size: dict[str, Shape], types: dict[str, Format], known: set[bytes]
) -> LayerSummary:
    shape = size[op.name]
    common = {"name": op.name, "shape": shape, "fmt": types[op.name]}
    if not isinstance(op, (Conv, Pool, Pointwise)):
        text = type(op).__name__.lower()
        return LayerSummary(text=f"{text} {', '.join(op.inputs)}".rstrip(), **common)  # type: ignore[arg-type]
    positions = shape[0] * shape[1]
    low, high = acc_bounds(op, types[op.input], size[op.input][2])
    counts = {
        "acc_width": width_of(int(low.min()), int(high.max())),
        "additions": positions * _post_additions(op.post),
    }
    if isinstance(op, Conv):
        weights = op.weight_values.size
        counts |= {"weights": weights, "weight_bits": weights * 8}
        terms = positions * weights * op.digits
        if op.term == "l1":
            counts["l1_terms"] = terms
            counts["additions"] += 2 * terms
        else:
            counts["shift_terms"] = terms
            counts["weight_bits"] = weights * op.digits * (op.code_width or 0)
            counts["additions"] += terms
        if op.prototype is not None:
            raw, width = op.prototype.tobytes(), op.code_width or 0
            counts["weight_bits"] = weights
            counts["weight_bits"] += 0 if raw in known else len(raw) * width
            known.add(raw)
    elif isinstance(op, Pool):
        counts["pool_terms"] = positions * shape[2] * op.kernel[0] * op.kernel[1]
        if op.kind == "sum":
            counts["additions"] += counts["pool_terms"]
    return LayerSummary(text=_text(op, size[op.input]), **common, **counts)  # type: ignore[arg-type]


def _post_additions(post: Post) -> int:
    """Additions of post-processing per position: present terms and one bias per channel."""
    total = 0
    for step in (post.first, post.second):
        if step is not None:
            total += int((step.m_sign != 0).sum()) + step.channels
            if step.r_sign is not None:
                total += int((step.r_sign != 0).sum())
    return total


def _text(op: Conv | Pool | Pointwise, shape: Shape) -> str:
    parts = [type(op).__name__.lower()]
    if isinstance(op, Conv):
        linear = op.kernel == shape[:2] and not any(op.padding) and op.groups == 1
        parts = ["linear" if linear else "conv", op.term]
        if op.term == "shift":
            parts.append(f"{op.digits} digit{'s' * (op.digits > 1)} of {op.code_width} bits")
        if op.prototype is not None:
            parts.append(f"masks of {len(op.prototype)} codes")
    if isinstance(op, Pool):
        parts.append(op.kind)
    if isinstance(op, (Conv, Pool)):
        parts.append(f"{op.kernel[0]}x{op.kernel[1]}")
        if op.stride != (1, 1):
            parts.append(f"stride {op.stride[0]},{op.stride[1]}")
        if any(op.padding):
            parts.append("pad " + ",".join(map(str, op.padding)))
    if isinstance(op, Conv):
        if op.dilation != (1, 1):
            parts.append(f"dilation {op.dilation[0]},{op.dilation[1]}")
        if op.groups > 1:
            parts.append(f"groups {op.groups}")
    parts += ["table"] * (op.post.table is not None)
    parts += ["second step"] * (op.post.second is not None)
    parts += [f"+ {name}" for name in op.post.residuals]
    return " ".join(parts)

"""Operations, traffic and estimated energy, layer by layer, per image (``pyhw info --ops``).

The estimate is a sum of published energies per operation and per byte, no measurement of this
accelerator; `ASSUMPTIONS` says what it takes for granted, and is printed with every table.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .inputs import read_graph

__all__ = ["ASSUMPTIONS", "ENERGY", "LayerCost", "checkpoint_costs", "costs_text", "graph_costs"]

ENERGY = {
    "float32": {"multiply": 3.7, "add": 0.9, "shift": 0.13},
    "int8": {"multiply": 0.2, "add": 0.03, "shift": 0.024},
}
"""Picojoules of one operation at 45 nm.

Source: Horowitz, "Computing's energy problem", ISSCC 2014, for products and sums; You et al.,
"ShiftAddNet", NeurIPS 2020, and "ShiftAddLLM", 2024, table 1, for shifts (32 and 8 bits).
"""
ON_CHIP = 10 / 8
"""Picojoules of one byte from a memory of 8 KiB: 10 for 8 bytes (Horowitz)."""
OFF_CHIP = 1300 / 8
"""Picojoules of one byte from DRAM: 1,300 to 2,600 for 8 bytes (Horowitz), the lower."""
ASSUMPTIONS = (
    "energy: 45 nm figures of Horowitz (ISSCC 2014), shifts of ShiftAddNet; per operation, pJ: "
    "float32 multiply 3.7, add 0.9, shift 0.13; int8 multiply 0.2, add 0.03, shift 0.024",
    "movement: every layer's weights come from DRAM once per image (162.5 pJ a byte), its "
    "activations are read and written once in on-chip memory (1.25 pJ a byte), no reuse counted "
    "or lost beyond that",
    "look-ups: a byte of a function's table, a square or a reciprocal, each a byte from on-chip "
    "memory; layer norms, softmax and routing are counted",
    "additions: 2 for a difference and its sum, 1 for a product or a shift; control, clock and "
    "leakage are left out: an estimate to compare networks by, not a measurement",
    "masked weights count as if all of them were used and stored as codes; batch norms and "
    "activations of a checkpoint count as movement alone (the quantiser folds them into layers)",
)


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What a layer does for one image.

    Attributes
    ----------
    name : str
    multiplications, additions, shifts, lookups : int
        Look-ups are bytes or multipliers read from tables.
    weight_bytes, read_bytes, written_bytes : int
        Of weights, and of activations in and out.
    number : {"float32", "int8"}
        Which energies count.
    """

    name: str
    multiplications: int
    additions: int
    shifts: int
    weight_bytes: int
    read_bytes: int
    written_bytes: int
    number: str
    lookups: int = 0

    @property
    def compute_pj(self) -> float:
        """Energy of the operations, picojoules."""
        energy = ENERGY[self.number]
        return (
            self.multiplications * energy["multiply"]
            + self.additions * energy["add"]
            + self.shifts * energy["shift"]
            + self.lookups * ON_CHIP
        )

    @property
    def movement_pj(self) -> float:
        """Energy of weights and activations moved, picojoules."""
        return self.weight_bytes * OFF_CHIP + (self.read_bytes + self.written_bytes) * ON_CHIP


def checkpoint_costs(path: Path) -> list[LayerCost]:
    """Count the layers of a checkpoint: float32 throughout, as PyTorch computes it."""
    from math import prod

    from .nn.models import MODELS
    from .training.checkpoint import load_checkpoint
    from .training.layers import layer_sizes

    model, meta = load_checkpoint(path)
    shape = MODELS[meta.recipe.model].input_shape
    inputs: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(module: Any, given: tuple, output: Any) -> None:
            inputs[name] = sum(x[0].numel() for x in given)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    sizes = layer_sizes(model, shape)
    for hook in hooks:
        hook.remove()
    return [
        LayerCost(
            name=size.name,
            multiplications=size.products,
            additions=size.additions,
            shifts=size.shifts,
            weight_bytes=4 * (size.weights or size.parameters),
            read_bytes=4 * inputs[size.name],
            written_bytes=4 * prod(size.shape),
            number="float32",
        )
        for size in sizes
    ]


def graph_costs(path: Path) -> list[LayerCost]:
    """Count the operations of an integer graph, as the accelerator stores its values."""
    from .graph.summary import summarise

    graph = read_graph(path)
    layers = summarise(graph).layers
    stored = {layer.name: layer.stored_bytes for layer in layers}
    return [
        LayerCost(
            name=layer.name,
            multiplications=layer.multiplications,
            additions=layer.additions,
            shifts=layer.shifts,
            lookups=layer.lookups,
            weight_bytes=-(-layer.weight_bits // 8),
            read_bytes=sum(stored[name] for name in op.inputs),
            written_bytes=layer.stored_bytes if op.inputs else 0,
            number="int8",
        )
        for op, layer in zip(graph.ops, layers, strict=True)
    ]


def costs_text(costs: list[LayerCost]) -> str:
    """Return the layers' costs, their sums and the assumptions, lines of plain text."""
    head = ("layer", "multiplications", "additions", "shifts", "look-ups", "weights, B", "read, B",
            "written, B", "compute, nJ", "movement, nJ")  # fmt: skip
    columns = [[cost.multiplications, cost.additions, cost.shifts, cost.lookups,
                cost.weight_bytes, cost.read_bytes, cost.written_bytes]
               for cost in costs]  # fmt: skip
    energies = [[cost.compute_pj / 1000, cost.movement_pj / 1000] for cost in costs]
    rows: list[tuple[str, ...]] = [head]
    for cost, numbers, energy in zip(costs, columns, energies):
        rows.append((cost.name, *(f"{n:,}" if n else "" for n in numbers),
                     *(f"{value:,.1f}" for value in energy)))  # fmt: skip
    sums = [f"{sum(column):,}" for column in zip(*columns)]
    rows.append(("total", *sums, *(f"{sum(column):,.1f}" for column in zip(*energies))))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width)
                  for place, (cell, width) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([*lines, "", "one image;", *ASSUMPTIONS]) + "\n"

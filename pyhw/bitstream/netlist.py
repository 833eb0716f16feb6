"""Cells of a netlist: how many of what, in which component, and where they were placed."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyhw.families import Family
from pyhw.families.family import LOGIC_CELLS, LUTS, TOP

from .names import Components

__all__ = ["Netlist", "Placement", "read_netlist", "read_placement"]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """What synthesis made.

    Attributes
    ----------
    components : Components
    kinds : dict of str to int
        Cells of each kind.
    used : dict of str to int
        What they take of a device, as `Family.cells` counts.
    by_component : dict of str to dict of str to int
        The same for each component; what has no name of ours is under ``(unnamed)``.
    """

    components: Components
    kinds: dict[str, int]
    used: dict[str, int]
    by_component: dict[str, dict[str, int]]


def read_netlist(path: Path, family: Family, verilog: str) -> Netlist:
    """Count the cells of Yosys' JSON, made of a Verilog text."""
    with path.open(encoding="utf-8") as file:
        cells: dict[str, Any] = json.load(file)["modules"][TOP]["cells"]
    components = Components.of(cells, family, verilog)
    kinds: Counter[str] = Counter()
    used: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, cell in cells.items():
        kind = cell["type"]
        if kind == "$scopeinfo":
            continue
        kinds[kind] += 1
        if (taken := family.cell(kind)) is not None:
            what, number = taken
            used[what] += number
            owner = "(unnamed)" if name.startswith("$") else components.component(name)
            parts[owner][what] += number
    if family.pairs:
        used[LOGIC_CELLS] = used[LUTS] + family.lone_registers_in(cells)
    return Netlist(components=components, kinds=dict(sorted(kinds.items())), used=dict(used),
                   by_component={name: dict(parts[name]) for name in sorted(parts)})


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where nextpnr put the cells.

    Attributes
    ----------
    tiles : dict of (int, int) to dict of str to int
        Column and row: cells of each component.
    """

    tiles: dict[tuple[int, int], dict[str, int]]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows that are used at all, from 0."""
        if not self.tiles:
            return 0, 0
        return max(x for x, _ in self.tiles) + 1, max(y for _, y in self.tiles) + 1


_BEL = re.compile(r"X(\d+)/?Y(\d+)")


def read_placement(path: Path, components: Components) -> Placement:
    """Read the places of all cells from the JSON that nextpnr writes."""
    with path.open(encoding="utf-8") as file:
        modules = json.load(file)["modules"]
    tiles: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for name, cell in modules[TOP]["cells"].items():
        found = _BEL.search(cell["attributes"].get("NEXTPNR_BEL", ""))
        if found is not None:
            tiles[int(found[1]), int(found[2])][components.component(name)] += 1
    return Placement(tiles={place: dict(owners) for place, owners in tiles.items()})

"""Names of a netlist in terms of the components that the design is made of."""

import bisect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pyhw.families import Family

__all__ = ["Components", "instances_by_line", "plain_names"]

PREFIX = "board."
"""Instance that everything lies in but pins and PLL."""
_DEPTH = ("serial", "serial.accelerator", "serial.accelerator.datapath")
"""Instances whose parts are told apart."""


def plain_names(verilog: str) -> str:
    """Return Verilog without brackets in names: `x[3].y` becomes `x.3.y`.

    ABC9 takes such a name for a bit of `x` (Yosys issue 4349), which is why names are hidden
    where nobody reads them. A name that there is already gets an underscore.
    """
    found = set(re.findall(r"\\(\S+) ", verilog))
    new: dict[str, str] = {}
    taken = set(found)
    for name in sorted(found):
        if "[" not in name:
            continue
        plain = re.sub(r"\[(\w+)\]", r".\1", name).replace("[", "_").replace("]", "_")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        new[name] = plain
    return re.sub(r"\\(\S+) ", lambda match: f"\\{new.get(match[1], match[1])} ", verilog)


def instances_by_line(verilog: str) -> list[tuple[int, str]]:
    """Return the first line of every module, in order, and its instance; none if it has several."""
    lines: list[tuple[int, str]] = []
    inside: dict[str, list[tuple[str, str]]] = {}
    for number, line in enumerate(verilog.splitlines(), 1):
        if found := re.match(r"module \\?([^\s(;]+)", line):
            lines.append((number, found[1]))
        elif lines and (found := re.match(r"  \\?(\S+) +\\?(\S+) +\($", line)):
            inside.setdefault(found[1], []).append((lines[-1][1], found[2]))

    def path(module: str) -> str:
        held = inside.get(module, [])
        if not held:
            return module
        around = path(held[0][0])
        return f"{around}.{held[0][1]}" if len(held) == 1 and around else ""

    return [(number, path(module)) for number, module in lines]


class Components:
    """Tell the component that a cell or net belongs to.

    Parameters
    ----------
    instances : iterable of str
        Paths of all instances, as `$scopeinfo` cells of a flattened netlist name them.
    family : Family
        After whose kinds of cells Yosys names what it makes.
    homes : mapping of str to str
        Instances of cells and signals whose names lie in another one: a register that is an
        output is called after the net it drives in the instance around its own.
    """

    def __init__(self, instances: Iterable[str], family: Family,
                 homes: Mapping[str, str] | None = None) -> None:
        self._instances = frozenset(instances)
        self._made = re.compile(rf"_({family.names})(_.*)?$")
        self._homes = {self._signal(name): home for name, home in (homes or {}).items()}

    @classmethod
    def of(cls, cells: Mapping[str, Any], family: Family, verilog: str = "",
           file: str = "board.v") -> "Components":
        """Read the instances from the cells of a netlist in Yosys' JSON.

        Registers are traced to the line of ``verilog`` that they stand in, if that is a line of
        one instance only.
        """
        instances = {name for name, cell in cells.items() if cell["type"] == "$scopeinfo"}
        paths = instances_by_line(verilog)
        starts = [line for line, _ in paths]
        homes: dict[str, str] = {}
        for name, cell in cells.items():
            source = re.match(rf"{re.escape(file)}:(\d+)\.", cell["attributes"].get("src", ""))
            if source is None or name.startswith("$"):
                continue
            at = bisect.bisect_right(starts, int(source[1])) - 1
            if at >= 0 and paths[at][1] in instances:
                homes[name] = paths[at][1]
        return cls(instances, family, homes)

    def path(self, name: str) -> str:
        """Return the deepest instance that a name lies in, or an empty text."""
        if (home := self._homes.get(self._signal(name))) is not None:
            return home
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if (path := ".".join(parts[:end])) in self._instances:
                return path
        return ""

    def component(self, name: str) -> str:
        """Return the part of the design that a name lies in: `address generator`, `l1`, `port`, ...

        `board` for what lies beside an accelerator, `pins` for what lies outside.
        """
        path = self.path(name)
        if not f"{path}.".startswith(PREFIX):
            return "pins"
        inner, known = path[len(PREFIX):], ""
        for part in inner.split("."):
            known = f"{known}.{part}".lstrip(".")
            if known and known not in _DEPTH:
                return part.partition("$")[0] or part  # Amaranth numbers equal names
        return inner.rpartition(".")[2] or "board"

    def signal(self, name: str) -> str:
        """Return the signal that a cell is named after, without its component's path."""
        signal, parts = self._signal(name), name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if ".".join(parts[:end]) in self._instances:
                return signal[len(".".join(parts[:end])) + 1:]
        return signal

    def _signal(self, name: str) -> str:
        """Return a name without what the tools put behind it."""
        return self._made.sub("", name)

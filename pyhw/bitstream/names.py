"""Names of a netlist in terms of the components that the design is made of."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Components", "plain_names"]

PREFIX = "board."
"""Instance that everything lies in but pins and PLL."""
_DEPTH = {"serial": 1, "serial.accelerator": 1, "serial.accelerator.datapath": 1}
"""Instances whose parts are told apart."""
_MADE = re.compile(
    r"(_(LUT[1-6]|TRELLIS_FF|CCU2C|PFUMX|L6MUX21|TRELLIS_DPR16X4|DP16KD|PDPW16KD|SB_[A-Z0-9]+|DFF[A-Z]*"
    r"|ALU|MUX2_LUT[5-8]|RAM16SDP[124]|SDPB|DPB|SDPX9B)(_.*)?)$")


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


class Components:
    """Tell the component that a cell or net belongs to.

    Parameters
    ----------
    instances : iterable of str
        Paths of all instances, as `$scopeinfo` cells of a flattened netlist name them.
    """

    def __init__(self, instances: Iterable[str]) -> None:
        self._instances = frozenset(instances)

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> "Components":
        """Read the instances from the cells of a netlist in Yosys' JSON."""
        return cls(name for name, cell in cells.items() if cell["type"] == "$scopeinfo")

    def path(self, name: str) -> str:
        """Return the deepest instance that a name lies in, or an empty text."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if (path := ".".join(parts[:end])) in self._instances:
                return path
        return ""

    def component(self, name: str) -> str:
        """Return the part of the design that a name lies in: `feeder`, `l1`, `port`, ...

        `board` for what lies beside an accelerator, `pins` for what lies outside.
        """
        path = self.path(name.removeprefix("$auto$"))
        if not f"{path}.".startswith(PREFIX):
            return "pins"
        inner = path.removeprefix(PREFIX.rstrip(".")).lstrip(".")
        known = ""
        for part in inner.split("."):
            known = f"{known}.{part}".lstrip(".")
            if known not in _DEPTH:
                return part
        return inner.rpartition(".")[2] or "board"

    @staticmethod
    def signal(name: str) -> str:
        """Return the signal that a cell is named after, without what the tools put behind it."""
        return _MADE.sub("", name).rpartition(".")[2]

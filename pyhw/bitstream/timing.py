"""What nextpnr says of the clock: how fast, against what was asked, and why not faster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .names import Components

__all__ = ["Hop", "Timing", "read_timing"]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One part of a path: a cell, or the way to the next one.

    Attributes
    ----------
    kind : str
        ``clk-to-q``, ``logic``, ``routing`` or ``setup``.
    delay_ns : float
    component, signal : str
        Where it ends, and what of.
    cell : str
        As the tools call it.
    place : tuple of int
        Column and row.
    """

    kind: str
    delay_ns: float
    component: str
    signal: str
    cell: str
    place: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The design's clock.

    Attributes
    ----------
    asked_mhz, reached_mhz : float
    path : tuple of Hop
        The slowest from register to register.
    """

    asked_mhz: float
    reached_mhz: float
    path: tuple[Hop, ...]

    @property
    def met(self) -> bool:
        """Whether the clock is fast enough."""
        return self.reached_mhz >= self.asked_mhz

    @property
    def path_ns(self) -> float:
        """Length of the path."""
        return sum(hop.delay_ns for hop in self.path)

    @property
    def routing_share(self) -> float:
        """Part of the path that is wires."""
        return sum(h.delay_ns for h in self.path if h.kind == "routing") / (self.path_ns or 1)

    @property
    def levels(self) -> int:
        """Logic cells on the path."""
        return sum(hop.kind == "logic" for hop in self.path)

    def legs(self) -> list[tuple[str, float, int]]:
        """Return the components in the order of the path: name, nanoseconds, logic cells."""
        legs: list[tuple[str, float, int]] = []
        for hop in self.path:
            logic = int(hop.kind == "logic")
            if legs and legs[-1][0] == hop.component:
                name, delay, count = legs.pop()
                legs.append((name, delay + hop.delay_ns, count + logic))
            else:
                legs.append((hop.component, hop.delay_ns, logic))
        return legs

    def explained(self) -> str:
        """Return the path in one line."""
        if not self.path:
            return "no path from register to register"
        first, last = self.path[0], self.path[-1]
        ways = " -> ".join(f"{name} {delay:.1f} ns" for name, delay, _ in self.legs())
        return (f"from {first.component}.{first.signal} to {last.component}.{last.signal}, "
                f"{self.path_ns:.1f} ns in {self.levels} levels of logic, "
                f"{self.routing_share:.0%} of it wires: {ways}")


def read_timing(report: Mapping[str, Any], components: Components, asked_mhz: float) -> Timing:
    """Read the clock of the design from nextpnr's report.

    The design has one clock; the oscillator's own is that of the PLL alone.

    Raises
    ------
    ValueError
        If the report has no such clock, or nextpnr held it to less than was asked for.
    """
    clocks = {name: clock for name, clock in report["fmax"].items()
              if abs(clock["constraint"] / asked_mhz - 1) < 1e-3}
    if not clocks:
        held = ", ".join(f"{name} to {clock['constraint']:.2f} MHz"
                         for name, clock in report["fmax"].items()) or "none"
        raise ValueError(f"nextpnr must hold a clock to {asked_mhz:.2f} MHz, but held {held}")
    name, clock = min(clocks.items(), key=lambda item: item[1]["achieved"])
    paths = [path["path"] for path in report["critical_paths"]
             if path["from"].split()[-1] == name and path["to"].split()[-1] == name]
    longest: list[Any] = max(paths, key=lambda path: sum(hop["delay"] for hop in path), default=[])
    return Timing(asked_mhz=asked_mhz, reached_mhz=clock["achieved"],
                  path=tuple(_hop(hop, components) for hop in longest))


def _hop(hop: Mapping[str, Any], components: Components) -> Hop:
    end = hop["to"]
    x, y = end["loc"]
    return Hop(kind=hop["type"], delay_ns=hop["delay"], cell=end["cell"], place=(x, y),
               component=components.component(end["cell"]),
               signal=components.signal(end["cell"]))

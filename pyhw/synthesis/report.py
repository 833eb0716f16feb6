"""The figures that come out of a synthesis."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from pyhw.errors import UserError
from pyhw.families import find_family
from pyhw.families.family import (
    BLOCK_RAMS,
    FLIP_FLOPS,
    LUTS,
    MULTIPLIERS,
    SINGLE_PORT_RAMS,
)


@dataclass(frozen=True, kw_only=True)
class SynthesisReport:
    """Cells of one design on one family."""

    family: str
    top: str
    #: Number of each kind of cell.
    cells: dict[str, int]
    #: LUT4 equivalents, as `pyhw.families.Family.cells` counts them.
    lut4: int
    flip_flops: int
    block_rams: int
    #: Single-port RAM blocks, which only some devices have.
    single_port_rams: int
    #: Multiplier blocks; 0 in every design of pyhw.
    dsps: int
    yosys: str
    #: Time the synthesis took when it was done, seconds.
    seconds: float
    #: Whether this came from an earlier synthesis of the same design.
    cached: bool = False

    @classmethod
    def from_cells(
        cls, cells: dict[str, int], *, family: str, top: str, yosys: str, seconds: float
    ) -> "SynthesisReport":
        """Count the cells as their family counts them."""
        used = find_family(family).count(cells)
        return cls(
            family=family,
            top=top,
            cells=dict(sorted(cells.items())),
            lut4=used.get(LUTS, 0),
            flip_flops=used.get(FLIP_FLOPS, 0),
            block_rams=used.get(BLOCK_RAMS, 0),
            single_port_rams=used.get(SINGLE_PORT_RAMS, 0),
            dsps=used.get(MULTIPLIERS, 0),
            yosys=yosys,
            seconds=seconds,
        )

    def lut4_per_lane(self, lanes: int) -> float:
        """Return the LUT4 equivalents divided by a number of lanes."""
        return self.lut4 / lanes

    def require_no_dsp(self) -> None:
        """Raise `UserError` if a multiplier block was used."""
        if self.dsps:
            names = [
                f"{number} {kind}"
                for kind, number in self.cells.items()
                if kind.startswith(find_family(self.family).kinds_of(MULTIPLIERS))
            ]
            raise UserError(
                f"the design must use no multiplier block, not {', '.join(names)}; "
                "look for a product of two signals, or an array indexed by a signal"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

"""The figures that come out of a synthesis."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from pyhw.errors import UserError
from pyhw.synthesis.families import count, find_family


@dataclass(frozen=True, kw_only=True)
class SynthesisReport:
    """Cells of one design on one family."""

    family: str
    top: str
    #: Number of each kind of cell.
    cells: dict[str, int]
    #: LUT4 equivalents: on ECP5 LUT4 + 2 per CCU2C + 4 per TRELLIS_DPR16X4, on iCE40 SB_LUT4.
    lut4: int
    flip_flops: int
    block_rams: int
    #: Single-port RAM blocks, which only some iCE40 devices have.
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
        rules = find_family(family)
        return cls(
            family=family,
            top=top,
            cells=dict(sorted(cells.items())),
            lut4=sum(rules.lut4.get(kind, 0) * number for kind, number in cells.items()),
            flip_flops=count(cells, rules.flip_flops),
            block_rams=count(cells, rules.block_rams),
            single_port_rams=count(cells, rules.single_port_rams),
            dsps=count(cells, rules.dsps),
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
                if kind.startswith(find_family(self.family).dsps)
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

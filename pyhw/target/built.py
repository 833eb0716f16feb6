"""A bitstream for a board, and what was measured of it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.table import html_table

if TYPE_CHECKING:
    from pyhw.boards import Board

__all__ = ["Built"]


@dataclass(frozen=True, repr=False, eq=False)
class Built:
    """A finished build.

    Attributes
    ----------
    folder : Path
        Where bitstream, program, configuration, logs, ``report.html`` and ``build.json`` are.
    report : dict
        All numbers of ``build.json`` (``docs/build.md``): clock, path, resources, speed, link.
    board : Board
    """

    folder: Path
    report: dict[str, Any]
    board: "Board"

    @property
    def bitstream(self) -> Path:
        """The file that `load` and ``pyhw flash`` take."""
        return self.folder / str(self.report["bitstream"])

    @property
    def clock_mhz(self) -> float:
        """The clock that the board's PLL makes, MHz."""
        return float(self.report["clock"]["set_mhz"])

    def load(self, *, flash: bool = False) -> None:
        """Load the bitstream into the board, or with `flash` keep it in the board's flash.

        Raises
        ------
        UserError
            If openFPGALoader is missing, finds no board or fails.
        """
        from pyhw.bitstream.load import find_bitstream

        find_bitstream(self.folder, self.board).load(flash=flash)

    def lines(self) -> list[str]:
        """Return what to know of it: resources, clock, speed, the file."""
        clock, speed, link = (self.report[key] for key in ("clock", "speed", "link"))
        used, room = (self.report["resources"][key] for key in ("used", "available"))
        return [
            ", ".join(f"{used[what]:,} of {room[what]:,} {what}" for what in used
                      if room.get(what)),
            f"clock: {clock['reached_mhz']:.2f} MHz reached, {clock['set_mhz']:.2f} MHz set",
            f"{speed['images_per_second']:,.1f} images a second by the accelerator, "
            f"{link['images_per_second']:,.1f} by the line of {link['baud']:,} baud",
            f"{self.bitstream}: {self.report['bytes']:,} bytes",
        ]

    def __repr__(self) -> str:
        return "\n".join([f"Bitstream for {self.report['board']}", *self.lines()])

    @property
    def floorplan(self) -> str:
        """Where everything was placed, as a picture (SVG) out of the report; empty without one."""
        page = self.folder / "report.html"
        if not page.is_file():
            return ""
        found = re.search(r'<svg [^>]*aria-label="floorplan".*?</svg>', page.read_text("utf-8"),
                          re.S)
        return found[0] if found else ""

    def _repr_html_(self) -> str:
        page = os.fspath(self.folder / "report.html")
        return self.floorplan + html_table(f"Bitstream for {self.report['board']}, {page}",
                                           [("",), *((line,) for line in self.lines())])

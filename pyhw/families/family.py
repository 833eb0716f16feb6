"""What is known of a family of devices: its tools, cells, memories, area and clock generator."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["BLOCK_RAMS", "FLIP_FLOPS", "LOGIC_CELLS", "LUTS", "MULTIPLIERS", "SINGLE_PORT_RAMS",
           "TOP", "Device", "Family", "Program", "clock_line", "cells_of"]  # fmt: skip

LUTS, FLIP_FLOPS, BLOCK_RAMS = "LUT4", "flip-flops", "block RAMs"
SINGLE_PORT_RAMS, MULTIPLIERS, LOGIC_CELLS = "single-port RAMs", "multipliers", "logic cells"
"""What cells take of a device, as reports and messages call it."""
TOP = "top"
"""Name of the top module of a board and of most files of its build."""
Cells = Mapping[str, tuple[str, int]]


def cells_of(name: str, number: int, kinds: str) -> dict[str, tuple[str, int]]:
    """Return a part of `Family.cells`: kinds, separated by blanks, and what each takes."""
    return dict.fromkeys(kinds.split(), (name, number))


def clock_line(platform: Any, oscillator: str) -> str:
    """Return the line of an SDC file that constrains a board's oscillator, a port."""
    period_ns = 1e9 / platform.default_clk_frequency
    return (f"create_clock -name oscillator -period {period_ns:.6f} "
            f"[get_ports {{{oscillator}}}]\n")


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device.

    Attributes
    ----------
    name, family : str
    luts : int
        LUT4s; where a register without a LUT takes the place of one, logic cells.
    block_rams : int
        Blocks of `Family.block_shapes`.
    single_port_rams : int
        Blocks of 16,384 words of 16 bits with one port, for weights.
    flip_flops : int
        0 for as many as LUTs.
    source : str
    """

    name: str
    family: str
    luts: int
    block_rams: int
    single_port_rams: int = 0
    flip_flops: int = 0
    source: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program by its name on PATH, and where it is in which package of PyPI.

    Attributes
    ----------
    name, package : str
    entry : str
        ``module:function`` that starts it.
    """

    name: str
    package: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of devices; a subclass says how its tools are called and how its clock is made.

    Attributes
    ----------
    name : str
    devices : tuple of Device
    router, packer : Program
        nextpnr, and what makes a bitstream of its result.
    unpacker : Program, optional
        What takes a bitstream apart.
    constraints : tuple of str
        Suffixes of the files with pins and clocks.
    placed, clocked : str
        Pattern of a line of these files: its group is a port that has a pin, or a frequency.
    routed, bitstream : str
        Suffix of what nextpnr writes for the packer, and of what that writes.
    sign : bytes
        Pattern of what a bitstream has in its first 4,096 bytes.
    command : str
        Synthesis for counting, without the name of the top module. It takes multiplier blocks
        wherever it finds a product, so that a count of none means something.
    until : str
        Label of that command before which all products have been found.
    cells : mapping of str to (str, int)
        What the names of kinds of cells begin with (the longest counts): what of the device they
        take, and how much.
    other_cells : tuple of str
        Beginnings of further kinds after which Yosys names cells and nets.
    pairs : tuple of str
        Beginnings of kinds whose cell a register behind it shares; none where registers have
        places of their own.
    models, own_models : tuple of str
        Simulation models of the cells: files of Yosys below its data folder, and files in
        ``pyhw/synthesis/cells``.
    block_shapes : tuple of (int, int)
        Words and bits that a block RAM may be, the widest first.
    both_ports_bits : int
        Widest word with two ports that read and write; 0 if a block has one of each, so that a
        second read port is a second block.
    lut_ram : bool
        Whether small memories, and the accumulators, may lie in LUTs.
    lut_share : float
        LUT4s for each that `pyhw.fitter.area` counts.
    lone_registers, lone_registers_overlap : float
        Logic cells that registers take beside the LUT4s; what instructions held ahead add.
    fill : float
        Share of a device's LUTs that `pyhw build` fits an accelerator to; nextpnr places and
        routes no more in good time.
    """

    name: str
    devices: tuple[Device, ...]
    router: Program
    packer: Program
    unpacker: Program | None = None
    constraints: tuple[str, ...]
    placed: str
    clocked: str
    routed: str
    bitstream: str
    sign: bytes
    command: str
    until: str = "map_ram"
    cells: Cells
    other_cells: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    models: tuple[str, ...]
    own_models: tuple[str, ...] = ()
    block_shapes: tuple[tuple[int, int], ...]
    both_ports_bits: int
    lut_ram: bool
    lut_share: float
    lone_registers: float = 0.0
    lone_registers_overlap: float = 0.0
    fill: float

    def synthesis(self, platform: Any) -> list[str]:
        """Return Yosys' commands without their output: the next if one comes to no end.

        Parameters
        ----------
        platform : amaranth.build.Platform
            Of the board.
        """
        raise NotImplementedError

    def route(self, platform: Any) -> list[str]:
        """Return nextpnr's arguments for a device, its constraints and its output."""
        raise NotImplementedError

    def pack(self, platform: Any) -> list[str]:
        """Return the packer's arguments."""
        raise NotImplementedError

    def solve_pll(self, input_hz: int, wanted_hz: int, platform: Any = None, *,
                  pad: bool = False) -> Any:  # fmt: skip
        """Return the setting of the clock generator nearest to a frequency.

        Parameters
        ----------
        input_hz, wanted_hz : int
            Of the oscillator, and of the design.
        platform : amaranth.build.Platform, optional
            Where ranges differ from device to device.
        pad : bool
            The oscillator's pin is the generator's own.

        Returns
        -------
        pyhw.families.pll.Pll

        Raises
        ------
        ValueError
            If none comes within `pyhw.families.pll.TOLERANCE`; the text names the nearest.
        """
        raise NotImplementedError

    def more_constraints(self, platform: Any, oscillator: str) -> dict[str, str]:
        """Return files, by suffix, that a platform's own ones lack; the oscillator is a port."""
        return {}

    def foreign(self, head: bytes, title: str) -> str:
        """Return the part that a bitstream names, if it is not that of a board; else nothing."""
        return ""

    def cell(self, kind: str) -> tuple[str, int] | None:
        """Return what a kind of cell takes of a device, and how much; None if nothing counted."""
        found = max((one for one in self.cells if kind.startswith(one)), key=len, default=None)
        return None if found is None else self.cells[found]

    def count(self, kinds: Mapping[str, int]) -> dict[str, int]:
        """Return what cells take of a device: their number of each kind, added up."""
        used: Counter[str] = Counter()
        for kind, number in kinds.items():
            if (taken := self.cell(kind)) is not None:
                used[taken[0]] += taken[1] * number
        return dict(used)

    def kinds_of(self, name: str) -> tuple[str, ...]:
        """Return the beginnings of the kinds that take one thing of a device."""
        return tuple(kind for kind, (taken, _) in self.cells.items() if taken == name)

    def limits(self, device: Device) -> dict[str, int]:
        """Return how much of each thing that is counted a device has."""
        return {
            LUTS: device.luts,
            **({LOGIC_CELLS: device.luts} if self.pairs else {}),
            FLIP_FLOPS: device.flip_flops or device.luts,
            BLOCK_RAMS: device.block_rams,
            SINGLE_PORT_RAMS: device.single_port_rams,
            MULTIPLIERS: 0,
        }

    def lone_registers_in(self, cells: Mapping[str, Any]) -> int:
        """Count the registers of a netlist, in Yosys' JSON, that take a logic cell of their own.

        A register shares a cell with the LUT before it, if nothing else reads that LUT.
        """
        readers: Counter[Any] = Counter()
        lookups = set()
        for cell in cells.values():
            for port, bits in cell.get("connections", {}).items():
                if cell["port_directions"][port] == "input":
                    readers.update(bits)
                elif cell["type"].startswith(self.pairs):
                    lookups.update(bits)
        registers = (cell for cell in cells.values()
                     if cell["type"].startswith(self.kinds_of(FLIP_FLOPS)))
        return sum(not (data in lookups and readers[data] == 1)
                   for cell in registers for data in cell["connections"]["D"])

    @cached_property
    def names(self) -> str:
        """Pattern of the kinds of cells in names that Yosys makes."""
        return "|".join(f"{kind}[A-Z0-9_]*?" for kind in (*self.cells, *self.other_cells))

    @property
    def nine_bit_bytes(self) -> bool:
        """Whether blocks have nine bits a byte, so that words of 18 and 36 bits fill them."""
        return any(bits % 9 == 0 for _, bits in self.block_shapes)

    @property
    def byte_words(self) -> int:
        """Words of a block RAM that are one byte wide."""
        return max(words for words, bits in self.block_shapes if bits >= 8)

"""Where a program's maps lie, layer by layer, and what every memory takes of a device."""

import string
from dataclasses import dataclass

from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.families import Device, find_device
from pyhw.fitter.memories import block_rams, memories, single_port_rams
from pyhw.hdl.config import Config
from pyhw.hdl.isa import Space, param_layout
from pyhw.table import text_table

__all__ = ["MemoryUse", "memory_text", "memory_use", "picture", "scratch_peak"]

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits


def scratch_peak(program: Program) -> int:
    """Return the bytes of a group's scratchpad that the program's maps reach."""
    return max(place.base + place.size for place in program.placements)


def picture(program: Program, columns: int = 64) -> list[str]:
    """Draw the scratchpad: a line a layer, addresses from left to right, a letter a map.

    A letter stands for all bytes of its column that a map takes while the layer runs; where a sum
    takes the place of its residual, the column shows the sum.

    Parameters
    ----------
    program : Program
    columns : int
        Width of the picture, from 16.

    Returns
    -------
    list of str
        The lines, the letters' meaning last.

    Raises
    ------
    ValueError
        If `columns` is below 16.
    """
    if columns < 16:
        raise ValueError(f"columns must be at least 16, not {columns}")
    peak = scratch_peak(program)
    letters = {p.name: LETTERS[i % len(LETTERS)] for i, p in enumerate(program.placements)}
    names = [layer.name for layer in program.layers]
    width = max(len(name) for name in [*names, "layer"])
    end = f"{peak:,}"
    lines = [f"{'layer':{width}}  0{end:>{columns - 1}} bytes"]
    for number, name in enumerate(names):
        cells = ["."] * columns
        # What takes another's place is drawn over it.
        live = [p for p in program.placements if p.first <= number <= p.last]
        for place in sorted(live, key=lambda p: p.first):
            first = place.base * columns // peak
            last = -(-(place.base + place.size) * columns // peak)
            cells[first:last] = letters[place.name] * (last - first)
        lines.append(f"{name:{width}}  {''.join(cells)}")
    for place in program.placements:
        taken = f", in place of {letters[place.replaces]}" if place.replaces else ""
        lines.append(f"{letters[place.name]}  {place.name}: {place.base:,} to "
                     f"{place.base + place.size - 1:,}, {place.size:,} bytes{taken}")  # fmt: skip
    return lines


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """A memory of a configuration and what a program takes of it.

    Attributes
    ----------
    name : str
    count, depth, width : int
        How many, their words, bits of a word.
    used : int or None
        Words (scratchpad: of each bank) that the program takes; None where that is no question.
    blocks, single_ports : int
        Block RAMs on the device's family, and blocks of one port.
    """

    name: str
    count: int
    depth: int
    width: int
    used: int | None
    blocks: int
    single_ports: int


def memory_use(config: Config, device: Device, program: Program | None = None) -> list[MemoryUse]:
    """List the memories of a configuration, with their block RAMs.

    Parameters
    ----------
    config : Config
    device : Device
        Only its family counts.
    program : Program, optional
        Compiled for the configuration.

    Raises
    ------
    UserError
        If the program is one for another configuration.
    """
    taken: dict[str, int] = {}
    if program is not None:
        if program.config_hash != config.hash:
            raise UserError(f"the program was compiled for configuration "
                            f"{program.config_hash.hex()}, not for {config.name}")  # fmt: skip
        sizes = {space: len(program.section(space)) for space in Space}
        taken = {
            "scratchpad": -(-scratch_peak(program) // config.banks),
            "weights": sizes[Space.WEIGHTS] // config.weights.load_bytes,
            "records": sizes[Space.PARAMS] // param_layout(config).bytes,
            "instructions": sizes[Space.PROGRAM] // 4,
            "instructions and records": (sizes[Space.PROGRAM] // 4
                                         + sizes[Space.PARAMS] // param_layout(config).bytes),
            "index lists": sizes[Space.INDEX] // 4,
            "tables": sizes[Space.TABLES],
            "prototypes": sizes[Space.PROTOTYPES],
        }
    return [
        MemoryUse(
            name=one.name,
            count=one.count,
            depth=one.depth,
            width=one.width,
            used=taken.get(one.name),
            blocks=block_rams(one, device.family),
            single_ports=single_port_rams(one),
        )
        for one in memories(config)
    ]


def memory_text(program: Program, config: Config | None, device: str = "ecp5-85f") -> str:
    """Return the scratchpad layer by layer and, if the configuration is known, all memories.

    Parameters
    ----------
    program : Program
    config : Config, optional
        What it was compiled for.
    device : str
        Whose block RAMs are counted.
    """
    chosen = find_device(device)
    lines = [f"scratchpad of each group, {program.batch // program.groups} image(s) a group",
             *picture(program)]
    if config is None:
        return "\n".join([*lines, "The configuration is none of the package's: give it with "
                          "--config to see its memories."])  # fmt: skip
    rows = [("memory", "how many", "words", "bits", "words used", "block RAMs")]
    uses = memory_use(config, chosen, program)
    for one in uses:
        blocks = (f"{one.single_ports} single-port" if one.single_ports
                  else str(one.blocks) if one.blocks else "in LUTs")  # fmt: skip
        rows.append((one.name, str(one.count), f"{one.depth:,}", str(one.width),
                     "" if one.used is None else f"{one.used:,}", blocks))  # fmt: skip
    total, single = sum(one.blocks for one in uses), sum(one.single_ports for one in uses)
    rows.append(("all", "", "", "", "", f"{total} of {chosen.block_rams}"))
    if single:
        rows.append(("single-port", "", "", "", "", f"{single} of {chosen.single_port_rams}"))
    left = chosen.block_rams - total
    lines += ["", f"memories of {config.name} on {chosen.name}", text_table(rows).rstrip(),
              f"{left} block RAMs of {chosen.name} are left" if left >= 0 else
              f"{-left} block RAMs more than {chosen.name} has"]
    return "\n".join(lines)

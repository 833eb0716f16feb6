"""Disassembly: a program's instructions as readable text."""

from collections.abc import Iterator

from pyhw.hdl.config import Config
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import Opcode, Space
from pyhw.hdl.records import Instruction

from .program import Program

__all__ = ["disassemble", "instructions", "layer_instructions"]

_ALWAYS = ("n_x", "n_y", "n_slots", "burst", "in_base", "out_base", "rows", "n_blocks")


def instructions(raw: bytes, config: Config) -> Iterator[tuple[int, Opcode, Instruction]]:
    """Yield ``(word address, opcode, records)`` of every instruction.

    Raises
    ------
    ValueError
        If the bytes end inside an instruction, or an opcode is unknown.
    """
    offset = 0
    while offset < len(raw):
        number = raw[offset] & 0xF
        if number not in [o.value for o in Opcode]:
            raise ValueError(f"Instruction at word {offset // 4} must have a known opcode, "
                             f"not {number}")
        opcode = Opcode(number)
        form = None if opcode is Opcode.END else instruction(config, opcode)
        size = 4 if form is None else form.bytes
        if offset + size > len(raw):
            raise ValueError(f"Instruction at word {offset // 4} must be whole, not cut off")
        yield (offset // 4, opcode,
               Instruction() if form is None else form.decode(raw[offset:offset + size]))
        offset += size


def layer_instructions(program: Program, config: Config) -> list[Instruction]:
    """Return the instructions of a program's layers, in order (of its first turn)."""
    found = [layer for _, opcode, layer in instructions(program.section(Space.PROGRAM), config)
             if opcode is not Opcode.END]
    return found[: len(program.layers)]


def disassemble(program: Program, config: Config) -> str:
    """Return the listing: memory map, then one paragraph per instruction.

    Fields that are 0 are left out, except those that everybody looks for.
    """
    lines = [f"program {program.name}: {program.batch} images on {program.groups} groups, "
             f"configuration {program.config_hash.hex()}"]
    for space, word, raw in program.sections:
        lines.append(f"  {space.name.lower():8} word {word:6}  {len(raw):8} bytes")
    for place in program.placements:
        lines.append(f"  map {place.name:24} {place.base:#08x}..{place.base + place.size - 1:#08x}"
                     f"  {place.size:7} bytes  layers {max(place.first, 0)}..{place.last}"
                     + (f"  in place of {place.replaces}" if place.replaces else ""))
    number = 0
    for address, opcode, layer in instructions(program.section(Space.PROGRAM), config):
        label = ""
        if opcode is not Opcode.END:
            turn, index = divmod(number, len(program.layers))
            label = f" {index} {program.layers[index].name} ({program.layers[index].engine})"
            label += ", second turn" if turn else ""
            number += 1
        lines.append(f"{address:6}: {opcode.name}{label}")
        for name, fields in layer.values().items() if opcode is not Opcode.END else ():
            shown = [f"{field}={value}" for field, value in fields.items()
                     if (value or field in _ALWAYS) and field not in ("opcode", "engine")]
            for start in range(0, len(shown), 8):
                lines.append(f"          {'' if start else name:10} "
                             + " ".join(shown[start:start + 8]))
    return "\n".join(lines) + "\n"

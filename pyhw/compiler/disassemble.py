"""Disassembly: a program's instructions as readable text."""

from collections.abc import Iterator

from pyhw.hdl.isa import LAYER, LOOP, Engine, Opcode, Space

from .program import Program

__all__ = ["disassemble", "instructions"]

_ALWAYS = ("n_x", "n_y", "n_slots", "burst", "in_base", "out_base", "rows", "n_blocks")


def instructions(raw: bytes) -> Iterator[tuple[int, Opcode, dict[str, int]]]:
    """Yield ``(word address, opcode, fields)`` of every instruction.

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
        layout = {Opcode.LAYER: LAYER, Opcode.LOOP: LOOP}.get(opcode)
        size = 4 if layout is None else layout.bytes
        if offset + size > len(raw):
            raise ValueError(f"Instruction at word {offset // 4} must be whole, not cut off")
        yield (offset // 4, opcode,
               {} if layout is None else layout.decode(raw[offset:offset + size]))
        offset += size


def disassemble(program: Program) -> str:
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
    layer = 0
    for address, opcode, fields in instructions(program.section(Space.PROGRAM)):
        label = ""
        if opcode is Opcode.LAYER:
            turn, number = divmod(layer, len(program.layers))
            label = f" {number} {program.layers[number].name} ({Engine(fields['engine']).name})"
            label += ", second turn" if turn else ""
            layer += 1
        lines.append(f"{address:6}: {opcode.name}{label}")
        shown = [f"{name}={value}" for name, value in fields.items()
                 if (value or name in _ALWAYS) and name not in ("opcode", "engine")]
        for start in range(0, len(shown), 8):
            lines.append("          " + " ".join(shown[start:start + 8]))
    return "\n".join(lines) + "\n"

"""Ranges of instruction fields: what a program asks of control, and what an accelerator holds."""

from collections.abc import Iterable

from pyhw.hdl.config import Config
from pyhw.hdl.instruction import instruction
from pyhw.hdl.isa import INPUT, Opcode, Space
from pyhw.hdl.records import Instruction

from .disassemble import instructions
from .errors import CompileError
from .program import Program

__all__ = ["check_fields", "check_layer", "program_ranges", "specialise"]

FREE = {"control.opcode", "input.pad_value0", "input.pad_value1", "input.pad_value2",
        "input.pad_value3"}
"""Fields without a range: every instruction has the first, the others come from training, unless
the input is stored as it comes, which needs none."""


def _records(program: Program, config: Config) -> list[dict[str, int]]:
    """Return the values of the fields of INPUT and of every instruction, named as in ranges."""
    found = [{f"input.{name}": value for name, value in
              INPUT.decode(program.section(Space.INPUT)).items()}]
    for _, opcode, layer in instructions(program.section(Space.PROGRAM), config):
        if opcode is not Opcode.END:
            # The count of slots comes from the host, up to what memory is laid out for.
            found.append(_named(layer.changed(n_slots=program.batch // program.groups), opcode,
                                config))
    return found


def _named(layer: Instruction, opcode: Opcode, config: Config) -> dict[str, int]:
    """Return the fields of the records that an instruction has, named as in ranges."""
    there = instruction(config, opcode).records
    return {f"{record}.{name}": value for record, fields in layer.values().items()
            if record in there for name, value in fields.items()}


def _hull(parts: Iterable[dict[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """Return the least ranges that hold all of these."""
    ranges: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, (low, high) in part.items():
            least, most = ranges.get(name, (low, high))
            ranges[name] = min(least, low), max(most, high)
    return ranges


def program_ranges(program: Program, config: Config) -> dict[str, tuple[int, int]]:
    """Return lowest and highest value of fields, as `Config.ranges` has them."""
    ranges = _hull({name: (value, value) for name, value in fields.items()
                    if name not in FREE or fields.get("input.fold") == 1}
                   for fields in _records(program, config))
    # A run may have fewer images.
    ranges["control.n_slots"] = 0, ranges["control.n_slots"][1]
    return ranges


def specialise(config: Config, *programs: Program) -> Config:
    """Return the configuration whose control holds these programs and no more.

    Parameters
    ----------
    config : Config
        What they were compiled for, but for its ranges.
    programs : Program
        Compile them again for the result, which has another hash.
    """
    parts = [program_ranges(program, config) for program in programs]
    # What one program leaves free is free.
    ranges = {name: pair for name, pair in _hull(parts).items() if all(name in p for p in parts)}
    return config.changed(ranges=ranges)


def check_layer(layer: str, values: Instruction, config: Config) -> None:
    """Refuse an instruction of which a field is outside its range."""
    for record, fields in values.values().items():
        check_fields(layer, record, fields, config)


def check_fields(layer: str, record: str, fields: dict[str, int], config: Config) -> None:
    """Refuse a record of which a field is outside its range."""
    images = max(1, config.groups * config.range_of("control.n_slots")[1])
    for name in sorted(fields):
        low, high = config.range_of(f"{record}.{name}")
        if not low <= fields[name] <= high and f"{record}.{name}" in config.ranges:
            held = f"only {low}" if low == high else f"{low} to {high}"
            raise CompileError(
                layer, f"its {name} is {fields[name]} and this accelerator was "
                f"specialised for {held}",
                "take a configuration without ranges, or compile the model that it was specialised "
                f"for, for {images} image{'s' * (images > 1)} at once (--batch {images})")

"""Ranges of instruction fields: what a program asks of control, and what an accelerator holds."""

from dataclasses import replace

from hdl.config import Config
from hdl.isa import INPUT, Opcode, Space

from .disassemble import instructions
from .errors import CompileError
from .program import Program

__all__ = ["check_fields", "check_ranges", "program_ranges", "specialise"]

FREE = {"layer.opcode", "input.pad_value0", "input.pad_value1", "input.pad_value2",
        "input.pad_value3"}
"""Fields without a range: every instruction has the first, the others come from training."""


def _records(program: Program) -> list[tuple[str, dict[str, int]]]:
    """Return layer (or operation) and field values of every LAYER and the INPUT record."""
    layers = [fields for _, opcode, fields in instructions(program.section(Space.PROGRAM))
              if opcode is Opcode.LAYER]
    # The count of slots comes from the host, up to what memory is laid out for.
    slots = {"layer.n_slots": program.batch // program.groups}
    named = [(program.layers[index % len(program.layers)].name,
              {f"layer.{name}": value for name, value in fields.items()} | slots)
             for index, fields in enumerate(layers)]
    record = INPUT.decode(program.section(Space.INPUT))
    return [("input", {f"input.{name}": value for name, value in record.items()}), *named]


def program_ranges(program: Program) -> dict[str, tuple[int, int]]:
    """Return lowest and highest value of LAYER and INPUT fields, as `Config.ranges` has them."""
    ranges: dict[str, tuple[int, int]] = {}
    for _, fields in _records(program):
        for name in sorted(fields.keys() - FREE):
            low, high = ranges.get(name, (fields[name], fields[name]))
            ranges[name] = min(low, fields[name]), max(high, fields[name])
    # A run may have fewer images.
    ranges["layer.n_slots"] = 0, ranges["layer.n_slots"][1]
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
    ranges: dict[str, tuple[int, int]] = {}
    for program in programs:
        for name, (low, high) in program_ranges(program).items():
            before = ranges.get(name, (low, high))
            ranges[name] = min(before[0], low), max(before[1], high)
    return replace(config, ranges=ranges)


def check_ranges(program: Program, config: Config) -> None:
    """Refuse a program of which a field is outside the configuration's ranges (CompileError)."""
    for layer, fields in _records(program):
        check_fields(layer, fields, config)


def check_fields(layer: str, fields: dict[str, int], config: Config) -> None:
    """Refuse a layer of which a field, as in ``layer.n_x``, is outside its range."""
    images = max(1, config.groups * config.range_of("layer.n_slots")[1])
    for name in sorted(fields.keys() & config.ranges.keys()):
        low, high = config.range_of(name)
        if not low <= fields[name] <= high:
            held = f"only {low}" if low == high else f"{low} to {high}"
            raise CompileError(
                layer, f"its {name.partition('.')[2]} is {fields[name]} and this accelerator was "
                f"specialised for {held}",
                "take a configuration without ranges, or compile the model that it was specialised "
                f"for, for {images} image{'s' * (images > 1)} at once (--batch {images})")

"""How the instructions of a configuration are packed, and what of them travels between its units.

Records of units that a configuration lacks take no bits and no register.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.lib import data

from .isa import Opcode
from .records import RECORDS, Instruction

__all__ = [
    "COMPUTE_STAGE", "MOVE_RECORDS", "STORE_STAGE", "InstructionFormat", "compute_stage", "hand",
    "instruction", "opcodes", "run_layout",
]

COMPUTE_STAGE = (
    "nest", "read", "index", "steps", "window", "chain", "terms", "operand", "expansion")
"""Those that the compute stage takes."""
STORE_STAGE = ("nest", "write", "chain", "terms", "parameters", "post", "residual")
"""Those that the store stage takes."""
MOVE_RECORDS = ("control", "nest", "read", "index", "write")
"""Those of a move."""

_PRESENT: Mapping[str, Callable[[Any], bool]] = {
    "index": lambda config: config.memory.index_entries > 0,
    "chain": lambda config: config.depthwise.columns > 0,
    "expansion": lambda config: config.weights.prototypes > 0,
    "residual": lambda config: config.residual.exists,
}
"""When a configuration has a record; it has all others always."""


@dataclass(frozen=True)
class InstructionFormat:
    """The records of an instruction, in order, packed from bit 0 up and padded to 32-bit words."""

    opcode: Opcode
    records: tuple[str, ...]

    @property
    def width(self) -> int:
        """Bits in use."""
        return sum(RECORDS[name].layout().width for name in self.records)

    @property
    def words(self) -> int:
        """32-bit words."""
        return -(-self.width // 32)

    @property
    def bytes(self) -> int:
        """Bytes, a multiple of 4."""
        return 4 * self.words

    @property
    def shape(self) -> data.StructLayout:
        """Layout of the records in hardware, without the padding."""
        return data.StructLayout({name: RECORDS[name].layout().shape for name in self.records})

    def encode(self, values: Instruction) -> bytes:
        """Pack values; `ValueError` outside a field's range or in a record that is not there."""
        word = offset = 0
        for name, fields in values.values().items():
            layout = RECORDS[name].layout()
            if name in self.records:
                word |= int.from_bytes(layout.encode(**fields), "little") << offset
                offset += layout.width
            elif any(fields.values()):
                raise ValueError(f"{self.opcode.name} has no record {name!r} in this configuration")
        return word.to_bytes(self.bytes, "little")

    def decode(self, raw: "bytes | memoryview") -> Instruction:
        """Unpack bytes."""
        if len(raw) != self.bytes:
            raise ValueError(f"{self.opcode.name} must be {self.bytes} bytes, not {len(raw)}")
        word, found = int.from_bytes(raw, "little"), {}
        for name in self.records:
            layout = RECORDS[name].layout()
            part = (word & ((1 << layout.width) - 1)).to_bytes(layout.bytes, "little")
            found[name] = RECORDS[name](**layout.decode(part))
            word >>= layout.width
        return Instruction(**found)  # type: ignore[arg-type]


def instruction(config: Any, opcode: Opcode = Opcode.COMPUTE) -> InstructionFormat:
    """Return the format of a configuration's instructions with an opcode.

    Parameters
    ----------
    config : Config
    opcode : Opcode
        `COMPUTE` or a move; `END` is the opcode alone.
    """
    named = tuple(RECORDS) if opcode == Opcode.COMPUTE else MOVE_RECORDS
    return InstructionFormat(opcode, tuple(
        name for name in named if name not in _PRESENT or _PRESENT[name](config)))


def opcodes(config: Any) -> tuple[Opcode, ...]:
    """Return the opcodes of a configuration's instructions, `END` apart."""
    return (Opcode.COMPUTE, *[Opcode.COPY] * config.moves.copy)


def hand(port: Any, run: Any) -> list[Any]:
    """Return assignments that give a port the members that it has of another one."""
    return [getattr(port, name).eq(getattr(run, name)) for name in port.shape().members]


def compute_stage(config: Any) -> data.StructLayout:
    """Return the layout of what the compute stage takes: with moves it has to know the opcode."""
    return run_layout(config, *["control"] * config.moves.copy, *COMPUTE_STAGE)


def run_layout(config: Any, *records: str) -> data.StructLayout:
    """Return the layout of a port: those of these records that there are, positions, start.

    Parameters
    ----------
    config : Config
    records : str
        Names in `RECORDS`.

    Returns
    -------
    data.StructLayout
        The records by name; ``total``, the positions in all slots; ``start``, the start strobe.
    """
    there = instruction(config).records
    return data.StructLayout({
        **{name: RECORDS[name].layout().shape for name in records if name in there},
        "total": config.count_width, "start": 1})

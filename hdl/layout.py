"""A layout of fields: the encoder, the decoder, the hardware's `data.StructLayout` and the tables
of the documentation are derived from it.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

__all__ = ["Field", "Layout", "Record", "signed_field", "unsigned_field"]


@dataclass(frozen=True)
class Field:
    """One field of a layout: name, width in bits, signedness, meaning."""

    name: str
    width: int
    signed: bool
    doc: str

    @property
    def low(self):
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self):
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1


class Layout:
    """An ordered set of fields, packed from bit 0 up and padded to whole 32-bit words.

    Parameters
    ----------
    name : str
        Name used in messages and documentation.
    rows : iterable of (str, int, str)
        Field name, width in bits (negative: signed), meaning.
    """

    def __init__(self, name, rows):
        self.name = name
        self.fields = {n: Field(n, abs(w), w < 0, doc) for n, w, doc in rows}

    @property
    def width(self):
        """Bits in use."""
        return sum(f.width for f in self.fields.values())

    @property
    def words(self):
        """32-bit words."""
        return -(-self.width // 32)

    @property
    def bytes(self):
        """Bytes, a multiple of 4."""
        return self.words * 4

    @property
    def shape(self):
        """`data.StructLayout` of the fields, without the padding."""
        return data.StructLayout({
            f.name: signed(f.width) if f.signed else unsigned(f.width)
            for f in self.fields.values()})

    def encode(self, **values):
        """Pack field values (missing ones are 0) into bytes; `ValueError` outside a range."""
        if unknown := sorted(set(values) - set(self.fields)):
            raise ValueError(f"{self.name} has no field {unknown[0]!r}")
        word, offset = 0, 0
        for f in self.fields.values():
            value = int(values.get(f.name, 0))
            if not f.low <= value <= f.high:
                raise ValueError(f"{self.name}.{f.name} must be from {f.low} to {f.high}, "
                                 f"not {value}")
            word |= (value & ((1 << f.width) - 1)) << offset
            offset += f.width
        return word.to_bytes(self.bytes, "little")

    def decode(self, raw):
        """Unpack bytes into a dict of field values."""
        if len(raw) != self.bytes:
            raise ValueError(f"{self.name} must be {self.bytes} bytes, not {len(raw)}")
        word, out = int.from_bytes(raw, "little"), {}
        for f in self.fields.values():
            value = word & ((1 << f.width) - 1)
            out[f.name] = value - (1 << f.width) if f.signed and value >> (f.width - 1) else value
            word >>= f.width
        return out

    def markdown(self):
        """Return the table of fields for the documentation."""
        lines, offset = ["| bits | field | type | meaning |", "|---|---|---|---|"], 0
        for f in self.fields.values():
            kind = f"{'s' if f.signed else 'u'}{f.width}"
            lines.append(f"| {offset + f.width - 1}:{offset} | `{f.name}` | {kind} | {f.doc} |")
            offset += f.width
        return "\n".join(lines) + "\n"


def unsigned_field(width: int, doc: str) -> Any:
    """Return an unsigned field of a `Record`, 0 by default."""
    return dataclasses.field(default=0, metadata={"width": width, "doc": doc})


def signed_field(width: int, doc: str) -> Any:
    """Return a field of a `Record` in two's complement, 0 by default."""
    return dataclasses.field(default=0, metadata={"width": -width, "doc": doc})


class Record:
    """What one unit, or several that walk alike, take of an instruction: a dataclass of fields."""

    name: ClassVar[str]
    """In instructions, messages and documentation."""

    @classmethod
    @functools.cache
    def layout(cls) -> Layout:
        """Return the layout of the fields."""
        return Layout(cls.name, [
            (f.name, f.metadata["width"], f.metadata["doc"]) for f in dataclasses.fields(cls)
        ])  # type: ignore[arg-type]

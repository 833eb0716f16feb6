"""Where a value lies in the scratchpad, and the strides over its positions."""

from dataclasses import dataclass

from pyhw.hdl.formats import Format

__all__ = ["Map", "Strides"]


@dataclass
class Map:
    """A value in memory: channels-last, one copy per image slot.

    Parameters
    ----------
    name : str
        Name of the value.
    shape : (int, int, int)
        H, W, C as stored.
    fmt : Format
        Format; a value takes ``fmt.bytes`` bytes, little endian.
    slots : int
        Images per group.
    base : int
        Scratch address of slot 0, set by the allocator.
    """

    name: str
    shape: tuple[int, int, int]
    fmt: Format
    slots: int
    base: int = 0

    @property
    def pixel(self) -> int:
        """Bytes of a position."""
        return self.shape[2] * self.fmt.bytes

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return self.shape[1] * self.pixel

    @property
    def slot(self) -> int:
        """Bytes of one image's map."""
        return self.shape[0] * self.row

    @property
    def size(self) -> int:
        """Bytes of all slots."""
        return self.slot * self.slots

    def strides(self, columns: int, rows: int,
                stride: tuple[int, int] = (1, 1)) -> "Strides":
        """Return the address steps for `columns` x `rows` positions at a stride."""
        return Strides.over(columns, rows, stride[1] * self.pixel, stride[0] * self.row, self.slot)


@dataclass(frozen=True)
class Strides:
    """Address steps of a position counter: column, row and slot, rewinds included."""

    x: int
    y: int
    slot: int

    @classmethod
    def over(cls, columns: int, rows: int, x: int, y: int, slot: int) -> "Strides":
        """Make the steps from plain strides."""
        return cls(x, y - (columns - 1) * x, slot - (rows - 1) * y - (columns - 1) * x)

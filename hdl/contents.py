"""A program that the memories hold from configuration on (``docs/build.md``, "Stand-alone")."""

from dataclasses import dataclass

__all__ = ["NOTHING", "Contents"]


@dataclass(frozen=True)
class Contents:
    """Initial contents of the program memories.

    Parameters
    ----------
    sections : tuple of (Space, int, bytes)
        Contents of a memory with their first word, as a program has them; without any, the
        memories hold nothing that counts.
    crc : int
        What COMMIT says of the program, 32 bits.
    """

    sections: tuple = ()
    crc: int = 0

    def words(self, space, size):
        """Return a memory's words of so many bytes, little endian, from address 0 to the last."""
        raw = bytearray()
        for _, first, data in (section for section in self.sections if section[0] is space):
            end = first * size + len(data)
            raw += bytes(max(end - len(raw), 0))
            raw[first * size:end] = data
        return [int.from_bytes(raw[k:k + size], "little") for k in range(0, len(raw), size)]

    @property
    def style(self):
        """Attributes of a memory with contents.

        The packer for Gowin drops those of distributed RAM.
        """
        return {"ram_style": "block"} if self.sections else {}


NOTHING = Contents()
"""No program: the host loads one."""

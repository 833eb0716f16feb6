"""The program image: what is loaded into an accelerator, and where its maps lie."""

import json
import os
import struct
import zlib
from dataclasses import asdict, dataclass, field

from pyhw.files import replacing
from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.isa import Space

from .allocate import Placement
from .description import read_description
from .stored import Layer, StoredMap

__all__ = ["Layer", "Program", "StoredMap", "MAGIC"]

MAGIC = b"pyhwprog"
"""First bytes of a program file."""
VERSION = 2
"""Of the file; a reader refuses any other."""
_HEADER = struct.Struct("<8sHHIII")
_MAX_META = 16 << 20
_MAX_SECTION = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled network.

    Parameters
    ----------
    name : str
    graph : str
        Fingerprint of the graph it was compiled from.
    config_hash : bytes
        Hash of the configuration it was compiled for.
    batch, groups : int
        Images that fit at once; groups they are spread over.
    sections : list of (Space, int, bytes)
        Memory contents with their first word.
    input, output : StoredMap
    input_shape : (int, int, int)
        Shape of an image as the host sends it.
    layers : list of Layer
        In order of execution.
    placements : list of Placement
        Memory map, for reports.
    second_buffers : tuple of StoredMap
        Second input and output, if the program has them: the instructions of all `layers` then
        follow a second time, for these.
    """

    name: str
    graph: str
    config_hash: bytes
    batch: int
    groups: int
    sections: list[tuple[Space, int, bytes]]
    input: StoredMap
    input_shape: tuple[int, int, int]
    layers: list[Layer]
    output: StoredMap
    placements: list[Placement] = field(default_factory=list)
    second_buffers: tuple[StoredMap, ...] = ()

    @property
    def turns(self) -> list[tuple[StoredMap, StoredMap]]:
        """Input and output of every batch in turn: of one kind, or of two."""
        first = (self.input, self.output)
        if not self.second_buffers:
            return [first]
        image, result = self.second_buffers
        return [first, (image, result)]

    def section(self, space: Space) -> bytes:
        """Return a memory's contents, empty if it has none."""
        return b"".join(raw for s, _, raw in self.sections if s is space)

    def to_bytes(self) -> bytes:
        """Return the file: header, JSON description, sections, CRC-32 of all before it."""
        meta = {
            "name": self.name, "graph": self.graph, "config_hash": self.config_hash.hex(),
            "batch": self.batch, "groups": self.groups,
            "input": asdict(self.input), "output": asdict(self.output),
            "input_shape": self.input_shape, "layers": [asdict(la) for la in self.layers],
            "placements": [asdict(p) for p in self.placements],
            "sections": [[s.name, word, len(raw)] for s, word, raw in self.sections],
            "second_buffers": [asdict(one) for one in self.second_buffers],
        }
        text = json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()
        body = b"".join(raw for _, _, raw in self.sections)
        head = _HEADER.pack(MAGIC, VERSION, ISA_VERSION, len(text), len(body), 0)
        raw = head + text + body
        return raw + zlib.crc32(raw).to_bytes(4, "little")

    def save(self, path: str | os.PathLike) -> None:
        """Write the file, all of it or nothing."""
        with replacing(path) as file:
            file.write(self.to_bytes())

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Program":
        """Read a file; `ValueError` says in one line what is wrong with it."""
        if len(raw) < _HEADER.size + 4 or raw[:8] != MAGIC:
            raise ValueError("Program file must begin with 'pyhwprog': this is another kind of "
                             "file, or it is truncated")
        _, version, isa, meta_size, body_size, _ = _HEADER.unpack_from(raw)
        if version != VERSION or isa != ISA_VERSION:
            raise ValueError(f"Program file must have version {VERSION} for instruction set "
                             f"{ISA_VERSION}, not version {version} for {isa}; compile the model "
                             "again")
        if meta_size > _MAX_META or body_size > _MAX_SECTION:
            raise ValueError("Program file must have a header within its limits, not "
                             f"{meta_size} + {body_size} bytes")
        if len(raw) != _HEADER.size + meta_size + body_size + 4:
            raise ValueError(f"Program file must be {_HEADER.size + meta_size + body_size + 4} "
                             f"bytes long, not {len(raw)}: it is truncated or damaged")
        if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
            raise ValueError("Program file must match its checksum: it is damaged")
        try:
            meta = json.loads(raw[_HEADER.size:_HEADER.size + meta_size])
            return cls(**read_description(meta, raw[_HEADER.size + meta_size:-4]))
        except (RecursionError, ValueError) as error:
            raise ValueError(f"Program file must have a sound description: {error}") from None

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Program":
        """Read a program file; `ValueError` says in one line what is wrong with it."""
        with open(path, "rb") as file:
            raw = file.read(_MAX_META + _MAX_SECTION + 1024)
        return cls.from_bytes(raw)

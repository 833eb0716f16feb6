"""The contents of the program memories; what is equal lies there once."""

import hashlib

import numpy as np

from pyhw.hdl.config import Config
from pyhw.hdl.isa import param_layout

from .errors import CompileError

__all__ = ["Image", "Section"]


class Section:
    """The contents of one memory, in whole words; equal parts share their place.

    Parameters
    ----------
    unit : int
        Bytes of a word.
    """

    def __init__(self, unit: int) -> None:
        self.unit, self.raw = unit, bytearray()
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the words in use."""
        return len(self.raw) // self.unit

    def find(self, part: bytes) -> int | None:
        """Return the first word of a part that is there already, by its hash."""
        return self._places.get(hashlib.sha256(part).digest())

    def add(self, part: bytes) -> int:
        """Return the first word of a part, put behind all others if it is not there yet."""
        assert len(part) % self.unit == 0
        place = self.find(part)
        if place is None:
            place = self._places[hashlib.sha256(part).digest()] = len(self)
            self.raw += part
        return place


class Weights(Section):
    """The weight memory: words of pads and codes, and masks bit behind bit.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config.weights.load_bytes)
        self._load_bits = config.weights.load_bits
        self._masks: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        """Where, in bits, the masks end in the last word; 0: it is full, or holds codes."""

    def add(self, part: bytes) -> int:
        """Return the first word of a part, put into words of its own if it is not there yet."""
        if self.find(part) is None:
            self._end = 0
        return super().add(part)

    def add_masks(self, bits: np.ndarray) -> tuple[int, int]:
        """Return word and bit of a layer's first mask bit, put behind the last if new."""
        key = hashlib.sha256(len(bits).to_bytes(8, "little") + np.packbits(bits).tobytes()).digest()
        if key in self._masks:
            return self._masks[key]
        tail = bytearray()
        if self._end:
            tail = self.raw[-self.unit:]
            del self.raw[-self.unit:]
        self._masks[key] = word, first = len(self), self._end
        before = np.unpackbits(np.frombuffer(tail, np.uint8), bitorder="little")[:first]
        self.raw += np.packbits(np.concatenate([before, bits]), bitorder="little").tobytes()
        self.raw += bytes(-len(self.raw) % self.unit)
        self._end = (first + len(bits)) % self._load_bits
        return word, first


class Image:
    """The contents of the program memories, filled job by job.

    `remedy` adds to what helps if weights do not fit.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.layout = param_layout(config)
        self.program = bytearray()
        self.weights = Weights(config)
        self.params = Section(self.layout.bytes)
        self.tables = Section(256)
        self.index = Section(4)
        self.prototypes = bytearray()
        self.remedy = ""

    def check(self) -> None:
        """Refuse an image that is larger than a memory."""
        config = self.config
        for what, need, limit, name in (
            ("weights", len(self.weights), config.weights.words, "weight_words"),
            ("records", len(self.params), config.memory.param_records, "param_records"),
            ("instructions", len(self.program) // 4, config.memory.program_words,
             "program_words"),
            ("tables", len(self.tables), config.post.tables, "tables"),
            ("index lists", len(self.index), config.memory.index_entries, "index_entries"),
        ):
            if need > limit:
                raise CompileError(
                    "(whole program)", f"its {what} take {need} entries and the memory has "
                    f"{limit}", f"take a configuration with {name} of at least {need}"
                    + (self.remedy if name == "weight_words" else ""))

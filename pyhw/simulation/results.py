"""Outputs of a long simulation, kept as they come so that an interrupted one can go on."""

import hashlib
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyhw.errors import UserError, writing
from pyhw.files import replacing
from pyhw.graph.file import fingerprint
from pyhw.graph.infer import shapes
from pyhw.graph.ops import Graph
from pyhw.inputs import check_output

__all__ = ["RESULTS_VERSION", "Results", "kept_at_times"]

MAGIC = "pyhw-results"
"""Value of the member ``format`` of a file of results."""
RESULTS_VERSION = 1
"""Version of the file; a reader refuses any other."""
MAX_MEMBER = 1 << 30
"""Largest member of a file, bytes."""


@dataclass
class Results:
    """Outputs of the first images of a set, in memory and, if wanted, in a file.

    Parameters
    ----------
    path : Path or None
        Where to keep them (``.npz``, see ``docs/files.md``).
    key : str
        Hash of the graph; results of another are not mixed in.
    images : uint64 array (N,)
        Hash of every image wanted; results of others are not mixed in.
    shape : (int, int, int)
        Of an image's output.
    parts : list of int64 array (N, H, W, C)
    """

    path: Path | None
    key: str
    images: np.ndarray
    shape: tuple[int, ...]
    parts: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None, graph: Graph, images: np.ndarray, *,
             resume: bool) -> "Results":
        """Start a set of results, from the file's contents if it is to go on.

        Raises
        ------
        UserError
            If the file is there and not to be resumed, is damaged, is of another graph or of
            other images, or cannot be written.
        """
        return cls.of(path, fingerprint(graph), shapes(graph)[graph.output], images,
                      resume=resume)

    @classmethod
    def of(cls, path: Path | None, key: str, shape: tuple[int, ...], images: np.ndarray, *,
           resume: bool) -> "Results":
        """Start a set of results as `open` does, of a graph that is known by its hash."""
        results = cls(path, key, _hashes(images), shape)
        if path is None:
            return results
        if path.exists():
            if not resume:
                raise UserError(f"{path} is there already; --resume goes on with it, or name "
                                "another")
            results._read(path)
        check_output(path)  # before hours of simulation, not after
        return results

    def _read(self, path: Path) -> None:
        try:
            found = _members(path)
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError,
                zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path} holds no results of pyhw, or is damaged: "
                            f"{error}") from None
        if int(found["version"]) != RESULTS_VERSION:
            raise UserError(f"{path} must be of version {RESULTS_VERSION}, not "
                            f"{found['version']}; a newer pyhw may read it")
        if str(found["graph"]) != self.key:
            raise UserError(f"{path} holds results of another graph; name another --out")
        outputs, images = found["outputs"], found["images"]
        if (outputs.shape[1:] != self.shape or outputs.dtype != np.int64
                or images.shape != outputs.shape[:1]):
            raise UserError(f"{path} is damaged: it must hold outputs of shape {self.shape}")
        count = min(len(images), self.total)
        if not np.array_equal(images[:count], self.images[:count]):
            raise UserError(f"{path} holds results of other images; name another --out")
        if count:
            self.parts.append(outputs[:count])

    @property
    def total(self) -> int:
        """Images wanted."""
        return len(self.images)

    @property
    def done(self) -> int:
        """Images finished."""
        return sum(len(part) for part in self.parts)

    @property
    def outputs(self) -> np.ndarray:
        """All outputs, int64 (N, H, W, C)."""
        return np.concatenate([np.empty((0, *self.shape), np.int64), *self.parts])

    def add(self, outputs: np.ndarray) -> None:
        """Take the outputs of the next images; the file is replaced as a whole."""
        before = self.kept()
        self.parts.append(outputs)
        if self.path is None:
            return
        with writing(self.path, before), replacing(self.path) as file:
            np.savez_compressed(
                file, format=MAGIC, version=RESULTS_VERSION, graph=self.key,
                images=self.images[:self.done], outputs=self.outputs)

    def kept(self) -> str:
        """Say what an interruption leaves."""
        if self.path is None:
            return "no outputs are kept; --out FILE keeps those of finished images"
        if not self.done:
            return f"no image was finished, and {self.path} was not written"
        return (f"{self.done} of {self.total} images are in {self.path}; the same command with "
                "--resume goes on")


def kept_at_times(results: Results, parts: Iterable[np.ndarray], *,
                  every_s: float = 2.0) -> Iterator[int]:
    """Add outputs as they come, the file not at each of them; yield the images there are.

    What has come before an error or an interruption is added as well.
    """
    waiting: list[np.ndarray] = []
    last = time.monotonic()
    try:
        for part in parts:
            waiting.append(part)
            if time.monotonic() - last > every_s:
                results.add(np.concatenate(waiting))
                waiting, last = [], time.monotonic()
            yield results.done + sum(map(len, waiting))
    finally:
        if waiting:
            results.add(np.concatenate(waiting))


def _hashes(images: np.ndarray) -> np.ndarray:
    """Return 64 bits of the SHA-256 of every image."""
    wide = np.ascontiguousarray(images, "<i8")
    return np.array([int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little")
                     for image in wide], np.uint64)


def _members(path: Path) -> dict[str, Any]:
    """Read the arrays of a file whose members are what it must have, and not too large."""
    with zipfile.ZipFile(path) as archive:
        if large := [i.filename for i in archive.infolist() if i.file_size > MAX_MEMBER]:
            raise ValueError(f"its member {large[0]!r:.40} must have at most {MAX_MEMBER} bytes")
        found: dict[str, Any] = {}
        for name in ("format", "version", "graph", "images", "outputs"):
            with archive.open(f"{name}.npy") as member:
                size = archive.getinfo(f"{name}.npy").file_size
                found[name] = _array(member, size)
            if name == "format" and (found[name].ndim or str(found[name]) != MAGIC):
                raise ValueError("its format is another")
            if name in ("version", "graph") and found[name].ndim:
                raise ValueError(f"its {name} must be one value")
    if found["version"].dtype.kind != "i":
        raise ValueError("its version must be a number")
    return found


def _array(member: Any, size: int) -> np.ndarray:
    """Read one array after holding its header against the bytes there are."""
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"its arrays must be of NumPy's format 1.0, not {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    count = 1
    for length in shape:
        count *= length
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError("a header tells of more numbers than there are")
    return np.frombuffer(member.read(count * dtype.itemsize), dtype, count).reshape(shape)

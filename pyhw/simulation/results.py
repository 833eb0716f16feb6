"""Outputs of a long simulation, kept as they come so that an interrupted one can go on."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pyhw.errors import UserError
from pyhw.graph.file import to_bytes
from pyhw.graph.ops import Graph

__all__ = ["Results"]


@dataclass
class Results:
    """Outputs of the first images of a set, in memory and, if wanted, in a file.

    Parameters
    ----------
    path : Path or None
        Where to keep them (``.npz``).
    key : str
        Hash of the graph; results of another are not mixed in.
    total : int
        Images wanted.
    parts : list of int64 array (N, H, W, C)
    """

    path: Path | None
    key: str
    total: int
    parts: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None, graph: Graph, total: int, *, resume: bool) -> "Results":
        """Start a set of results, from the file's contents if it is to go on.

        Raises
        ------
        UserError
            If the file is there and not to be resumed, is damaged, or of another graph.
        """
        results = cls(path, hashlib.sha256(to_bytes(graph)).hexdigest(), total)
        if path is None or not path.exists():
            return results
        if not resume:
            raise UserError(f"{path} is there already; --resume goes on with it, or name another")
        try:
            with np.load(path, allow_pickle=False) as found:
                key, outputs = str(found["graph"]), found["outputs"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} is not a result of pyhw simulate: {error}") from None
        if key != results.key:
            raise UserError(f"{path} holds results of another graph")
        results.parts.append(outputs[:total].astype(np.int64))
        return results

    @property
    def done(self) -> int:
        """Images finished."""
        return sum(len(part) for part in self.parts)

    @property
    def outputs(self) -> np.ndarray:
        """All outputs, int64 (N, H, W, C)."""
        return np.concatenate(self.parts)

    def add(self, outputs: np.ndarray) -> None:
        """Take the outputs of the next images; the file is replaced as a whole."""
        self.parts.append(outputs)
        if self.path is None:
            return
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, graph=self.key, outputs=self.outputs)
            os.replace(temporary, self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)

    def kept(self) -> str:
        """Say what an interruption leaves."""
        if self.path is None or not self.done:
            return "the built simulator is kept; nothing else"
        return (f"{self.done} of {self.total} images are in {self.path}; the same command with "
                "--resume goes on")

"""Files and images named on a command line; what is wrong with them becomes one clear line."""

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .errors import UserError
from .files import is_special
from .synthetic import smooth_images

if TYPE_CHECKING:
    from .compiler.program import Program
    from .graph.ops import Graph

__all__ = ["check_output", "expect", "expect_either", "load_images", "read_array", "read_file",
           "input_graph", "notes_of", "read_graph", "read_program", "recognise", "scaling",
           "scaling_of"]

T = TypeVar("T")
MOST_BYTES = 4 << 30
"""Of images that are made."""

_FOREIGN = {
    b"\x93NUMPY": "a NumPy array",
    b"\x7fELF": "an executable",
    b"\x89PNG": "a picture",
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "another kind of zip archive",
    b"\x80": "a pickle; save a checkpoint with `pyhw train`",
    b"{": "JSON",
    b"": "something else",
}
"""First bytes of files that people have about, most specific first."""
_MAKES = {
    "checkpoint": "pyhw train writes one",
    "graph": "pyhw quantize makes one of a checkpoint",
    "program": "pyhw compile makes one of a graph",
}


def read_file(path: Path, load: Callable[[Path], T]) -> T:
    """Call a loader; `OSError` and `ValueError` become a `UserError` that names the file.

    Pipes and devices, which may never end, are refused.
    """
    if is_special(path):
        raise UserError(f"cannot read {path}: it is no ordinary file")
    try:
        return load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise UserError(f"{path}: {reason}") from None


def recognise(path: Path) -> str:
    """Return what a file is: ``checkpoint``, ``graph`` or ``program``.

    Raises
    ------
    UserError
        If it cannot be read or is none of these.
    """

    def head_of(path: Path) -> bytes:
        with open(path, "rb") as file:
            return file.read(256)

    head = read_file(path, head_of)
    if not head:
        raise UserError(f"{path} is empty")
    if head.startswith(b"pyhwprog"):
        return "program"
    if head.startswith(b"PK\x03\x04") and len(head) > 30:
        # The first member's name stands before anything that a truncation may have cut off.
        (length,) = struct.unpack_from("<H", head, 26)
        name = head[30 : 30 + length]
        if name == b"graph.json":
            return "graph"
        if name.endswith(b"/data.pkl"):
            return "checkpoint"
    guess = next(what for mark, what in _FOREIGN.items() if head.startswith(mark))
    raise UserError(f"{path} is no pyhw checkpoint, graph or program: it looks like {guess}")


def expect(path: Path, kind: str) -> None:
    """Refuse a file that is one of ours, but of another kind."""
    if (found := recognise(path)) != kind:
        raise UserError(f"{path} is a {found}, not a {kind}; {_MAKES[kind]}")


def expect_either(path: Path, *kinds: str) -> None:
    """Refuse a file that is none of several kinds; the first is what it should be."""
    if recognise(path) not in kinds:
        expect(path, kinds[0])


def check_output(path: Path, kind: str = "") -> None:
    """Refuse, before any work is done, to write a file where it cannot or should not be.

    Parameters
    ----------
    path : Path
        To be written.
    kind : str
        What it will be, as `recognise` calls it; a file of ours of another kind is not replaced.

    Raises
    ------
    UserError
        If it is a folder, a device or a pipe; if it is a checkpoint, graph or program and will not
        be one; if its folder cannot be written.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
    if is_special(path):
        raise UserError(f"cannot write {path}: it is no ordinary file")
    if path.exists():
        try:
            found = recognise(path)
        except UserError:
            found = kind  # none of ours
        if found != kind:
            raise UserError(f"{path} is a {found}: move it, or choose another name for what is "
                            "to be written")
    folder = Path(os.path.realpath(path)).parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"cannot write {path}: {folder} is no folder that can be written")


def read_graph(path: Path) -> "Graph":
    """Read an integer graph (``pyhw quantize`` writes it)."""
    from .graph.file import load

    expect(path, "graph")
    return read_file(path, load)


def read_program(path: Path) -> "Program":
    """Read a program (``pyhw compile`` writes it)."""
    from .compiler.program import Program

    expect(path, "program")
    return read_file(path, Program.load)


def input_graph(program: "Program") -> "Graph":
    """Return a graph of a program's input alone: what `load_images` has to know."""
    from pyhw.hdl.formats import Format

    from .graph.ops import Graph, Input

    name = program.input.name
    fmt = Format.parse(program.input.fmt)
    return Graph(program.name, (Input(name=name, shape=program.input_shape, fmt=fmt),), name)


def scaling(mean: Sequence[float], deviation: Sequence[float]) -> str:
    """Say what a network was trained to see of an image of bytes; without a mean, pixels / 255."""
    if not mean:
        return "pixels / 255"
    parts = (", ".join(f"{number:g}" for number in part) for part in (mean, deviation))
    return "(pixels / 255 - ({})) / ({})".format(*parts)


def scaling_of(graph: "Graph") -> str:
    """Return what a graph makes of pixels before its first layer, "" if nothing is told of it."""
    found = graph.meta.get("normalise")
    if not isinstance(found, Mapping):
        return ""
    parts: list[Any] = [found.get(name) for name in ("mean", "deviation")]
    if not all(isinstance(part, list) and all(isinstance(n, float) for n in part)
               for part in parts):
        return ""
    return scaling(*parts)


def notes_of(graph: "Graph") -> list[str]:
    """Return what the quantiser noted about a graph for the user."""
    found = graph.meta.get("notes")
    return [note for note in found if isinstance(note, str)] if isinstance(found, list) else []


def read_array(path: Path) -> np.ndarray:
    """Read images from a ``.npy`` file; it is mapped, so that only what is used is read."""
    return read_file(path, _map_array)


def _map_array(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it is not a .npy file of NumPy, or cut off")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # damaged headers make NumPy's parser raise whatever it meets
        # NumPy's own words are about mappings and pickles; the first line tells enough.
        reason = str(error).partition("\n")[0]
        if "object" in reason:
            reason = "its numbers are Python objects, which are not read"
        raise ValueError("its header must be one of NumPy, with the numbers that it tells of "
                         f"after it ({reason})") from None


def load_images(graph: "Graph", data: str, count: int,
                folder: Path | None = None,
                seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images for a graph, and their labels if they have any.

    Parameters
    ----------
    graph : Graph
    data : str
        ``digits`` or ``mnist`` (test set), ``smooth`` (random, neighbouring pixels alike),
        ``random`` (every value by itself), or the name of a ``.npy`` file with integers
        (N, H, W, C) in the format of the graph's input.
    count : int
        The first so many.
    folder : Path, optional
        Folder of the MNIST files.
    seed : int
        Of ``smooth`` and ``random``, not negative.

    Returns
    -------
    images : int64 array (N, H, W, C)
    labels : int array (N,) or None
    """
    labels, named = None, ""
    if data in ("random", "smooth"):
        most = MOST_BYTES // (8 * prod(graph.input.shape))  # int64
        if not 0 < count <= most:
            raise UserError(f"images must be 1 to {most} of this size, not {count}")
    if data == "random":
        fmt, rng = graph.input.fmt, np.random.default_rng(seed)
        images = rng.integers(fmt.min, fmt.max + 1, (count, *graph.input.shape))
    elif data == "smooth":
        fmt = graph.input.fmt
        pixels = smooth_images(graph.input.shape, count, seed).astype(np.int64)
        images = (pixels >> 8 - fmt.width) + fmt.min
    elif data in ("digits", "mnist"):
        from .training.data import load_dataset

        dataset = load_dataset(data, folder)
        images, labels = dataset.test_images[:count], dataset.test_labels[:count]
        images = images.reshape(len(images), *images.shape[1:3], -1)
    elif data.endswith(".npy"):
        images, named = read_array(Path(data)), f"{data}: "
        images = images[:count] if images.ndim else images
    else:
        raise UserError(f"data must be digits, mnist, smooth, random or a .npy file, not {data!r}")
    from .graph.execute import check_images

    try:
        check_images(graph, images)
    except (TypeError, ValueError) as error:
        hint = "; --data smooth makes images of any size" if data in ("digits", "mnist") else ""
        raise UserError(f"{named}{error}{hint}") from None
    return images.astype(np.int64), labels

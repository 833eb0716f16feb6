"""CIFAR-10 from its JPEG copy: an archive or a folder, decoded once into a file of the cache.

The copy is lossy; a figure that comes from it says "CIFAR-10 (JPEG copy)".
"""

import contextlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyhw.cache import cache_dir, content_key
from pyhw.errors import MissingTool, UserError, from_extra
from pyhw.files import replacing

__all__ = ["ARCHIVE", "CLASSES", "load_cifar10"]

ARCHIVE = "cifar10-jpeg.tar.xz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of the published labels."""
SIDE = 32
LARGEST = 1 << 17
"""Most bytes of one JPEG file that is opened; those of the set have about a thousand."""
MOST = 100_000
"""Most pictures that are read."""
_PARTS = ("train", "test")
_WHERE = "name its folder with --data-dir or the environment variable PYHW_DATA"


def _find(folder: str | os.PathLike | None) -> Path:
    """Return the archive, or the folder that has ``train`` and ``test``."""
    named = folder or os.environ.get("PYHW_DATA")
    if not named:
        raise UserError(f"CIFAR-10 is read from {ARCHIVE} or the folder unpacked from it: {_WHERE}")
    path = Path(named)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path} does not exist: CIFAR-10 is read from {ARCHIVE}; {_WHERE}")
    for place in (path, path / "cifar10-jpeg", path / "cifar10"):
        if all((place / part).is_dir() for part in _PARTS):
            return place
    if (path / ARCHIVE).is_file():
        return path / ARCHIVE
    raise UserError(
        f"{path} holds neither {ARCHIVE} nor folders train and test of pictures: {_WHERE}"
    )


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of an archive's files; nothing is written anywhere."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".jpg"):
                    file = archive.extractfile(member)
                    assert file is not None  # it is a plain file
                    yield member.name, file.read(LARGEST)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path} is no archive, or a damaged one ({error})") from None


def _from_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for part in _PARTS:
        for file in sorted((path / part).rglob("*.jpg")):
            try:
                with open(file, "rb") as content:
                    yield file.relative_to(path).as_posix(), content.read(LARGEST)
            except OSError as error:
                raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _decode(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays, pictures in the order of their names."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingTool("Pillow", from_extra("train"), "it decodes JPEG") from None
    found: dict[str, list[tuple[str, int, np.ndarray]]] = {part: [] for part in _PARTS}
    files = _from_folder(path) if path.is_dir() else _from_archive(path)
    for count, (name, content) in enumerate(files):
        if count >= MOST:
            raise UserError(f"{path} holds more than {MOST} pictures: it is not CIFAR-10")
        part, label = name.split("/")[-3:-1] if name.count("/") >= 2 else ("", "")
        if part not in found or label not in CLASSES:
            raise UserError(
                f"{path}: {name} is not in train/CLASS or test/CLASS with a class of "
                f"{', '.join(CLASSES)}"
            )
        try:
            with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
                if picture.size != (SIDE, SIDE):
                    width, height = picture.size
                    raise UserError(f"{path}: {name} must have 32x32 pixels, not {width}x{height}")
                pixels = np.asarray(picture.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise UserError(f"{path}: {name} is no JPEG, or a damaged one ({error})") from None
        found[part].append((name, CLASSES.index(label), pixels))
    arrays = {}
    for part, rows in found.items():
        missing = sorted(set(CLASSES) - {CLASSES[label] for _, label, _ in rows})
        if missing:
            raise UserError(f"{path} has no picture of {', '.join(missing)} in {part}")
        rows.sort(key=lambda row: row[0])
        arrays[f"{part}_images"] = np.stack([pixels for _, _, pixels in rows])
        arrays[f"{part}_labels"] = np.array([label for _, label, _ in rows], np.int64)
    return arrays


def _state(path: Path) -> list[int]:
    """Return what changes when the pictures do: sizes and times."""
    places = [path] if path.is_file() else [
        place for part in _PARTS for place in (path / part, *sorted((path / part).iterdir()))
    ]  # fmt: skip
    return [value for place in places for value in (os.stat(place).st_size,
                                                    os.stat(place).st_mtime_ns)]  # fmt: skip


def load_cifar10(folder: str | os.PathLike | None = None) -> dict[str, np.ndarray]:
    """Read CIFAR-10; the first time its pictures are decoded, later it is one file of the cache.

    Parameters
    ----------
    folder : path-like, optional
        The archive, the folder unpacked from it, or the folder that holds either; the environment
        variable ``PYHW_DATA`` by default.

    Returns
    -------
    dict of str to numpy.ndarray
        ``train_images``, ``test_images`` of shape (N, 32, 32, 3), uint8, and ``train_labels``,
        ``test_labels`` of shape (N,), int64, places in `CLASSES`.

    Raises
    ------
    UserError
        If it is not found, damaged, or something else.

    Source
    ------
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    path = Path(os.path.realpath(_find(folder)))
    cached = cache_dir("data") / f"cifar10-{content_key(1, str(path), _state(path))}.npz"
    try:
        with open(cached, "rb") as kept, np.load(kept, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there yet, or cut off: it is made again
    arrays = _decode(path)
    # A full disk costs the cache, not the training.
    with contextlib.suppress(OSError), replacing(cached) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
    return arrays

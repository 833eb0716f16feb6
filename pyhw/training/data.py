"""Data sets of unsigned bytes: scikit-learn's digits, MNIST and CIFAR-10 from their files.

Pixels stay integers here. Networks see ``pixel / 255``, with no mean or deviation taken off, so
that the bytes themselves are the accelerator's input.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyhw.errors import MissingTool, UserError, from_extra
from pyhw.training import cifar
from pyhw.training.idx import read_idx

DATASETS = ("digits", "mnist", "cifar10")
PIXELS = 28
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images with their labels, split into a training and a test part.

    Attributes
    ----------
    name : str
        One of `DATASETS`.
    train_images, test_images : numpy.ndarray, shape (N, H, W) or (N, H, W, C), uint8
        Pixels; digits are white strokes (255) on black (0).
    train_labels, test_labels : numpy.ndarray, shape (N,), int64
        Places in `classes`.
    classes : tuple of str
        Their names.

    Raises
    ------
    UserError
        If there are too few images, or labels that no class has.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...] = tuple("0123456789")

    def __post_init__(self) -> None:
        for part, least in (("train", 2), ("test", 1)):
            labels = getattr(self, f"{part}_labels")
            if len(labels) < least:
                raise UserError(
                    f"{self.name} must have at least {least} {part}ing image(s), not {len(labels)}"
                )
            if not 0 <= labels.min() <= labels.max() < len(self.classes):
                raise UserError(
                    f"{self.name} has {part}ing labels {labels.min()} to {labels.max()}, "
                    f"but {len(self.classes)} classes"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        height, width, *channels = self.train_images.shape[1:]
        return (channels[0] if channels else 1, height, width)

    def part(self, count: int, seed: int) -> "Dataset":
        """Return `count` training images and at most as many test images, drawn by a seed.

        0 returns all of them.

        Raises
        ------
        UserError
            If there are fewer training images.
        """
        if not count:
            return self
        if count > len(self.train_labels):
            most = len(self.train_labels)
            raise UserError(f"{self.name} has {most} training images, not {count}")
        rng = np.random.default_rng(seed)
        train = rng.permutation(len(self.train_labels))[:count]
        test = rng.permutation(len(self.test_labels))[:count]
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.test_images[test],
            test_labels=self.test_labels[test],
        )


def enlarge(images: np.ndarray) -> np.ndarray:
    """Bring 8x8 pixels of 0..16 to 28x28 bytes: three times as large, bilinear, border of 2.

    Computed in integers, hence the same on every machine.

    Parameters
    ----------
    images : numpy.ndarray, shape (N, 8, 8)
        Whole numbers 0..16.

    Returns
    -------
    numpy.ndarray, shape (N, 28, 28), uint8
    """
    images = np.asarray(images).astype(np.int64)
    for axis in (1, 2):
        before = np.concatenate([np.take(images, [0], axis), images], axis)
        after = np.concatenate([images, np.take(images, [-1], axis)], axis)
        before, after = np.delete(before, -1, axis), np.delete(after, 0, axis)
        # A third-pixel to the left of the centre is 2/3 the pixel and 1/3 its left neighbour.
        thirds = np.stack([2 * images + before, 3 * images, 2 * images + after], axis + 1)
        shape = list(images.shape)
        shape[axis] *= 3
        images = thirds.reshape(shape)
    scaled = (images * 255 + 72) // 144  # 16 * 3 * 3 stands for white
    return np.pad(scaled, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)


def load_digits() -> Dataset:
    """Load scikit-learn's 1,797 handwritten digits, every third one held out for testing.

    Returns
    -------
    Dataset
        1,198 training and 599 test images.

    Raises
    ------
    UserError
        If scikit-learn is not installed.

    Source
    ------
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise MissingTool("scikit-learn", from_extra("train")) from None
    raw = load()
    images, labels = enlarge(raw.images), raw.target.astype(np.int64)
    held_out = np.arange(len(labels)) % 3 == 2
    return Dataset(
        name="digits",
        train_images=images[~held_out],
        train_labels=labels[~held_out],
        test_images=images[held_out],
        test_labels=labels[held_out],
    )


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"{folder} {what}: name the folder of the MNIST files with --data-dir or the "
            "environment variable PYHW_DATA"
        )
    for place in (folder, folder / "mnist"):
        for ending in (".gz", ""):
            path = place / (name + ending)
            if path.is_file():
                return path
    raise UserError(
        f"{name}.gz was not found in {folder}: put the four MNIST files there, or name their "
        "folder with --data-dir or the environment variable PYHW_DATA"
    )


def load_mnist(folder: str | os.PathLike | None = None) -> Dataset:
    """Load MNIST from its four IDX files.

    Parameters
    ----------
    folder : path-like, optional
        Folder that holds the files, or holds them in ``mnist/``; the environment variable
        ``PYHW_DATA`` by default.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images when the files are the published ones.

    Raises
    ------
    UserError
        If a file is missing, damaged, or is not MNIST.
    """
    folder = folder or os.environ.get("PYHW_DATA")
    if not folder:
        raise UserError(
            "MNIST is read from its four IDX files: name their folder with --data-dir or the "
            "environment variable PYHW_DATA"
        )
    parts = {}
    for part, name in FILES.items():
        path = _find(Path(folder), name)
        parts[part] = read_idx(path, 3 if part.endswith("images") else 1)
        if part.endswith("images"):
            count = len(parts[part])
            if parts[part].shape[1:] != (PIXELS, PIXELS):
                raise UserError(f"{path} must hold images of 28x28 pixels: it is not MNIST")
            continue
        if len(parts[part]) != count:
            raise UserError(f"{path} holds {len(parts[part])} labels for {count} images")
        if count == 0 or parts[part].max() > 9:
            raise UserError(f"{path} must hold labels of 0 to 9: it is not MNIST")
        parts[part] = parts[part].astype(np.int64)
    return Dataset(name="mnist", **parts)  # type: ignore[arg-type]


def load_dataset(name: str, folder: str | os.PathLike | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10"}
        Which one.
    folder : path-like, optional
        Where the files are, for data that comes in files.

    Returns
    -------
    Dataset

    Raises
    ------
    UserError
        If the name is unknown or the data cannot be read.
    """
    if name == "digits":
        return load_digits()
    if name == "mnist":
        return load_mnist(folder)
    if name == "cifar10":
        arrays = cifar.load_cifar10(folder)
        return Dataset(name=name, classes=cifar.CLASSES, **arrays)
    raise UserError(f"data must be one of {', '.join(DATASETS)}, not {name!r}")

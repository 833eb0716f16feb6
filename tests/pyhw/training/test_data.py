"""Data sets: digits, MNIST and its files."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from pyhw.errors import UserError
from pyhw.training import run as run_module
from pyhw.training.data import enlarge, load_dataset, load_digits, load_mnist
from pyhw.training.idx import read_idx

MODELS = Path(run_module.__file__).parents[1] / "models"


# --- data


def test_enlarging_spreads_a_pixel_bilinearly():
    image = np.zeros((1, 8, 8))
    image[0, 3, 4] = 16
    large = enlarge(image)
    assert large.shape == (1, 28, 28)
    assert large.dtype == np.uint8
    line = [round(255 * n / 3) for n in (1, 2, 3, 2, 1)]
    centre = (2 + 3 * 3 + 1, 2 + 3 * 4 + 1)
    assert large[0, centre[0], centre[1] - 2 : centre[1] + 3].tolist() == line
    assert large[0, centre[0] - 2 : centre[0] + 3, centre[1]].tolist() == line
    corner = large[0, centre[0] - 2, centre[1] - 2]
    assert corner == round(255 / 9)
    assert (large > 0).sum() == 25


def test_enlarging_keeps_white_white_and_the_border_black():
    large = enlarge(np.full((2, 8, 8), 16))
    assert (large[:, 2:-2, 2:-2] == 255).all()
    assert large.sum() == 2 * 24 * 24 * 255


def test_digits_hold_out_every_third_image():
    digits = load_digits()
    assert digits.train_images.shape == (1198, 28, 28)
    assert digits.test_images.shape == (599, 28, 28)
    assert digits.train_labels[:4].tolist() == [0, 1, 3, 4]
    assert digits.test_labels[:3].tolist() == [2, 5, 8]
    assert set(digits.test_labels) == set(range(10))


def test_digits_without_scikit_learn_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"scikit-learn was not found.*\.\[train\]"):
        load_digits()


def test_unknown_data_set_is_named():
    with pytest.raises(UserError, match="data must be one of digits, mnist, cifar10, not 'cifar'"):
        load_dataset("cifar")


def _idx(array):
    return (
        bytes((0, 0, 8, array.ndim))
        + struct.pack(f">{array.ndim}I", *array.shape)
        + bytes(array.reshape(-1).tolist())
    )


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
PACKED = gzip.compress(_idx(IMAGES), mtime=0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_is_read_packed_or_not(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(_idx(IMAGES)))
    assert np.array_equal(read_idx(path, 3), IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\x89PNG and so on", "is not an IDX file"),
        (_idx(IMAGES[0]), "is not an IDX file of unsigned bytes with 3"),
        (_idx(IMAGES)[:10], "is truncated"),
        (_idx(IMAGES)[:-1], "announces 24 bytes, it holds only 23"),
        (_idx(IMAGES) + b"\0", "announces 24 bytes, it holds more"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "its header is damaged"),
        (PACKED[:-9], "is truncated or damaged"),
        (PACKED[:-8] + bytes(8), "is truncated or damaged"),
        (PACKED[:10] + b"\xff" * 20, "is truncated or damaged"),
        (b"\x1f\x8b", "is truncated or damaged"),
        (b"\x1f\x8bnonsense", "is truncated or damaged"),
    ],
    ids=[
        "empty",
        "foreign",
        "dimensions",
        "short-header",
        "short",
        "long",
        "oversized",
        "short-gzip",
        "checksum",
        "deflate",
        "gzip-magic",
        "gzip-header",
    ],
)
def test_damaged_idx_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refusal:
        read_idx(path, 3)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_idx_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_idx(tmp_path / "none", 3)
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path, 3)


def _write_mnist(folder, train=3, labels=3, size=28, largest=9):
    folder.mkdir(exist_ok=True)
    for name, count, marks in (("train", train, labels), ("t10k", 2, 2)):
        images = np.full((count, size, size), 7, np.uint8)
        label = np.full(marks, largest, np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(_idx(label))
    return folder


@pytest.mark.parametrize("inner", ["", "mnist"])
def test_mnist_is_found_in_the_folder_or_below(tmp_path, monkeypatch, inner):
    _write_mnist(tmp_path / inner)
    monkeypatch.setenv("PYHW_DATA", str(tmp_path))
    mnist = load_mnist()
    assert mnist.train_images.shape == (3, 28, 28)
    assert mnist.test_labels.tolist() == [9, 9]
    assert mnist.test_labels.dtype == np.int64


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"labels": 4}, "holds 4 labels for 3 images"),
        ({"size": 27}, "must hold images of 28x28 pixels"),
        ({"largest": 10}, "must hold labels of 0 to 9"),
        ({"train": 0, "labels": 0}, "must hold labels of 0 to 9"),
    ],
)
def test_files_that_are_not_mnist_are_refused(tmp_path, damage, message):
    with pytest.raises(UserError, match=message):
        load_mnist(_write_mnist(tmp_path, **damage))


def test_missing_mnist_says_how_to_name_its_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PYHW_DATA", raising=False)
    with pytest.raises(UserError, match="--data-dir or the environment variable PYHW_DATA"):
        load_mnist()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz was not found in"):
        load_mnist(tmp_path)


def test_a_part_is_drawn_by_the_seed():
    data = load_digits()
    part = data.part(50, 1)
    assert (len(part.train_images), len(part.test_images)) == (50, 50)
    assert np.array_equal(part.train_images, data.part(50, 1).train_images)
    assert not np.array_equal(part.train_labels, data.part(50, 2).train_labels)
    assert len(data.part(1000, 0).test_labels) == len(data.test_labels)
    assert data.part(0, 0) is data
    with pytest.raises(UserError, match="digits has 1198 training images, not 1199"):
        data.part(1199, 0)

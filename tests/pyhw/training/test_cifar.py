"""CIFAR-10 from JPEG files: found, decoded once, refused when it is something else."""

import io
import os
import sys
import tarfile

import numpy as np
import pytest
import torch

from pyhw.errors import MissingTool, UserError
from pyhw.training import cifar
from pyhw.training.augment import mirror, to_input
from pyhw.training.data import Dataset, load_dataset
from pyhw.training.networks import check_fit
from pyhw.training.recipe import Recipe


def _jpeg(colour, size=(32, 32)):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    file = io.BytesIO()
    image.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def _write(folder, files=None):
    """Write two pictures per class and part, red in proportion to the class."""
    found = {
        f"{part}/{name}/{number:04}.jpg": _jpeg((20 * label, 0, 0))
        for part in ("train", "test")
        for label, name in enumerate(cifar.CLASSES)
        for number in range(2)
    }
    found.update(files or {})
    for name, content in found.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def _pack(source, archive):
    with tarfile.open(archive, "w:xz") as file:
        file.add(source, "cifar10-jpeg")
    return archive


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("form", ["folder", "inner", "archive", "archive in folder"])
def test_pictures_are_read_wherever_they_are(tmp_path, form):
    inner = _write(tmp_path / "data" / "cifar10-jpeg")
    path = {"folder": inner, "inner": inner.parent}.get(form)
    if path is None:
        archive = tmp_path / cifar.ARCHIVE
        _pack(inner, archive)
        path = archive if form == "archive" else tmp_path
    data = load_dataset("cifar10", path)
    assert data.shape == (3, 32, 32)
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert data.classes == cifar.CLASSES
    assert np.abs(data.test_images[-1].mean((0, 1)) - (180, 0, 0)).max() < 3


def test_pictures_are_decoded_once_and_again_when_they_change(tmp_path, own_cache, monkeypatch):
    folder = _write(tmp_path / "data")
    first = load_dataset("cifar10", folder)
    (cached,) = (own_cache / "data").glob("cifar10-*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "_decode", lambda path: pytest.fail("decoded again"))
        again = load_dataset("cifar10", folder)
    assert np.array_equal(first.train_images, again.train_images)
    cached.write_bytes(cached.read_bytes()[:1000])  # cut off: made again
    assert np.array_equal(first.train_images, load_dataset("cifar10", folder).train_images)
    (folder / "train" / "ship" / "9999.jpg").write_bytes(_jpeg((0, 0, 255)))
    os.utime(folder / "train" / "ship", ns=(1, 1))
    assert len(load_dataset("cifar10", folder).train_labels) == 21


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/zebra/0.jpg", "picture", "train/zebra/0.jpg is not in train/CLASS or test/CLASS"),
        ("train/ship/0.jpg", b"text", "train/ship/0.jpg is no JPEG, or a damaged one"),
        ("train/ship/0.jpg", "large", "must have 32x32 pixels, not 33x32"),
        ("train/0.jpg", "picture", "train/0.jpg is not in train/CLASS"),
    ],
)
def test_other_pictures_are_refused(tmp_path, name, content, message):
    made = {"picture": lambda: _jpeg(0), "large": lambda: _jpeg(0, (33, 32))}
    content = made[content]() if isinstance(content, str) else content
    with pytest.raises(UserError, match=message):
        load_dataset("cifar10", _write(tmp_path, {name: content}))


@pytest.mark.usefixtures("own_cache")
def test_a_missing_class_is_named(tmp_path):
    folder = _write(tmp_path, {f"test/ship/{number:04}.jpg": None for number in range(2)})
    with pytest.raises(UserError, match="has no picture of ship in test"):
        load_dataset("cifar10", folder)


def test_a_wrong_place_says_how_to_name_the_right_one(tmp_path, monkeypatch):
    monkeypatch.delenv("PYHW_DATA", raising=False)
    with pytest.raises(UserError, match="--data-dir or the environment variable PYHW_DATA"):
        load_dataset("cifar10")
    with pytest.raises(UserError, match="does not exist"):
        load_dataset("cifar10", tmp_path / "none")
    with pytest.raises(UserError, match=r"holds neither cifar10-jpeg\.tar\.xz nor folders"):
        load_dataset("cifar10", tmp_path)
    (tmp_path / cifar.ARCHIVE).write_bytes(b"no archive")
    monkeypatch.setenv("PYHW_DATA", str(tmp_path))
    monkeypatch.setenv("PYHW_CACHE", str(tmp_path / "cache"))
    pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    with pytest.raises(UserError, match="is no archive, or a damaged one"):
        load_dataset("cifar10")


def test_without_pillow_the_remedy_is_named(tmp_path, own_cache, monkeypatch):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingTool, match=r"Pillow was not found .*pip install '.\[train\]'"):
        load_dataset("cifar10", tmp_path)


def _data(**changes):
    arrays = {
        "train_images": np.zeros((4, 8, 8, 3), np.uint8),
        "train_labels": np.arange(4),
        "test_images": np.zeros((1, 8, 8, 3), np.uint8),
        "test_labels": np.array([3]),
    }
    return Dataset(name="toy", classes=("a", "b", "c", "d"), **(arrays | changes))


def test_too_few_images_and_foreign_labels_are_refused():
    with pytest.raises(UserError, match=r"toy must have at least 2 training image\(s\), not 1"):
        _data(train_images=np.zeros((1, 8, 8, 3), np.uint8), train_labels=np.array([0]))
    with pytest.raises(UserError, match=r"at least 1 testing image\(s\), not 0"):
        _data(test_labels=np.array([], np.int64))
    with pytest.raises(UserError, match="toy has testing labels 4 to 4, but 4 classes"):
        _data(test_labels=np.array([4]))


def test_a_network_for_other_images_is_refused():
    with pytest.raises(UserError, match=r"lenet5 takes images of 1 channel\(s\), 28x28 pixels, "):
        check_fit(Recipe(), _data())


def test_colour_pictures_become_channels_first():
    pixels = torch.arange(2 * 2 * 3, dtype=torch.uint8).reshape(1, 2, 2, 3)
    x = to_input(pixels)
    assert x.shape == (1, 3, 2, 2)
    assert x[0, 1, 0, 1] == pytest.approx(4 / 255)


def test_about_half_of_the_images_are_mirrored():
    x = torch.rand(200, 3, 4, 4)
    y = mirror(x, torch.Generator().manual_seed(0))
    same = [torch.equal(a, b) for a, b in zip(x, y)]
    assert all(torch.equal(b, a.flip(2)) for a, b, kept in zip(x, y, same) if not kept)
    assert 70 < sum(same) < 130

"""A whole quantisation: checkpoint and data in, graph with measured accuracies out."""

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyhw import __version__
from pyhw.errors import UserError
from pyhw.graph.execute import predict
from pyhw.graph.ops import Graph
from pyhw.inputs import read_array
from pyhw.table import html_table, text_table
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.data import Dataset, load_dataset
from pyhw.training.loop import evaluate
from pyhw.training.networks import check_fit

from .model import LayerReport, quantize_model
from .report import unsaid
from .settings import Settings

__all__ = ["CALIBRATION", "Quantized", "calibration_images", "quantize_checkpoint"]

CALIBRATION = 512
"""Training images that calibration takes."""
MOST_CALIBRATION = 4096
"""More would only take memory: about 200 kB per image of LeNet-5."""

LEFT = 5
"""Columns of the table that hold words."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Quantized:
    """What the quantisation of a checkpoint came to; `pyhw.quantize_checkpoint` returns it.

    Attributes
    ----------
    graph : Graph
        Its meta holds everything below.
    layers : tuple of LayerReport
    data : str
        Name of the data set or of the file of images.
    tested : int
        Test images.
    float_accuracy, integer_accuracy : float or None
        Over the test images, percent: the model in PyTorch, and the graph on the golden executor;
        None without any.
    """

    graph: Graph
    layers: tuple[LayerReport, ...]
    data: str
    tested: int
    float_accuracy: float | None
    integer_accuracy: float | None

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table of the layers, its head first.

        ``clamped`` is the share of outputs at an end of their range, ``error`` the mean difference
        from the model over the mean size of its outputs.
        """
        rows: list[tuple[str, ...]] = [
            ("layer", "kind", "output", "format", "weights", "clamped", "error")]
        for layer in self.layers:
            weights = "" if layer.weight_bits is None else f"{layer.weight_bits} bits"
            if layer.digits:
                weights += f", {layer.digits} digit{'s' * (layer.digits > 1)}"
            rows.append((layer.name, layer.kind, "x".join(map(str, layer.shape)), layer.fmt,
                         weights, f"{layer.saturated:.2%}", f"{layer.error:.2%}"))
        return rows

    @property
    def accuracy(self) -> str:
        """Both accuracies in a sentence."""
        if self.float_accuracy is None or self.integer_accuracy is None:
            return f"calibrated with {self.data}; not tested"
        change = self.integer_accuracy - self.float_accuracy
        return (f"accuracy over {self.tested:,} test images of {self.data}: "
                f"float {self.float_accuracy:.2f} %, integers {self.integer_accuracy:.2f} % "
                f"({change:+.2f} points)")

    def __repr__(self) -> str:
        return f"{self.graph.name}\n\n{text_table(self.rows(), LEFT)}{self.accuracy}"

    def _repr_html_(self) -> str:
        return html_table(f"{self.graph.name}: {self.accuracy}", self.rows(), LEFT)


def calibration_images(images: np.ndarray, count: int) -> np.ndarray:
    """Return `count` images spread evenly over all of them.

    Raises
    ------
    UserError
        If there are not as many.
    """
    most = min(len(images), MOST_CALIBRATION)
    if not 1 <= count <= most:
        raise UserError(f"calibration must be a whole number of images from 1 to {most}, "
                        f"not {count}")  # fmt: skip
    return images[_spread(len(images), count)]


def _spread(available: int, count: int) -> np.ndarray:
    return np.linspace(0, available - 1, count).astype(int)


def _from_file(path: Path, count: int) -> np.ndarray:
    """Return at most `count` images of a file for calibration."""
    pixels = read_array(path)
    if pixels.ndim < 3:
        raise UserError(
            f"{path} must hold images (N, H, W) or (N, H, W, C), not numbers of shape "
            f"{pixels.shape}"
        )
    return calibration_images(pixels, min(count, len(pixels)))


def _chosen_tests(dataset: Dataset | None, count: int | None) -> np.ndarray:
    """Return the places of the images to test on."""
    most = 0 if dataset is None else len(dataset.test_labels)
    if count is None:
        count = most
    if not 0 <= count <= most:
        raise UserError(f"test-images must be a whole number from 0 to {most}, not {count}")
    return _spread(most, count)


def quantize_checkpoint(
    checkpoint: Path,
    settings: Settings | None = None,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    calibration: int = CALIBRATION,
    test_images: int | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a checkpoint and measure it; equal inputs give equal graphs.

    Parameters
    ----------
    checkpoint : path-like
        Written by ``pyhw train``.
    settings : Settings, optional
        Bits and digits.
    data : str, optional
        Data set to calibrate with and test on; the one it was trained with by default. Or a
        ``.npy`` file of images to calibrate with, uint8 (N, H, W) or (N, H, W, C), without a test.
    data_dir : path-like, optional
        Folder of the data files.
    calibration : int
        Training images to calibrate with, all of a file if it holds fewer.
    test_images : int, optional
        How many to test on, spread evenly over all of them, which is the default; 0 for no test.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    Quantized

    Raises
    ------
    UserError
        If checkpoint, data or settings do not allow it.
    """
    settings = settings or Settings()
    model, trained = load_checkpoint(checkpoint)
    recipe = trained.recipe
    origin, dataset = trained.origin, None
    if data is not None and data.endswith(".npy"):
        told, images = data, _from_file(Path(data), calibration)
    else:
        dataset = load_dataset(data or recipe.data, data_dir)
        if origin is not None:
            check_fit(recipe, dataset, origin.classes)
        elif dataset.name == recipe.data:
            dataset = dataset.part(recipe.images, recipe.seed)
        told, images = dataset.name, calibration_images(dataset.train_images, calibration)
    chosen = _chosen_tests(dataset, test_images)
    show = progress or (lambda done, total, text: None)
    command = ["pyhw", "quantize", Path(checkpoint).name, "--data", told]
    command += ["--calibration", str(calibration)]
    if test_images is not None:
        command += ["--test-images", str(test_images)]
    usual = Settings().to_dict()
    for name, value in settings.to_dict().items():
        always = name in ("bits", "weight_bits", "digits")
        if value is not None and (always or value != usual[name]) and name != "output_width":
            command += [f"--{name.replace('_', '-')}", str(value)]
    with unsaid():  # the graph's notes are shown
        quantised = quantize_model(
            model,
            images,
            settings,
            name=f"{recipe.model}_{recipe.ops}_{recipe.data if origin is None else origin.source}",
            normalise=None if origin is None else origin.normalise,
            progress=lambda done, total, layer: show(done, total, f"quantising {layer}"),
        )
    graph = quantised.graph
    meta = dict(graph.meta)
    reference, accuracy = None, None
    if dataset is not None and len(chosen):
        tests, labels = dataset.test_images[chosen], dataset.test_labels[chosen]
        show(0, 1, "testing the model")
        reference = evaluate(trained.on_pixels(model), tests, labels)
        guesses = predict(
            graph,
            (tests[..., None] if tests.ndim == 3 else tests).astype(np.int64),
            progress=lambda done, total: show(done, total, "testing the graph"),
        )
        accuracy = 100 * float(np.mean(guesses == labels))
        meta |= {
            "accuracy": {
                "data": told,
                "images": len(chosen),
                "float": round(reference, 4),
                "integer": round(accuracy, 4),
            },
            "classes": list(dataset.classes),
        }
    meta |= {
        "command": shlex.join(command),
        "origin": {
            "checkpoint": hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
            "recipe": recipe.to_dict(),
        },
        "pyhw": __version__,
    }
    return Quantized(
        graph=Graph(graph.name, graph.ops, graph.output, meta),
        layers=quantised.layers,
        data=told,
        tested=len(chosen),
        float_accuracy=reference,
        integer_accuracy=accuracy,
    )

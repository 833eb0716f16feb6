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
from pyhw.table import html_table, text_table
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.data import load_dataset
from pyhw.training.loop import evaluate

from .model import LayerReport, quantize_model
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
        Name of the data set.
    tested : int
        Test images.
    float_accuracy, integer_accuracy : float
        Over the test images, percent: the model in PyTorch, and the graph on the golden executor.
    """

    graph: Graph
    layers: tuple[LayerReport, ...]
    data: str
    tested: int
    float_accuracy: float
    integer_accuracy: float

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
    return images[np.linspace(0, len(images) - 1, count).astype(int)]


def quantize_checkpoint(
    checkpoint: Path,
    settings: Settings | None = None,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    calibration: int = CALIBRATION,
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
        Data set to calibrate with and test on; the one it was trained with by default.
    data_dir : path-like, optional
        Folder of the data files.
    calibration : int
        Training images to calibrate with.
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
    dataset = load_dataset(data or recipe.data, data_dir)
    if dataset.name == recipe.data:
        dataset = dataset.part(recipe.images, recipe.seed)
    images = calibration_images(dataset.train_images, calibration)
    show = progress or (lambda done, total, text: None)
    command = ["pyhw", "quantize", Path(checkpoint).name, "--data", dataset.name]
    command += ["--calibration", str(calibration)]
    usual = Settings().to_dict()
    for name, value in settings.to_dict().items():
        always = name in ("bits", "weight_bits", "digits")
        if value is not None and (always or value != usual[name]) and name != "output_width":
            command += [f"--{name.replace('_', '-')}", str(value)]
    quantised = quantize_model(
        model,
        images,
        settings,
        name=f"{recipe.model}_{recipe.ops}_{recipe.data}",
        progress=lambda done, total, layer: show(done, total, f"quantising {layer}"),
    )
    graph, tested = quantised.graph, len(dataset.test_labels)
    tests = dataset.test_images
    show(0, 1, "testing the model")
    reference = evaluate(model, dataset.test_images, dataset.test_labels)
    guesses = predict(
        graph,
        (tests[..., None] if tests.ndim == 3 else tests).astype(np.int64),
        progress=lambda done, total: show(done, total, "testing the graph"),
    )
    accuracy = 100 * float(np.mean(guesses == dataset.test_labels))
    meta = dict(graph.meta) | {
        "accuracy": {
            "data": dataset.name,
            "images": tested,
            "float": round(reference, 4),
            "integer": round(accuracy, 4),
        },
        "classes": list(dataset.classes),
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
        data=dataset.name,
        tested=tested,
        float_accuracy=reference,
        integer_accuracy=accuracy,
    )

"""Quantisation of a model: stages become operations one after the other, on calibration images."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyhw.graph.ops import Graph, Input, Operation
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format

from .choice import Chooser
from .forms import form_of
from .guard import read_network
from .images import check_images, check_normalise, scale_doubts
from .layer import concatenate, quantise_stage
from .operation import Value, operation_name, round_weights
from .reference import Reals
from .report import LOSS, LayerReport, QuantisationWarning, lost
from .settings import EDGE_WEIGHT_BITS, Settings
from .stage import IMAGES, Stage
from .token_kinds import Context, kind_of
from .tokens import fold_norms

__all__ = ["LayerReport", "Quantised", "quantize_model"]

PIXEL = Format(8, signed=False)
"""Format of the input: 0..255 stands for 0..1."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised model.

    Attributes
    ----------
    graph : Graph
    layers : tuple of LayerReport
        One for each operation.
    steps : dict of str to float
        Of every stage's value, by path.
    notes : tuple of str
        What the user should know: what was left out, and what is probably not meant; the
        graph's meta has them, too.
    """

    graph: Graph
    layers: tuple[LayerReport, ...]
    steps: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def quantize_model(
    model: Any,
    images: np.ndarray,
    settings: Settings | None = None,
    *,
    name: str = "network",
    meta: Mapping[str, Any] | None = None,
    normalise: tuple[np.ndarray, np.ndarray] | None = None,
    scales: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Quantised:
    """Turn a trained model into an integer graph, without retraining.

    Parameters
    ----------
    model : torch.nn.Module
        Of layers and functions that `pyhw.quantizer.reading.read` reads; it sees pixels / 255.
    images : uint8 array (N, H, W) or (N, H, W, C)
        Calibration images, a few hundred of the training set.
    settings : Settings, optional
        Bits and digits; 8 bits by default.
    name : str
        Of the graph.
    meta : mapping, optional
        Entries for the graph's meta, beside ``bits``, ``scales`` and ``quantizer``.
    normalise : (array (C,), array (C,)), optional
        Mean and deviation that the data loader took off pixels / 255, if it did.
    scales : mapping of str to float, optional
        Steps of stored values, by stage, of a network that was trained with them and with rounded
        weights (`pyhw.quantizer.qat`).
    progress : callable, optional
        Called before each layer with its number, their count and its name.

    Returns
    -------
    Quantised

    Raises
    ------
    UserError
        If a layer is not supported, holds NaN or infinite values, or cannot be written in the
        accelerator's numbers; if images are not what the model takes; if what was read is not
        what the model computes.

    Warns
    -----
    QuantisationWarning
        If images are probably of another scale, or the integers lose more than `LOSS` of the
        results' spread on them.
    """
    settings = settings or Settings()
    images = check_images(images)
    doubts = scale_doubts(images)
    height, width, channels = images.shape[1:]
    if normalise is not None:
        mean, deviation = normalise = check_normalise(normalise, channels)
        told = {"mean": mean.tolist(), "deviation": deviation.tolist()}
        meta = dict(meta or {}) | {"normalise": told}
    reading = read_network(model, images, normalise)
    stages = fold_norms(reading.stages)
    reals = Reals(stages, images / PIXEL.max)
    chooser = Chooser(stages, reals, settings.bits, dict(scales or {}), settings.stream_bits)
    values = {IMAGES: Value("input", PIXEL, 1 / PIXEL.max, images.astype(np.int64))}
    ops: list[Operation] = [Input(name="input", shape=(height, width, channels), fmt=PIXEL)]
    reports, steps = [], {}
    edges = [i for i, stage in enumerate(stages) if stage.weight is not None]
    for number, stage in enumerate(stages):
        if progress is not None:
            progress(number, len(stages), stage.path)
        edge = number in (edges[0], edges[-1])
        wide = edge and form_of(stage).wide_at_edges
        bits = EDGE_WEIGHT_BITS if wide else settings.inner_weight_bits
        kind = kind_of(stage)
        if scales and stage.kind != "concat" and kind is None:
            stage = round_weights(stage, values[stage.source], bits, settings.digits)
            reals.change(stage)
        label = operation_name(stage.path, number)
        if stage.kind == "concat":
            made = concatenate(stage, label, values, reals[stage.path])
        elif kind is not None:
            made = kind.quantise(stage, Context(
                name=label, values=values, reals=reals, chooser=chooser, settings=settings))
        else:
            last = number == len(stages) - 1
            made = quantise_stage(stage, label, values, reals, chooser, settings, bits, last)
        ops += [*made.before, made.op]
        reports.append(made.report)
        values[stage.path], steps[stage.path] = made.value, made.value.scale
        loss = lost(made.value, reals[stage.path])
        for path in _done(stages, number):
            reals.free(path)
            del values[path]
    notes = []
    if reading.left_out is not None:
        notes.append(
            f"{reading.left_out_path} ({type(reading.left_out).__name__}) is left out: the class "
            "is the same without it"
        )
    if loss > LOSS and not scales:  # what was trained with rounding is not the real network
        doubts.append(
            f"the integers lose {loss:.0%} of the spread of the results on the calibration images: "
            "are the images those that the model was trained on, scaled and normalised alike? If "
            "so, take more bits, or train with rounding (docs/quantization.md)"
        )
    notes += doubts
    if notes:
        meta = dict(meta or {}) | {"notes": notes}
    graph = Graph(
        name,
        tuple(ops),
        ops[-1].name,
        dict(meta or {})
        | {
            "bits": settings.bits,
            "quantizer": settings.to_dict(),
            "scales": {"input": 1 / PIXEL.max} | {r.name: r.scale for r in reports},
        },
    )
    for doubt in doubts:
        warnings.warn(doubt, QuantisationWarning, stacklevel=2)
    return Quantised(verify(graph), tuple(reports), steps, tuple(notes))


def _done(stages: list[Stage], number: int) -> list[str]:
    """Return the paths of values that nothing after a stage reads."""
    later = {path for stage in stages[number + 1 :] for path in stage.reads}
    return [path for path in dict.fromkeys(stages[number].reads) if path not in later]

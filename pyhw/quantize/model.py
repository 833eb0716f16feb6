"""Quantisation of a model: stages become operations one after the other, on calibration images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdl.formats import Format, apply_terms, round_shift, terms_value
from pyhw.errors import UserError
from pyhw.graph.execute import accumulators
from pyhw.graph.ops import Graph, Input, Op
from pyhw.graph.post import Step
from pyhw.graph.verify import verify

from .affine import affine_step, identity_step
from .operation import Value, draft
from .reference import compute
from .scales import activation_scale, output_scale
from .settings import EDGE_WEIGHT_BITS, Settings
from .stage import Stage, fold_normalisation, normalisation
from .walk import walk

__all__ = ["LayerReport", "Quantised", "quantize_model"]

PIXEL = Format(8, signed=False)
"""Format of the input: 0..255 stands for 0..1."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What became of one layer.

    Attributes
    ----------
    name, kind : str
        Operation; ``adder``, ``conv``, ``max``, ``sum`` or ``point``.
    shape : (int, int, int)
        Height, width and channels of its result.
    fmt : str
        Format of its result.
    scale : float
        What one step of the result stands for.
    weight_bits : int or None
        Of a layer with weights.
    digits : int
        Digits of every weight of a 'conv'; 0 for others.
    saturated : float
        Share of the calibration's results beyond the format (below 0 after a ReLU not counted).
    error : float
        Root mean square of the result's error in calibration, over that of the real result.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    fmt: str
    scale: float
    weight_bits: int | None
    digits: int
    saturated: float
    error: float


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised model: `graph`, and a report per layer."""

    graph: Graph
    layers: tuple[LayerReport, ...]


def quantize_model(
    model: Any,
    images: np.ndarray,
    settings: Settings | None = None,
    *,
    name: str = "network",
    meta: Mapping[str, Any] | None = None,
    normalise: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Progress | None = None,
) -> Quantised:
    """Turn a trained model into an integer graph, without retraining.

    Parameters
    ----------
    model : torch.nn.Module
        Nested `torch.nn.Sequential`, as `pyhw.quantize.walk.walk` reads it; it sees pixels / 255.
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
    progress : callable, optional
        Called before each layer with its number, their count and its name.

    Returns
    -------
    Quantised

    Raises
    ------
    UserError
        If a layer is not supported, holds NaN or infinite values, or cannot be written in the
        accelerator's numbers; if images are not what the model takes.
    """
    settings = settings or Settings()
    images = _check_images(images)
    height, width, channels = images.shape[1:]
    stages = walk(model, (height, width, channels))
    if normalise is not None:
        mean, deviation = (np.asarray(part, np.float64) for part in normalise)
        fits = mean.shape == deviation.shape == (channels,)
        if not fits or not (np.isfinite(mean).all() and (deviation > 0).all()):
            raise UserError(
                f"normalise must be {channels} mean(s) and {channels} deviation(s) above 0, "
                f"one for each channel, not {normalise!r}"
            )
        stages = [normalisation(mean, deviation), *stages]
    stages = fold_normalisation(stages)
    state = Value("input", PIXEL, 1 / PIXEL.max, images.astype(np.int64), images / PIXEL.max)
    ops: list[Op] = [Input(name="input", shape=(height, width, channels), fmt=PIXEL)]
    reports = []
    edges = [i for i, stage in enumerate(stages) if stage.weight is not None]
    for number, stage in enumerate(stages):
        if progress is not None:
            progress(number, len(stages), stage.path)
        edge = number in (edges[0], edges[-1])
        bits = EDGE_WEIGHT_BITS if edge and stage.kind == "conv" else settings.inner_weight_bits
        op, report = _quantize_stage(stages[number:], state, settings, bits, number)
        ops.append(op)
        reports.append(report)
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
    return Quantised(verify(graph), tuple(reports))


def _check_images(images: np.ndarray) -> np.ndarray:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        raise UserError(f"calibration images must be unsigned bytes (uint8), not {found}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not len(images):
        raise UserError(
            "calibration images must be an array (images, height, width, channels) of at least "
            f"one image, not of shape {images.shape}"
        )
    return images


def _quantize_stage(
    stages: list[Stage], state: Value, settings: Settings, bits: int, number: int
) -> tuple[Op, LayerReport]:
    """Quantise the first of the stages that are left and move the state past it."""
    stage, last = stages[0], len(stages) == 1
    y = compute(stage, state.real)
    real = stage.normalise(y)
    if stage.kind in ("max", "sum") and stage.scale is None and not state.fmt.signed:
        stage = replace(stage, relu=False)  # nothing is negative here
    keeps = stage.bare_pool and not (last and stage.kind == "sum")
    channels = real.shape[3]
    gain = np.ones(channels) if stage.scale is None else stage.scale
    if keeps:
        fmt, scale = state.fmt, state.scale
    elif last:
        # The step of outputs is a power of two, which weights need not know.
        fmt, scale = Format(settings.output_width, not stage.relu), 1.0
    else:
        fmt, scale = _choose_format(stages, real, settings.bits)
    made = draft(stage, number, state, scale, bits, settings.digits)
    if last and not keeps:
        scale = output_scale(real, fmt, float(np.abs(gain * made.slope).max()))
    acc = accumulators(made.build(identity_step(channels, fmt)), state.x, state.fmt)
    if keeps:
        taps = stage.kernel[0] * stage.kernel[1] if stage.kind == "sum" else 1
        step = identity_step(channels, fmt, taps)
        # What the multiplier lacks to an exact division goes into the scale.
        scale /= taps * int(terms_value(step.m)[0]) / (1 << int(step.shift[0]))
    else:
        # The line goes through the means over the calibration images: what rounding moved the
        # accumulators by on average is corrected here.
        flat = acc.reshape(-1, channels)
        anchor = replace(stage, relu=False).normalise(y.reshape(-1, channels).mean(axis=0))
        step = affine_step(
            gain * made.slope / scale,
            flat.mean(axis=0),
            anchor / scale,
            flat.std(axis=0),
            fmt,
            stage.path,
        )
    op = made.build(step)
    x, saturated = _apply(step, acc, stage.relu)
    size = float(np.sqrt(np.mean(real**2))) or 1.0
    report = LayerReport(
        name=op.name,
        kind=stage.kind,
        shape=(x.shape[1], x.shape[2], x.shape[3]),
        fmt=str(fmt),
        scale=scale,
        weight_bits=None if stage.weight is None else bits,
        digits=made.digits,
        saturated=saturated,
        error=float(np.sqrt(np.mean((x * scale - real) ** 2))) / size,
    )
    state.name, state.fmt, state.scale, state.x, state.real = op.name, fmt, scale, x, real
    return op, report


def _choose_format(stages: list[Stage], real: np.ndarray, bits: int) -> tuple[Format, float]:
    """Return format and step of a stage's result, from what the layer that reads it sees."""
    fmt, rest = Format(bits, not stages[0].relu), stages[1:]
    while rest and rest[0].kind == "max" and rest[0].bare_pool:
        real, rest = compute(rest[0], real), rest[1:]
    reader = rest[0].weight if rest and rest[0].kind == "adder" else None
    return fmt, activation_scale(real, fmt, reader)


def _apply(step: Step, acc: np.ndarray, relu: bool) -> tuple[np.ndarray, float]:
    """Return the stored values, and the share that was clamped (at 0 by a ReLU not counted)."""
    u = round_shift(apply_terms(acc, step.m) + step.bias, step.shift.astype(np.int64))
    beyond = u > step.fmt.max if relu else (u > step.fmt.max) | (u < step.fmt.min)
    return step.fmt.clamp(u), float(beyond.mean())

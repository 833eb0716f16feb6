"""The guard: what quantisation reads of a model computes what the model computes.

However a model is read, there are ways to misread it that nobody has thought of. So the model
itself, in nobody's hands but PyTorch's, runs on a few images, and its results are compared with
those of the stages, in real numbers, before anything is rounded to integers.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from pyhw.errors import UserError

from .images import Normalise, probe_images
from .normalisation import fold_normalisation
from .reading import Reading, read
from .reference import Reals
from .trace import trace
from .tracer import evaluation
from .wrappers import unwrapped

__all__ = ["ROUNDING", "read_network"]

ROUNDING = 1e-3
"""Largest difference that is rounding, as a share of the results' spread."""
NOISE = 2e-5
"""The same as a share of their size: results that hardly differ differ by rounding."""
NARROW = (torch.float16, torch.bfloat16)
"""Types whose rounding hides too much: models of them are compared as float32."""
TRACED = 3
"""Probes that the model is traced on; it runs on more, so that nothing can depend on how many."""


def read_network(
    model: nn.Module, images: np.ndarray, normalise: Normalise | None = None
) -> Reading:
    """Read a model, and compare it with what was read.

    Parameters
    ----------
    model : torch.nn.Module
        As for `pyhw.quantizer.model.quantize_model`.
    images : uint8 array (N, H, W, C)
        Calibration images, of which a few are taken.
    normalise : (array (C,), array (C,)), optional
        Of the data loader.

    Returns
    -------
    Reading
        Its normalisation folded.

    Raises
    ------
    UserError
        If it cannot be read, or what was read computes something else.
    """
    model = unwrapped(model)
    if any(p.dtype in NARROW for p in model.parameters()):
        model = copy.deepcopy(model).float()
    probes = probe_images(images)
    given = _given(model, probes, normalise)
    results = _run(model, given)
    height, width, channels = images.shape[1:]
    reading = read(model, (height, width, channels), given[:TRACED], normalise)
    reading.stages[:] = fold_normalisation(reading.stages)
    reals = Reals(reading.stages, probes / 255)
    values = _as_results(reals[reading.stages[-1].path].z, results, reading.left_out)
    if values is None:
        raise UserError(
            f"the model returns {tuple(results.shape[1:])} for an image, which its layers do not "
            "make: its result must be the last layer's"
        )
    difference = _difference(values, results)
    if difference > 1:
        where = _first_parting(model, given, probes, normalise, reading)
        raise UserError(
            "the model does not compute what quantisation reads of its layers: values part "
            f"{where} (by {difference * ROUNDING:.2g} of the results' spread at the end); make "
            "that part of forward plain layers, without hooks or state"
        )
    return reading


def _given(model: nn.Module, probes: np.ndarray, normalise: Normalise | None) -> torch.Tensor:
    """Return images as the model takes them, (N, C, H, W)."""
    x = torch.tensor(np.ascontiguousarray(np.moveaxis(probes, 3, 1))).double() / 255
    if normalise is not None:
        mean, deviation = (torch.tensor(part)[:, None, None] for part in normalise)
        x = (x - mean) / deviation
    values = [*model.parameters(), *model.buffers()]
    like = next((v for v in values if v.is_floating_point()), torch.zeros(0))
    return x.to(like)


def _run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the model makes of images, by its own forward."""
    try:
        with evaluation(model), torch.no_grad():
            result = model(x.clone())
    except Exception as error:  # user code may raise anything
        lines = str(error).strip().splitlines()
        # Reading says more where it is a layer that does not fit.
        read(model, (x.shape[2], x.shape[3], x.shape[1]), x[:TRACED])
        raise UserError(
            f"the model fails on {len(x)} calibration images: "
            f"{lines[0] if lines else type(error).__name__}"
        ) from error
    if not isinstance(result, torch.Tensor) or result.shape[:1] != x.shape[:1]:
        read(model, (x.shape[2], x.shape[3], x.shape[1]), x[:TRACED])
        found = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise UserError(
            f"the model must return one tensor with a row for each image; of {len(x)} images it "
            f"makes {found}"
        )
    return result.detach().cpu().double()


def _as_results(
    z: np.ndarray, results: torch.Tensor, left_out: nn.Module | None
) -> torch.Tensor | None:
    """Return the last stage's values in the shape of the model's results."""
    tokens = results.ndim == 3  # (N, T, C)
    values = torch.tensor(np.ascontiguousarray(z if tokens else np.moveaxis(z, 3, 1)))
    if values.numel() != results.numel():
        return None
    values = values.reshape(results.shape)
    return values if left_out is None else left_out(values)


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference of any image, in multiples of what rounding explains."""
    found, wanted = found.flatten(1), wanted.flatten(1)
    error = (found - wanted).square().mean(1).sqrt()
    if not torch.isfinite(error).all():
        return float("inf")
    noise = torch.arange(len(wanted)) == 1  # its values may be far larger than images'
    most = 0.0
    for part in (noise, ~noise):
        size = float(wanted[part].square().mean().sqrt())
        allowed = ROUNDING * (_spread(wanted[part]) or _spread(wanted)) + NOISE * size
        worst = float(error[part].max())
        most = max(most, worst / allowed if allowed else float(worst > 0) * float("inf"))
    return most


def _spread(results: torch.Tensor) -> float:
    """Return how far results of several images are from their mean."""
    return float((results - results.mean(0)).square().mean().sqrt())


def _parting_stage(
    reading: Reading, copies: Mapping[str, torch.Tensor], probes: np.ndarray
) -> str:
    """Name the layers of the first stage whose values are not the model's, "" if none is."""
    reals = Reals(reading.stages, probes[:TRACED] / 255)
    for stage in reading.stages:
        last = reading.last.get(stage.path, "")
        wanted = copies.get(last)
        if wanted is None or wanted.ndim > 4:  # scores have no order of their own
            continue
        wanted = wanted.detach().cpu().double()
        found = _as_results(reals[stage.path].z, wanted, None)
        if found is None or _difference(found, wanted) > 1:
            paths = {call.name: call.path for call in reading.traced.calls}
            end = paths.get(last, stage.path)
            between = stage.path in paths.values() and end != stage.path
            return f"between layer {stage.path!r} and {end!r}" if between else f"at layer {end!r}"
    return ""


def _first_parting(
    model: nn.Module, given: torch.Tensor, probes: np.ndarray, normalise: Normalise | None,
    reading: Reading,
) -> str:  # fmt: skip
    """Say where the values of the model leave those of the stages."""
    height, width, channels = probes.shape[1:]
    copies = trace(model, given[:TRACED], keep=True).copies
    single = read(model, (height, width, channels), given[:TRACED], normalise, apart=True)
    for stages in (single, reading):
        if place := _parting_stage(stages, copies, probes):
            return place
    run: list[tuple[str, torch.Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda layer, given, made, path=path: run.append((path, made))
        )
        for path, module in model.named_modules()
        if not list(module.children())
    ]
    try:
        _run(model, given)
    finally:
        for hook in hooks:
            hook.remove()
    traced = [(call.path, copies.get(call.name)) for call in reading.traced.calls]
    modules = iter([pair for pair in traced if pair[0] in dict(model.named_modules())])
    for path, result in run:
        expected, wanted = next(modules, ("", None))
        if path != expected or wanted is None or not isinstance(result, torch.Tensor):
            return f"at layer {path!r}"
        if _difference(result[:TRACED].double(), wanted.double()) > 1:
            return f"at layer {path!r}"
    return "after the last layer"

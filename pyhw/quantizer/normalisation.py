"""The normalisation of the input: a stage of its own, or part of the first convolution."""

from dataclasses import replace

import numpy as np

from .forms import form_of
from .stage import IMAGES, Affine, Norm, Stage

__all__ = ["fold_normalisation", "normalised"]


def normalised(stages: list[Stage], mean: np.ndarray, deviation: np.ndarray) -> list[Stage]:
    """Put a stage first that takes a mean off the images and divides by a deviation, per channel.

    Parameters
    ----------
    stages : list of Stage
        Of a whole network.
    mean, deviation : float64 array (C,)
        In units of the model's unnormalised input, 0..1 for pixels.
    """
    names = {stage.path for stage in stages}
    path = "normalisation"
    while path in names:
        path += "_"
    norm = Norm(1 / deviation, mean, np.zeros(len(mean)))
    point = Stage(path=path, kind="point", channels=len(mean), first=Affine(norm))
    return [point, *(relink(stage, IMAGES, path) for stage in stages)]


def relink(stage: Stage, old: str, new: str) -> Stage:
    """Return a stage that reads `new` wherever it read `old`."""

    def moved(step: Affine) -> Affine:
        if step.residual is None or step.residual.path != old:
            return step
        return replace(step, residual=replace(step.residual, path=new))

    return replace(
        stage,
        sources=tuple(new if path == old else path for path in stage.sources),
        first=moved(stage.first),
        second=None if stage.second is None else moved(stage.second),
    )


def fold_normalisation(stages: list[Stage]) -> list[Stage]:
    """Fold a leading normalisation into the ordinary convolution that follows it.

    The input's value that becomes 0 is what padded taps read from then on.

    Parameters
    ----------
    stages : list of Stage
        Of a whole network.

    Returns
    -------
    list of Stage
        The same stages where it cannot be done exactly: another layer follows, groups, weights
        that are codes, or a zero that is no pixel value.
    """
    if len(stages) < 2:
        return stages
    point, conv = stages[:2]
    norm = point.first.norm
    plain = point.kind == "point" and point.source == IMAGES and not point.residuals
    if not plain or norm is None or point.activation is not None or not norm.scale.all():
        return stages
    if conv.weight is None or not form_of(conv).linear or conv.groups != 1:
        return stages
    if conv.source != point.path or any(point.path in stage.reads for stage in stages[2:]):
        return stages
    assert conv.weight is not None
    zero = norm.mean - norm.shift / norm.scale  # what the normalisation turns into 0
    if any(conv.padding) and not ((zero >= 0) & (zero <= 1)).all():
        return stages
    weight = conv.weight * norm.scale
    constant = -(weight * zero).sum(axis=(1, 2, 3))
    bias = constant if conv.bias is None else conv.bias + constant
    return [replace(conv, sources=(IMAGES,), weight=weight, bias=bias, pad=zero), *stages[2:]]

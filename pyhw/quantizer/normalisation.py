"""The normalisation of the input: a stage of its own, or part of the first convolution."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from .forms import form_of
from .stage import IMAGES, Affine, Norm, Stage

__all__ = ["fold_normalisation", "normalisation_stage"]


def normalisation_stage(
    mean: np.ndarray, deviation: np.ndarray, names: Collection[str] = ()
) -> Stage:
    """Return a stage that takes a mean off the images and divides by a deviation, per channel.

    Parameters
    ----------
    mean, deviation : float64 array (C,)
        In units of the model's unnormalised input, 0..1 for pixels.
    names : collection of str
        That it must not have.
    """
    path = "normalisation"
    while path in names:
        path += "_"
    norm = Norm(1 / deviation, mean, np.zeros(len(mean)))
    return Stage(path=path, kind="point", channels=len(mean), first=Affine(norm))


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
    others = [*conv.residuals, *(path for stage in stages[2:] for path in stage.reads)]
    if conv.source != point.path or point.path in others:
        return stages  # something else reads it, too
    assert conv.weight is not None
    zero = norm.mean - norm.shift / norm.scale  # what the normalisation turns into 0
    if any(conv.padding) and not ((zero >= 0) & (zero <= 1)).all():
        return stages
    weight = conv.weight * norm.scale
    constant = -(weight * zero).sum(axis=(1, 2, 3))
    bias = constant if conv.bias is None else conv.bias + constant
    return [replace(conv, sources=(IMAGES,), weight=weight, bias=bias, pad=zero), *stages[2:]]

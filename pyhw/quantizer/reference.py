"""The real-valued network stage by stage, in double precision: what calibration compares with.

Double precision makes the result independent, for any practical purpose, of the number of threads
and of the order of sums, so that equal inputs give equal graphs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .activations import RELU, apply_activation
from .forms import form_of
from .stage import IMAGES, Affine, Stage
from .token_kinds import kind_of

__all__ = ["Real", "Reals", "compute", "forward"]

BLOCK = 64
"""Images computed at a time."""


def compute(stage: Stage, x: np.ndarray) -> np.ndarray:
    """Return what a stage's layer computes, before batch norm and ReLU.

    Parameters
    ----------
    stage : Stage
        Layer to compute.
    x : float64 array (N, H, W, C)
        What it reads.

    Returns
    -------
    float64 array (N, H', W', O)
    """
    with torch.no_grad():
        return np.concatenate([_block(stage, x[i : i + BLOCK]) for i in range(0, len(x), BLOCK)])


@dataclass(frozen=True, eq=False)
class Real:
    """What a stage comes to on the calibration images, float64 (N, H', W', O) where not said.

    Attributes
    ----------
    y_mean : float64 array (O,)
        Of what the layer computes, before batch norm.
    v : array or None
        After the first step; kept where a table or a second step follows.
    a : array or None
        After the activation; kept where a second step follows.
    z : array
        The stage's value.
    """

    y_mean: np.ndarray
    v: np.ndarray | None
    a: np.ndarray | None
    z: np.ndarray


class Reals:
    """The real values of all stages, each computed when it is asked for and kept until freed."""

    def __init__(self, stages: list[Stage], images: np.ndarray) -> None:
        self._stages = {stage.path: stage for stage in stages}
        self._count = len(images)
        channels = np.zeros(images.shape[-1])
        self._known = {IMAGES: Real(channels, None, None, images)}

    def __getitem__(self, path: str) -> Real:
        """Return a stage's values."""
        if path not in self._known:
            self._known[path] = self._compute(self._stages[path])
        return self._known[path]

    def change(self, stage: Stage) -> None:
        """Compute a stage, which nothing has asked for yet, with other numbers."""
        assert stage.path not in self._known
        self._stages[stage.path] = stage

    def free(self, path: str) -> None:
        """Forget values that nothing will ask for any more."""
        del self._known[path]

    def _compute(self, stage: Stage) -> Real:
        reads = [self[path].z for path in stage.sources]
        kind = kind_of(stage)
        if kind is not None:
            y = kind.compute(stage, reads, self._count)
        else:
            y = np.concatenate(reads, axis=3) if stage.kind == "concat" else (
                compute(stage, reads[0]))
        v = stage.first(y, self._added(stage.first))
        a = apply_activation(stage.activation, v)
        z = a if stage.second is None else stage.second(a, self._added(stage.second))
        if stage.relu2:
            z = np.maximum(z, 0)
        keep = stage.second is not None
        return Real(
            y.reshape(-1, y.shape[3]).mean(axis=0),
            v if keep or stage.activation not in (None, RELU) else None,
            a if keep else None,
            z,
        )

    def _added(self, step: Affine) -> np.ndarray | None:
        return None if step.residual is None else self[step.residual.path].z


def forward(stages: list[Stage], x: np.ndarray) -> np.ndarray:
    """Return the output of the last stage, arrays as in `compute`."""
    return Reals(stages, x)[stages[-1].path].z


def _block(stage: Stage, block: np.ndarray) -> np.ndarray:
    if stage.kind == "point":
        return block
    x = torch.tensor(np.moveaxis(block, 3, 1))  # (N, C, H, W)
    x = _pad(stage, x)
    if stage.kind == "max":
        y = F.max_pool2d(x, stage.kernel, stage.stride)
    elif stage.kind == "sum":
        y = F.avg_pool2d(x, stage.kernel, stage.stride, divisor_override=stage.divisor)
    else:
        assert stage.weight is not None
        weight = torch.tensor(np.moveaxis(stage.weight, 3, 1))  # (O, C / groups, KH, KW)
        y = form_of(stage).convolve(stage, x, weight)
        if stage.bias is not None:
            y = y + torch.tensor(stage.bias)[:, None, None]
    return np.ascontiguousarray(np.moveaxis(y.numpy(), 1, 3))


def _pad(stage: Stage, x: torch.Tensor) -> torch.Tensor:
    top, left, bottom, right = stage.padding
    if stage.pad is None or not any(stage.padding):
        empty = -torch.inf if stage.kind == "max" else 0.0
        return F.pad(x, (left, right, top, bottom), value=empty)
    value = torch.tensor(stage.pad)[:, None, None]
    return F.pad(x - value, (left, right, top, bottom)) + value

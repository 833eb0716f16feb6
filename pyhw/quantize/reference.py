"""The real-valued network stage by stage, in double precision: what calibration compares with.

Double precision makes the result independent, for any practical purpose, of the number of threads
and of the order of sums, so that equal inputs give equal graphs.
"""

import numpy as np
import torch
from torch.nn import functional as F

from pyhw.nn.functional import adder_conv2d

from .stage import Stage

__all__ = ["compute", "forward"]

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


def forward(stages: list[Stage], x: np.ndarray) -> np.ndarray:
    """Return the output of all stages, arrays as in `compute`."""
    for stage in stages:
        x = stage.normalise(compute(stage, x))
    return x


def _block(stage: Stage, block: np.ndarray) -> np.ndarray:
    if stage.kind == "point":
        return block
    x = torch.tensor(np.moveaxis(block, 3, 1))  # (N, C, H, W)
    x = _pad(stage, x)
    if stage.kind == "max":
        y = F.max_pool2d(x, stage.kernel, stage.stride)
    elif stage.kind == "sum":
        y = F.avg_pool2d(x, stage.kernel, stage.stride)
    else:
        assert stage.weight is not None
        weight = torch.tensor(np.moveaxis(stage.weight, 3, 1))  # (O, C / groups, KH, KW)
        y = _convolve(stage, x, weight)
        if stage.bias is not None:
            y = y + torch.tensor(stage.bias)[:, None, None]
    return np.ascontiguousarray(np.moveaxis(y.numpy(), 1, 3))


def _convolve(stage: Stage, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if stage.kind == "adder":
        return adder_conv2d(x, weight, stage.stride, 0, stage.dilation, stage.groups)
    return F.conv2d(x, weight, stride=stage.stride, dilation=stage.dilation, groups=stage.groups)


def _pad(stage: Stage, x: torch.Tensor) -> torch.Tensor:
    top, left, bottom, right = stage.padding
    if stage.pad is None or not any(stage.padding):
        empty = -torch.inf if stage.kind == "max" else 0.0
        return F.pad(x, (left, right, top, bottom), value=empty)
    value = torch.tensor(stage.pad)[:, None, None]
    return F.pad(x - value, (left, right, top, bottom)) + value

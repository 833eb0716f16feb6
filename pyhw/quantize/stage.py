"""A stage: one layer that computes, with the batch norm and the ReLU that follow it.

Stages are what the quantiser works on. They hold plain arrays, channels last, and nothing of
torch.
"""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Stage", "fold_normalisation", "normalisation"]

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """``z = relu?(scale * (y - mean) + shift)`` of ``y``, what the layer computes.

    Attributes
    ----------
    path : str
        Of the layer in the model, as ``named_modules`` spells it.
    kind : {'conv', 'adder', 'max', 'sum', 'point'}
        Ordinary or adder convolution (a linear layer covers its map), maximum pool, average pool,
        or the input itself.
    channels : int
        Outputs.
    weight : float64 array (O, KH, KW, C / groups) or None
        Of 'conv' and 'adder'.
    bias : float64 array (O,) or None
        The layer's own; part of y.
    kernel, stride, dilation : (int, int)
        Vertical, horizontal.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    pad : float64 array (C,) or None
        What padded taps read; 0 if None.
    groups : int
        Of 'conv'.
    scale, mean, shift : float64 array (O,) or None
        Batch norm: gamma / sqrt(variance + eps), running mean, beta; all None without one.
    relu : bool
        Whether a ReLU follows.
    """

    path: str
    kind: str
    channels: int
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad: np.ndarray | None = None
    groups: int = 1
    scale: np.ndarray | None = None
    mean: np.ndarray | None = None
    shift: np.ndarray | None = None
    relu: bool = False

    @property
    def bare_pool(self) -> bool:
        """Whether it only pools, so that its result keeps the input's scale."""
        return self.kind in ("max", "sum") and self.scale is None and not self.relu

    def normalise(self, y: np.ndarray) -> np.ndarray:
        """Apply batch norm and ReLU to y, float64 (..., O)."""
        if self.scale is not None and self.mean is not None and self.shift is not None:
            y = self.scale * (y - self.mean) + self.shift
        return np.maximum(y, 0) if self.relu else y


def normalisation(mean: np.ndarray, deviation: np.ndarray) -> Stage:
    """Return the stage that takes a mean off the input and divides by a deviation, per channel.

    Parameters
    ----------
    mean, deviation : float64 array (C,)
        In units of the model's unnormalised input, 0..1 for pixels.
    """
    return Stage(
        path="normalisation",
        kind="point",
        channels=len(mean),
        scale=1 / deviation,
        mean=mean,
        shift=np.zeros(len(mean)),
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
        The same stages where it cannot be done exactly: another layer follows, groups, or a zero
        that is no pixel value.
    """
    if len(stages) < 2:
        return stages
    point, conv = stages[:2]
    if point.kind != "point" or point.relu or conv.kind != "conv" or conv.groups != 1:
        return stages
    if point.scale is None or point.mean is None or point.shift is None or not point.scale.all():
        return stages
    assert conv.weight is not None
    zero = point.mean - point.shift / point.scale  # what the normalisation turns into 0
    if any(conv.padding) and not ((zero >= 0) & (zero <= 1)).all():
        return stages
    weight = conv.weight * point.scale
    constant = -(weight * zero).sum(axis=(1, 2, 3))
    bias = constant if conv.bias is None else conv.bias + constant
    return [replace(conv, weight=weight, bias=bias, pad=zero), *stages[2:]]

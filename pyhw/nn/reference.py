"""The adder layer's published equations, written as they stand: slow, and the definition.

Every faster form in this package is tested against these two functions. They create the
``(batch, outputs, taps, positions)`` temporary that makes the plain form slow, so use them on
small shapes only.
"""

from torch import Tensor
from torch.nn import functional as F

from pyhw.nn.geometry import Geometry
from pyhw.nn.powers import signum

__all__ = ["adder_forward", "adder_gradients"]


def _columns(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the windows by group, (N, groups, 1, R, L), zeros where padded."""
    columns = F.unfold(
        x,
        (weight.shape[2], weight.shape[3]),
        dilation=geometry.dilation,
        padding=geometry.padding,
        stride=geometry.stride,
    )  # (N, groups * R, L)
    return columns.unflatten(1, (geometry.groups, 1, -1))


def _rows(weight: Tensor, geometry: Geometry) -> Tensor:
    return weight.reshape(geometry.groups, -1, weight[0].numel(), 1)  # (groups, O / groups, R, 1)


def adder_forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute ``y[n, o, l] = -sum_r |x[n, r, l] - w[o, r]|`` by broadcasting.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input; padding adds zeros, which are values: a padded tap contributes ``-|w|``.
    weight : Tensor, shape (O, C / groups, KH, KW)
        Adder weights.
    geometry : Geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    Tensor, shape (N, O, H', W')
        Never positive.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    Source
    ------
    Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?", CVPR 2020,
    equation 2.
    """
    shape = geometry.out_shape(x, weight)
    columns = _columns(x, weight, geometry)
    distance = (columns - _rows(weight, geometry)).abs()  # (N, groups, O / groups, R, L)
    return -distance.sum(3).reshape(shape)


def adder_gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, sign: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the published gradients of the adder layer by broadcasting.

    They are not the derivative of the forward: the weight gradient keeps the full-precision
    difference ``x - w`` instead of its sign, the input gradient clips ``w - x`` to [-1, 1].

    Parameters
    ----------
    x, weight, geometry
        As in :func:`adder_forward`.
    gradient : Tensor, shape (N, O, H', W')
        Gradient of the loss with respect to the output.
    sign : bool
        Take the sign of ``x - w`` for the weights: the derivative, and the paper's ablation.

    Returns
    -------
    grad_x : Tensor, shape (N, C, H, W)
    grad_weight : Tensor, shape (O, C / groups, KH, KW)
        Before the layer-wise adaptive step.

    Source
    ------
    AdderNet (CVPR 2020), equations 3 (sign), 5 and 6.
    """
    groups = geometry.groups
    columns = _columns(x, weight, geometry)
    upstream = gradient.reshape(len(x), groups, len(weight) // groups, 1, -1)
    difference = columns - _rows(weight, geometry)  # (N, groups, O / groups, R, L)
    slope = signum(difference) if sign else difference
    grad_weight = (slope * upstream).sum((0, 4)).reshape(weight.shape)
    grad_columns = (difference.neg().clamp(-1, 1) * upstream).sum(2)  # (N, groups, R, L)
    grad_x = F.fold(
        grad_columns.flatten(1, 2),
        (x.shape[2], x.shape[3]),
        (weight.shape[2], weight.shape[3]),
        dilation=geometry.dilation,
        padding=geometry.padding,
        stride=geometry.stride,
    )
    return grad_x, grad_weight

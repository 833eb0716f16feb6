"""The adder convolution as a differentiable function with the published gradients."""

import torch
from torch import Tensor

from pyhw.nn import plain
from pyhw.nn.geometry import Geometry
from pyhw.nn.operators import Adder, rescale_

__all__ = ["GRADIENTS", "adder_conv2d", "rescale_"]

GRADIENTS = ("full", "sign")
NARROW = (torch.float16, torch.bfloat16)


def adder_conv2d(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    eta: float | None = 0.2,
    gradient: str = "full",
) -> Tensor:
    """Convolve by L1 distance: ``y = -sum |x - w|`` over the taps of each position.

    The backward pass follows the paper, not the derivative: ``x - w`` for the weights, ``w - x``
    clipped to [-1, 1] for the input. The weight gradient is then brought to the root mean square
    `eta`, whatever the loss scale, before momentum and weight decay see it.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
        Input. Padding adds zeros, and a padded tap contributes ``-|w|``.
    weight : Tensor, shape (O, C / groups, KH, KW)
        Adder weights.
    stride, padding, dilation : int or (int, int)
        Once, or for rows and columns.
    groups : int
        Divides the channels of input and output.
    eta : float or None
        Root mean square of the weight gradient; None leaves the gradient as it is, for
        :func:`pyhw.nn.adaptive_step`.
    gradient : {'full', 'sign'}
        Weight gradient: the published full-precision ``x - w``, or its sign, the ablation.

    Returns
    -------
    Tensor, shape (N, O, H', W') or (O, H', W')
        Never positive. 16-bit floats are computed in float32; the result has the wider type of
        `x` and `weight`, so under autocast it is float32.

    Raises
    ------
    TypeError
        If an operand does not hold floats.
    ValueError
        If the shapes do not fit each other, or `gradient` is not known.

    Source
    ------
    AdderNet (CVPR 2020), equations 2, 3 (sign), 5, 6 and 12-13 (adaptive learning rate).
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, not {gradient!r}")
    for name, tensor in (("Input", x), ("weight", weight)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must hold floats, not {tensor.dtype}; convert it first")
    if x.dim() == 3:
        return adder_conv2d(
            x[None], weight, stride, padding, dilation, groups, eta=eta, gradient=gradient
        )[0]
    geometry = Geometry.of(stride, padding, dilation, groups)
    geometry.out_shape(x, weight)  # refuses what does not fit
    dtype = torch.promote_types(x.dtype, weight.dtype)
    wide = torch.float32 if dtype in NARROW else dtype
    x, weight = x.to(wide), weight.to(wide)
    if torch.onnx.is_in_onnx_export():  # there are standard operators only
        return plain.distances(x, weight, geometry).to(dtype)
    y: Tensor = Adder.apply(x, weight, geometry, eta, gradient == "sign")
    return y.to(dtype)

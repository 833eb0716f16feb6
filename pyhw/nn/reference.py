"""The adder layer's published equations, written as they stand: slow, and the definition.

Every faster form in this package is tested against these two functions. They create the
``(batch, outputs, taps, positions)`` temporary that makes the plain form slow, so use them on
small shapes only.
"""

from torch import Tensor
from torch.nn import functional as F


def _columns(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    return F.unfold(x, kernel, padding=padding, stride=stride)  # (N, R, L), zeros where padded


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the output rows (or columns) of a convolution, leftovers cut.

    Parameters
    ----------
    size, kernel, stride, padding : int
        Input rows, kernel rows, step, and zeros added at both ends.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If the padded input is smaller than the kernel.
    """
    if size + 2 * padding < kernel:
        raise ValueError(
            f"Input must be at least {kernel - 2 * padding} pixels high and wide for kernel_size "
            f"{kernel} with padding {padding}, not {size}"
        )
    return (size + 2 * padding - kernel) // stride + 1


def adder_forward(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Compute ``y[n, o, l] = -sum_r |x[n, r, l] - w[o, r]|`` by broadcasting.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Input; padding adds zeros, which are values: a padded tap contributes ``-|w|``.
    weight : Tensor, shape (O, C, k, k)
        Adder weights.
    stride, padding : int
        Same in both directions.

    Returns
    -------
    Tensor, shape (N, O, H', W')
        Never positive.

    Raises
    ------
    ValueError
        If the padded input is smaller than the kernel.

    Source
    ------
    Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?", CVPR 2020,
    equation 2.
    """
    height = output_size(x.shape[2], weight.shape[2], stride, padding)
    width = output_size(x.shape[3], weight.shape[3], stride, padding)
    columns = _columns(x, weight.shape[2], stride, padding)
    distance = (columns.unsqueeze(1) - weight.flatten(1)[None, :, :, None]).abs()  # (N, O, R, L)
    return -distance.sum(2).reshape(len(x), len(weight), height, width)


def adder_gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: int = 1, padding: int = 0
) -> tuple[Tensor, Tensor]:
    """Compute the published gradients of the adder layer by broadcasting.

    They are not the derivative of the forward: the weight gradient keeps the full-precision
    difference ``x - w`` instead of its sign, the input gradient clips ``w - x`` to [-1, 1].

    Parameters
    ----------
    x, weight, stride, padding
        As in :func:`adder_forward`.
    gradient : Tensor, shape (N, O, H', W')
        Gradient of the loss with respect to the output.

    Returns
    -------
    grad_x : Tensor, shape (N, C, H, W)
    grad_weight : Tensor, shape (O, C, k, k)
        Before the layer-wise adaptive step.

    Source
    ------
    AdderNet (CVPR 2020), equations 5 and 6.
    """
    kernel = weight.shape[2]
    columns = _columns(x, kernel, stride, padding)
    upstream = gradient.flatten(2).unsqueeze(2)  # (N, O, 1, L)
    difference = columns.unsqueeze(1) - weight.flatten(1)[None, :, :, None]  # (N, O, R, L)
    grad_weight = (difference * upstream).sum((0, 3)).reshape(weight.shape)
    grad_columns = (difference.neg().clamp(-1, 1) * upstream).sum(1)  # (N, R, L)
    grad_x = F.fold(grad_columns, x.shape[2:], kernel, padding=padding, stride=stride)
    return grad_x, grad_weight

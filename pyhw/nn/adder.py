"""Adder layers: drop-in counterparts of ``torch.nn.Conv2d`` and ``torch.nn.Linear``.

Checkpoints of the reference implementation call the weight ``adder``; here it is ``weight``, as
tools expect of a layer, and an importer renames it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.functional import adder_conv2d

ETA = 0.2
"""Root mean square of an adder layer's weight gradient in the published recipe."""


def _square(name: str, value: Any, smallest: int) -> int:
    """Return one int for a size that may be given once or per direction."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise TypeError(f"{name} must be an int or a pair of ints, not {value!r}")
    if len(values) != 2 or min(values) < smallest:
        raise ValueError(f"{name} must be an int of at least {smallest}, or two, not {value!r}")
    if values[0] != values[1]:
        raise NotImplementedError(
            f"{name} must be the same in both directions, not {value!r}: "
            "rectangular adder convolutions are not supported yet"
        )
    return values[0]


class _Adder(nn.Module):
    """What both adder layers share: parameters, their initial values, the adaptive step."""

    bias: nn.Parameter | None

    def __init__(self, shape: tuple[int, ...], bias: bool, eta: float | None) -> None:
        super().__init__()
        if eta is not None and not eta > 0:
            raise ValueError(f"eta must be positive or None, not {eta!r}")
        self.eta = eta
        self.weight = nn.Parameter(torch.empty(shape))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0])) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, 1), without fan-in scaling, and a bias from U(0, 1)."""
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.uniform_(self.bias)


class AdderConv2d(_Adder):
    """Convolve by L1 distance, ``y = -sum |x - w| (+ bias)``, with the published gradients.

    The output is never positive and its variance grows with the number of taps: follow the layer
    by a batch norm, without which such networks do not train.

    Parameters
    ----------
    in_channels, out_channels : int
        At least 1.
    kernel_size, stride : int or (int, int)
        At least 1, the same in both directions.
    padding : int or (int, int)
        Zeros added on every side. Zero is a value here: a padded tap contributes ``-|w|``.
    dilation, groups : int
        Only 1 so far.
    bias : bool
        Add a learned constant per output channel; the published networks have none.
    eta : float or None
        Root mean square of the weight gradient after the layer-wise adaptive step; None leaves
        the gradient unscaled.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not integers or are out of range.
    NotImplementedError
        For groups or dilation other than 1, and for rectangles.

    Source
    ------
    AdderNet (CVPR 2020), section 3; initial values from the authors' code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        eta: float | None = ETA,
    ) -> None:
        in_channels = _square("in_channels", in_channels, 1)
        out_channels = _square("out_channels", out_channels, 1)
        kernel = _square("kernel_size", kernel_size, 1)
        for name, value in (("dilation", dilation), ("groups", groups)):
            if value not in (1, (1, 1)):
                raise NotImplementedError(
                    f"{name} must be 1, not {value!r}: adder convolutions with {name} are not "
                    "supported yet"
                )
        super().__init__((out_channels, in_channels, kernel, kernel), bias, eta)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = kernel
        self.stride = _square("stride", stride, 1)
        self.padding = _square("padding", padding, 0)
        self.dilation, self.groups = 1, 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative L1 distances.

        Parameters
        ----------
        x : Tensor, shape (N, in_channels, H, W)
            Input.

        Returns
        -------
        Tensor, shape (N, out_channels, H', W')
            ``H' = (H + 2 padding - kernel_size) // stride + 1``.

        Raises
        ------
        ValueError
            If the shape of `x` does not fit the layer.
        """
        y = adder_conv2d(x, self.weight, self.stride, self.padding, self.eta)
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}, "
            f"eta={self.eta}"
        )


class AdderLinear(_Adder):
    """Compare by L1 distance, ``y = -sum |x - w| (+ bias)``, with the published gradients.

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool
        Add a learned constant per output.
    eta : float or None
        As in :class:`AdderConv2d`.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not integers or are out of range.

    Source
    ------
    AdderNet (CVPR 2020), section 3: a 1x1 adder convolution on a 1x1 map.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = False, eta: float | None = ETA
    ) -> None:
        in_features = _square("in_features", in_features, 1)
        out_features = _square("out_features", out_features, 1)
        super().__init__((out_features, in_features), bias, eta)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative L1 distances.

        Parameters
        ----------
        x : Tensor, shape (..., in_features)
            Input.

        Returns
        -------
        Tensor, shape (..., out_features)

        Raises
        ------
        ValueError
            If the last dimension of `x` is not `in_features`.
        """
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"Input must have {self.in_features} features in its last dimension, "
                f"not shape {tuple(x.shape)}"
            )
        maps = x.reshape(-1, self.in_features, 1, 1)
        y = adder_conv2d(maps, self.weight[:, :, None, None], eta=self.eta)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        return (
            f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, eta={self.eta}"
        )

"""Adder layers: drop-in counterparts of ``torch.nn.Conv2d`` and ``torch.nn.Linear``.

Checkpoints of the reference implementation call the weight ``adder``; here it is ``weight``, as
tools expect of a layer, and an importer renames it.
"""

import torch
from torch import Tensor, nn

from pyhw.nn.functional import GRADIENTS, adder_conv2d
from pyhw.nn.geometry import Geometry, pair

__all__ = ["ETA", "Adder", "AdderConv2d", "AdderLinear"]

ETA = 0.2
"""Root mean square of an adder layer's weight gradient in the published recipe."""


class Adder(nn.Module):
    """What both adder layers share: parameters, their initial values, the adaptive step."""

    bias: nn.Parameter | None

    def __init__(
        self, shape: tuple[int, ...], bias: bool, eta: float | None, gradient: str
    ) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, not {gradient!r}")
        if eta is not None and not eta > 0:
            raise ValueError(f"eta must be positive or None, not {eta!r}")
        self.eta, self.gradient = eta, gradient
        self.weight = nn.Parameter(torch.empty(shape))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0])) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, 1), without fan-in scaling, and a bias from U(0, 1)."""
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.uniform_(self.bias)

    def _options(self) -> str:
        text = f"bias={self.bias is not None}, eta={self.eta}"
        return text if self.gradient == "full" else f"{text}, gradient={self.gradient}"


class AdderConv2d(Adder):
    """Convolve by L1 distance, ``y = -sum |x - w| (+ bias)``, with the published gradients.

    The output is never positive and its variance grows with the number of taps: follow the layer
    by a batch norm, without which such networks do not train.

    Parameters
    ----------
    in_channels, out_channels : int
        At least 1.
    kernel_size, stride, dilation : int or (int, int)
        At least 1; once, or for rows and columns.
    padding : int or (int, int)
        Zeros added on every side. Zero is a value here: a padded tap contributes ``-|w|``.
    groups : int
        Divides both numbers of channels; ``in_channels`` makes the layer depthwise.
    bias : bool
        Add a learned constant per output channel; the published networks have none.
    eta : float or None
        Root mean square of the weight gradient after the layer-wise adaptive step; None leaves
        the gradient unscaled. See also :func:`pyhw.nn.adaptive_step`.
    gradient : {'full', 'sign'}
        Weight gradient: the published full-precision ``x - w``, or its sign, the ablation.

    Attributes
    ----------
    kernel_size, stride, padding, dilation : (int, int)
        Rows and columns, as in ``torch.nn.Conv2d``.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not integers or are out of range.

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
        gradient: str = "full",
    ) -> None:
        in_channels = pair("in_channels", in_channels, 1)[0]
        out_channels = pair("out_channels", out_channels, 1)[0]
        kernel = pair("kernel_size", kernel_size, 1)
        geometry = Geometry.of(stride, padding, dilation, groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels {in_channels} and out_channels {out_channels}, "
                f"not {groups!r}"
            )
        super().__init__((out_channels, in_channels // groups, *kernel), bias, eta, gradient)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding = geometry.stride, geometry.padding
        self.dilation, self.groups = geometry.dilation, geometry.groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative L1 distances.

        Parameters
        ----------
        x : Tensor, shape (N, in_channels, H, W)
            Input.

        Returns
        -------
        Tensor, shape (N, out_channels, H', W')
            ``H' = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1``.

        Raises
        ------
        ValueError
            If the shape of `x` does not fit the layer.
        """
        y = adder_conv2d(
            x, self.weight, self.stride, self.padding, self.dilation, self.groups,
            eta=self.eta, gradient=self.gradient,
        )  # fmt: skip
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}, padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return ", ".join([*parts, self._options()])


class AdderLinear(Adder):
    """Compare by L1 distance, ``y = -sum |x - w| (+ bias)``, with the published gradients.

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool
        Add a learned constant per output.
    eta, gradient
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
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        eta: float | None = ETA,
        gradient: str = "full",
    ) -> None:
        in_features = pair("in_features", in_features, 1)[0]
        out_features = pair("out_features", out_features, 1)[0]
        super().__init__((out_features, in_features), bias, eta, gradient)
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
        y = adder_conv2d(maps, self.weight[:, :, None, None], eta=self.eta, gradient=self.gradient)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        return f"{self.in_features}, {self.out_features}, {self._options()}"

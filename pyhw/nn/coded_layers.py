"""Convolution and linear map over coded weights: all but where the weights come from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.nn.coded import CodedWeight
from pyhw.nn.geometry import pair

__all__ = ["CodedConv2d", "CodedLayer", "CodedLinear", "Pair", "positive"]

Pair = int | tuple[int, int]
"""A size given once, or for rows and columns."""


def positive(name: str, value: int) -> int:
    """Return a count of at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
    return value


class CodedLayer(CodedWeight, nn.Module):
    """What both layers share: a bias, and a moment to put parameters back into their range."""

    bias: nn.Parameter | None
    weight_shape: tuple[int, ...]

    def _add_bias(self, outputs: int, wanted: bool) -> None:
        self.register_parameter("bias", nn.Parameter(torch.zeros(outputs)) if wanted else None)

    def project(self) -> None:
        """Bring the parameters into their range; `forward` does it first, in training mode."""

    def _options(self) -> str:
        """Return what follows the sizes as ``print(model)`` shows the layer."""
        return ""


class CodedConv2d(CodedLayer):
    """Convolve with coded weights, as `torch.nn.Conv2d` does with its own.

    Parameters
    ----------
    in_channels, out_channels : int
        At least 1, multiples of `groups`.
    kernel_size, stride, padding, dilation : int or (int, int)
        Of rows and columns. Padding adds zeros on both sides.
    groups : int
        At least 1.
    bias : bool
        Add a learned constant per output channel, 0 at first.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not integers or are out of range.
    """

    padding_mode = "zeros"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.groups = positive("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"in_channels and out_channels must be multiples of groups={groups}, "
                f"not {in_channels} and {out_channels}"
            )
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        self.dilation = pair("dilation", dilation, 1)
        self.weight_shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._add_bias(out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, shape (N, in_channels, H, W)."""
        if self.training:
            self.project()
        return F.conv2d(
            x,
            self.effective_weight(),
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
        text += f"stride={self.stride}, padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + f", bias={self.bias is not None}" + self._options()


class CodedLinear(CodedLayer):
    """Map linearly with coded weights, as `torch.nn.Linear` does with its own.

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool
        Add a learned constant per output, 0 at first.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not integers or are out of range.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features = positive("in_features", in_features)
        self.out_features = positive("out_features", out_features)
        self.weight_shape = (out_features, in_features)
        self._add_bias(out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear map of `x`, shape (..., in_features)."""
        if self.training:
            self.project()
        return F.linear(x, self.effective_weight(), self.bias)

    def extra_repr(self) -> str:
        """Return the layer's sizes as ``print(model)`` shows them."""
        sizes = f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
        return sizes + self._options()

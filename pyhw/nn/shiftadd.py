"""The ShiftAddNet cascade: a shift layer, then an adder layer, nothing between them."""

from torch import nn

from pyhw.nn.adder import ETA, AdderConv2d, AdderLinear
from pyhw.nn.coded_layers import Pair
from pyhw.nn.shift import ShiftConv2d, ShiftLinear

__all__ = ["ShiftAddConv2d", "ShiftAddLinear"]


class ShiftAddConv2d(nn.Sequential):
    """Convolve by shifts, then compare by L1 distance: ``0`` a shift layer, ``1`` an adder layer.

    The shift layer goes from `in_channels` to `out_channels` and carries stride and padding. The
    adder layer goes from `out_channels` to `out_channels` and keeps the map's size: with the same
    kernel where the shift layer is padded to keep the size (at stride 1) too, as in the published
    residual networks, and 1x1 elsewhere, as in the published networks without padding. What
    reaches the adder layer may be negative. A batch norm must follow.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        As in :class:`torch.nn.Conv2d`; the adder layer has the same groups.
    bias : bool
        Of the adder layer.
    mode, bits, terms, low
        Of the shift layer: see :class:`pyhw.nn.ShiftConv2d`.
    frozen : bool
        The shift layer keeps its first weights; only the adder layer learns.
    prune : float
        Share of the frozen shift weights that are 0, from 0 to below 1.
    gradient, eta
        Of the adder layer: see :class:`pyhw.nn.AdderConv2d`.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    You et al., "ShiftAddNet: A Hardware-Inspired Deep Network", NeurIPS 2020, and its authors'
    code.
    """

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
        *,
        mode: str = "ps",
        bits: int = 5,
        terms: int = 1,
        low: int | None = None,
        frozen: bool = False,
        prune: float = 0.0,
        gradient: str = "full",
        eta: float | None = ETA,
    ) -> None:
        shift = ShiftConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            mode=mode,
            bits=bits,
            terms=terms,
            low=low,
            first=None,
        )
        start(shift, frozen, prune)
        kept = all(
            2 * p == d * (k - 1)
            for p, d, k in zip(shift.padding, shift.dilation, shift.kernel_size)
        )
        rows, columns = shift.kernel_size if kept else (1, 1)
        adder = AdderConv2d(
            out_channels,
            out_channels,
            (rows, columns),
            padding=(rows // 2, columns // 2),
            groups=groups,
            bias=bias,
            eta=eta,
            gradient=gradient,
        )
        super().__init__(shift, adder)


class ShiftAddLinear(nn.Sequential):
    """Map linearly by shifts, then compare by L1 distance: ``0`` a shift layer, ``1`` an adder.

    Parameters
    ----------
    in_features, out_features
        Of the shift layer; the adder layer goes from `out_features` to `out_features`.
    bias, mode, bits, terms, low, frozen, prune, gradient, eta
        As in :class:`ShiftAddConv2d`.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    ShiftAddNet (NeurIPS 2020): the cascade of 1x1 layers on a 1x1 map.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        *,
        mode: str = "ps",
        bits: int = 5,
        terms: int = 1,
        low: int | None = None,
        frozen: bool = False,
        prune: float = 0.0,
        gradient: str = "full",
        eta: float | None = ETA,
    ) -> None:
        shift = ShiftLinear(in_features, out_features, mode=mode, bits=bits, terms=terms, low=low)
        start(shift, frozen, prune)
        adder = AdderLinear(out_features, out_features, bias, eta, gradient)
        super().__init__(shift, adder)


def start(layer: ShiftConv2d | ShiftLinear, frozen: bool, prune: float) -> None:
    """Freeze a fresh shift layer if that is asked for.

    In mode 'ps' its exponents are drawn anew: rounded, they are uniform from `low` to ``high - 1``.

    Raises
    ------
    ValueError
        If weights are to be pruned that are not frozen.

    Source
    ------
    ShiftAddNet (NeurIPS 2020), its authors' code of the fixed layers: exponents -7 to -1, half of
    the weights 0.
    """
    if frozen:
        if layer.mode == "ps":
            layer.first = (layer.low - 0.5, layer.high - 0.5)
            layer.reset_parameters()
        layer.freeze(prune)
    elif prune:
        raise ValueError(f"prune must be 0 unless the shift layers are frozen, not {prune!r}")

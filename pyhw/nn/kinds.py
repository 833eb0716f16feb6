"""The kinds of layers that a network can be built of: one table, from name to constructors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.coded_layers import Pair
from pyhw.nn.masked import MaskedConv2d, MaskedLinear
from pyhw.nn.options import LayerOptions
from pyhw.nn.prototypes import share_prototypes
from pyhw.nn.shift import ShiftConv2d, ShiftLinear
from pyhw.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear, adder_options, start

__all__ = ["KINDS", "OPS", "Kind", "Layers"]

Make = Callable[..., nn.Module]


@dataclass(frozen=True)
class Kind:
    """One way to make layers.

    Attributes
    ----------
    conv, linear : callable
        Take the options, then the arguments of `torch.nn.Conv2d` and `Linear`.
    edge : str
        Kind of a network's first and last layer, as published.
    """

    conv: Make
    linear: Make
    edge: str


def _plain(layer: Make) -> Make:
    return lambda options, *sizes, **named: layer(*sizes, **named)


def _adder(layer: Make) -> Make:
    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        return layer(*sizes, **named, **adder_options(options.gradient, options.eta))

    return make


def _shift(layer: Make, mode: str) -> Make:
    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        made: Any = layer(*sizes, **named, mode=mode, bits=options.bits, terms=options.terms)
        start(made, options.frozen, options.prune)
        return made

    return make


def _shiftadd(layer: Make) -> Make:
    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        return layer(
            *sizes,
            **named,
            bits=options.bits,
            terms=options.terms,
            frozen=options.frozen,
            prune=options.prune,
            gradient=options.gradient,
            eta=options.eta,
        )

    return make


def _masked(layer: Make) -> Make:
    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        return layer(*sizes, **named, sparsity=options.sparsity, bits=options.bits)

    return make


_wide_shift = partial(ShiftConv2d, first=None)  # as ShiftAddNet starts them

KINDS = {
    "adder": Kind(_adder(AdderConv2d), _adder(AdderLinear), "conv"),
    "conv": Kind(_plain(nn.Conv2d), _plain(nn.Linear), "conv"),
    "shift-ps": Kind(_shift(ShiftConv2d, "ps"), _shift(ShiftLinear, "ps"), "shift-ps"),
    "shift-q": Kind(_shift(ShiftConv2d, "q"), _shift(ShiftLinear, "q"), "shift-q"),
    "shiftadd": Kind(_shiftadd(ShiftAddConv2d), _shiftadd(ShiftAddLinear), "shiftadd-edge"),
    "shiftadd-edge": Kind(_shift(_wide_shift, "ps"), _shift(ShiftLinear, "ps"), "shiftadd-edge"),
    "pemn": Kind(_masked(MaskedConv2d), _masked(MaskedLinear), "pemn"),
}
"""Every kind; 'shiftadd-edge' serves 'shiftadd' only."""

OPS = tuple(name for name in KINDS if name != "shiftadd-edge")
"""The kinds that a user can ask for."""


class Layers:
    """Makes the layers of one network, inner and edge ones.

    Parameters
    ----------
    ops : str
        One of `OPS`.
    options : LayerOptions
        What the layers are told.

    Raises
    ------
    ValueError
        If `ops` is not known.
    """

    def __init__(self, ops: str, options: LayerOptions | None = None) -> None:
        if ops not in OPS:
            raise ValueError(f"ops must be one of {', '.join(OPS)}, not {ops!r}")
        self._options = options or LayerOptions()
        self._inner, self._edge = KINDS[ops], KINDS[KINDS[ops].edge]
        self.edge_is_plain = KINDS[ops].edge == "conv"

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel: Pair,
        *,
        bias: bool = False,
        edge: bool = False,
        **sizes: Any,
    ) -> nn.Module:
        """Make a convolution.

        Parameters
        ----------
        inputs, outputs, kernel
            Channels and kernel size.
        bias : bool
            With a learned constant per output channel.
        edge : bool
            It is the network's first or last layer.
        **sizes
            `stride`, `padding`, `dilation` and `groups`, where they are not the default.
        """
        kind = self._edge if edge else self._inner
        return kind.conv(self._options, inputs, outputs, kernel, bias=bias, **sizes)

    def linear(
        self, inputs: int, outputs: int, *, bias: bool = False, edge: bool = False
    ) -> nn.Module:
        """Make a linear layer; see `conv`."""
        kind = self._edge if edge else self._inner
        return kind.linear(self._options, inputs, outputs, bias=bias)

    def finish(self, model: nn.Module) -> None:
        """Do what concerns all layers at once: masked ones share their fixed weights."""
        share_prototypes(model, self._options.sharing, self._options.fraction)

"""The layers of a network, by the kind that a user asks for."""

from typing import Any

from torch import nn

from pyhw.nn.coded_layers import Pair
from pyhw.nn.options import LayerOptions

from .base import KINDS

__all__ = ["Layers", "asked_kinds"]


def asked_kinds() -> tuple[str, ...]:
    """Return the kinds that a user can ask for."""
    return tuple(name for name, known in KINDS.items() if known.asked)


class Layers:
    """Makes the layers of one network, inner and edge ones.

    Parameters
    ----------
    ops : str
        One of `asked_kinds`.
    options : LayerOptions
        What the layers are told.

    Raises
    ------
    ValueError
        If `ops` is not known.
    """

    def __init__(self, ops: str, options: LayerOptions | None = None) -> None:
        if ops not in asked_kinds():
            raise ValueError(f"ops must be one of {', '.join(asked_kinds())}, not {ops!r}")
        self._options = options or LayerOptions()
        edge = KINDS[ops].edge or ops
        self._inner, self._edge = KINDS[ops], KINDS[edge]
        self.edge_is_plain = edge == "conv"

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
        """Do what concerns all layers at once."""
        if self._inner.finish is not None:
            self._inner.finish(model, self._options)

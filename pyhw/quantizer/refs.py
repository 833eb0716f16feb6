"""Values in reading: the stage that each comes of so far, and what is still to become part of one.

Some layers compute nothing that is stored: a padding belongs to the windows after it, a batch norm
of flat features to the weights after it, a last softmax to nobody. They are *pending* on the value
until a layer takes them, or they are refused.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from .functions import Unsupported
from .stage import Norm

__all__ = ["UNKNOWN", "Ref", "Shape"]

Shape = tuple[int, int, int]

UNKNOWN = (0, 0, 0)
"""Shape of what follows a layer that cannot be quantised; nothing is required of it."""

_PENDING = {
    "padding": "it reads a padded map, which only convolutions and pools do; put the padding right "
    "before the convolution",
    "features": "it reads what a batch norm makes of a flattened map, which only a linear layer "
    "does; put the batch norm before the Flatten, as BatchNorm2d",
    "left_out": "it reads a softmax, which can only be the last layer; leave the softmax out",
}


@dataclass(frozen=True)
class Ref:
    """A value in reading.

    Attributes
    ----------
    path : str
        The stage that it comes of so far, or `IMAGES`.
    shape : (int, int, int)
        Height, width, channels, of the map that the stage stores.
    dims : tuple of int
        Its shape for one image in PyTorch: (C, H, W), (C * H * W,) once it is flat, or (T, C) of
        tokens, which are the map's places row by row; scores of tokens have dims of their own.
    padding : (int, int, int, int), optional
        Zeros that are to be put around it: top, left, bottom, right.
    features : Norm, optional
        To be applied to the flat features, in PyTorch's order (C, H, W).
    left_out : torch.nn.Module, optional
        A softmax that is not computed.
    gain : float
        What it is still to be multiplied by, which a sum takes.
    among_tokens : bool
        Of a value of which nothing is known, whether it comes of tokens.
    """

    path: str
    shape: Shape
    dims: tuple[int, ...] = ()
    padding: tuple[int, int, int, int] | None = None
    features: Norm | None = None
    left_out: Any = None
    gain: float = 1.0
    among_tokens: bool = False

    @classmethod
    def map(cls, path: str, shape: Shape) -> "Ref":
        """Return the value of a stage that stores a map."""
        height, width, channels = shape
        return cls(path, shape, (channels, height, width))

    @property
    def known(self) -> bool:
        """Whether its shape is known."""
        return self.shape != UNKNOWN

    @property
    def flat(self) -> bool:
        """Whether it is a vector of features."""
        return len(self.dims) == 1

    @property
    def tokens(self) -> bool:
        """Whether it is a row of channels for each place."""
        height, width, channels = self.shape
        return self.known and self.dims == (height * width, channels)

    @property
    def rows(self) -> bool:
        """Whether it is tokens, or one vector, which is one token."""
        return self.tokens or (self.flat and self.single)

    @property
    def single(self) -> bool:
        """Whether its map has one position."""
        return self.shape[:2] == (1, 1)

    @property
    def pending(self) -> set[str]:
        """What is still to become part of a stage: names of the last three attributes."""
        return {name for name in _PENDING if getattr(self, name) is not None}

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with the padding."""
        top, left, bottom, right = self.padding or (0, 0, 0, 0)
        return self.shape[0] + top + bottom, self.shape[1] + left + right

    def need(self, kept: bool, text: str) -> None:
        """Refuse with the text unless a rule is kept or the shape is not known."""
        if not kept and self.known:
            raise Unsupported(text)

    def need_map(self) -> None:
        """Refuse a value that is no map."""
        self.need(not self.tokens,
                  "it reads tokens (N, T, C); use `pyhw.nn.tokens.ToMap` before it")
        self.need(len(self.dims) == 3, "it follows a Flatten; put it before")

    def need_none_pending(self, taken: frozenset[str] = frozenset()) -> None:
        """Refuse what is pending but for the kinds that are taken."""
        for name in sorted(self.pending - taken):
            raise Unsupported(_PENDING[name])

    def moved(self, path: str) -> "Ref":
        """Return the same value as another stage's."""
        return replace(self, path=path)

    def lost(self) -> "Ref":
        """Return a value of which nothing is known any more."""
        among = self.among_tokens or len(self.dims) in (2, 5)
        return Ref(self.path, UNKNOWN, among_tokens=among)

    def reshaped(self, dims: tuple[int, ...]) -> "Ref":
        """Return it with another shape of the same elements in the same order.

        Raises
        ------
        Unsupported
            If that is neither the map nor its features.
        """
        if not self.known or dims == self.dims:
            return self
        height, width, channels = self.shape
        self.need(not self.tokens or self.single,
                  "it flattens tokens (N, T, C); use `pyhw.nn.tokens.ToMap` before it")
        allowed = {(channels, height, width), (channels * height * width,)}
        ones = self.single and [d for d in dims if d != 1] == [channels] * (channels != 1)
        if (dims in allowed or ones) and math.prod(dims) == channels * height * width:
            return replace(self, dims=dims)
        raise Unsupported(
            f"it makes {'x'.join(map(str, dims)) or 'a number'} of "
            f"{'x'.join(map(str, self.dims))}; only flattening to (N, -1) is supported: use Flatten"
        )

"""Convolutions whose weights are a mask and a prototype: their form in files."""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from ..masked import (
    MAX_WEIGHTS,
    from_published,
    mask_bits,
    pack_codes,
    published,
    unpack_bits,
    unpack_codes,
)
from ..post import Post
from ..terms import masked_term
from .base import stored_record
from .conv import Conv

__all__ = ["StoredMasked"]


@stored_record("masked_conv")
@dataclass(frozen=True, eq=False, kw_only=True)
class StoredMasked:
    """Fields of a masked `Conv`; `shape` is (O, KH, KW, C / groups) of its weights.

    `prototype` and `mask` are packed as `pack_codes` and `mask_bits` do it, `size` is the number
    of the prototype's codes.
    """

    since: ClassVar[int] = 2
    """As of operations."""
    name: str
    input: str
    post: Post
    code_width: int
    shape: tuple[int, ...]
    size: int
    prototype: np.ndarray
    mask: np.ndarray
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    pad_value: np.ndarray | None

    @classmethod
    def of(cls, conv: Conv) -> "StoredMasked":
        """Return what is stored of a masked convolution."""
        assert conv.sign is not None
        assert conv.code_width is not None
        assert conv.prototype is not None
        same = {f.name: getattr(conv, f.name) for f in fields(cls) if hasattr(conv, f.name)}
        return cls(**same | {
            "shape": conv.weight_shape, "size": len(conv.prototype),
            "prototype": pack_codes(conv.prototype, conv.code_width),
            "mask": mask_bits(conv.sign[0])})  # fmt: skip

    def restored(self) -> Conv:
        """Return the convolution with all its weights.

        Raises
        ------
        ValueError
            If mask or prototype have another length than shape and size say, or hold what they
            cannot.
        """
        if len(self.shape) != 4 or min(self.shape) < 1 or self.size < 1:
            raise ValueError(f"{self.name!r} must have a shape of 4 sides and a prototype, not "
                             f"{self.shape} and {self.size} codes")  # fmt: skip
        count = int(np.prod(self.shape, dtype=object))
        if max(count, self.size) > MAX_WEIGHTS:
            raise ValueError(f"{self.name!r} must have at most {MAX_WEIGHTS} weights, not {count}")
        if self.code_width not in (3, 4, 5):
            raise ValueError(f"{self.name!r}: code_width must be 3, 4 or 5, not {self.code_width}")
        term = masked_term()
        out, height, width, channels = self.shape
        shape = (out, height, width, channels)
        try:
            kept = from_published(unpack_bits(self.mask, count), shape)
            prototype = unpack_codes(self.prototype, self.size, self.code_width)
            sign, exponent = term.expand(prototype, self.code_width, shape)
        except ValueError as error:
            raise ValueError(f"{self.name!r}: {error}") from None
        if (published(sign) == 0)[published(kept)].any():
            raise ValueError(f"{self.name!r}: mask must not keep weights whose code is 0")
        return Conv(
            name=self.name, input=self.input, term=term.name, post=self.post,
            sign=(sign * kept)[None], exponent=(exponent * kept)[None],
            code_width=self.code_width, stride=self.stride,  # type: ignore[arg-type]
            padding=self.padding, dilation=self.dilation,  # type: ignore[arg-type]
            groups=self.groups, pad_value=self.pad_value, prototype=prototype)  # fmt: skip

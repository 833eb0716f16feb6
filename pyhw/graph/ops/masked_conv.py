"""Convolutions whose weights are a mask and a prototype: their files, rules and random ones."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pyhw.hdl.formats import ShiftCode

from ..masked import (
    expand,
    from_published,
    mask_bits,
    pack_codes,
    published,
    unpack_bits,
    unpack_codes,
)
from ..post import Post
from ..rules import require
from .base import MapType, stored_record
from .conv import Conv

if TYPE_CHECKING:
    from ..random import Draw

__all__ = ["StoredMasked", "check_prototype", "draw_masked"]

MAX_WEIGHTS = 1 << 24
"""Most weights of a layer, so that a small file does not ask for much memory."""


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
        out, height, width, channels = self.shape
        shape = (out, height, width, channels)
        try:
            kept = from_published(unpack_bits(self.mask, count), shape)
            prototype = unpack_codes(self.prototype, self.size, self.code_width)
            sign, exponent = expand(prototype, self.code_width, shape)
        except ValueError as error:
            raise ValueError(f"{self.name!r}: {error}") from None
        if (published(sign) == 0)[published(kept)].any():
            raise ValueError(f"{self.name!r}: mask must not keep weights whose code is 0")
        return Conv(
            name=self.name, input=self.input, term="shift", post=self.post,
            sign=(sign * kept)[None], exponent=(exponent * kept)[None],
            code_width=self.code_width, stride=self.stride,  # type: ignore[arg-type]
            padding=self.padding, dilation=self.dilation,  # type: ignore[arg-type]
            groups=self.groups, pad_value=self.pad_value, prototype=prototype)  # fmt: skip


def check_prototype(op: Conv) -> None:
    """Check that the weights of a masked convolution are those of its prototype, or 0.

    Raises
    ------
    ValueError
        If one is not, or the prototype holds what is no code.
    """
    assert op.sign is not None
    assert op.exponent is not None
    assert op.prototype is not None
    assert op.code_width is not None
    require(
        op,
        1 <= len(op.prototype) <= MAX_WEIGHTS and op.sign.size <= MAX_WEIGHTS,
        f"a masked layer must have at most {MAX_WEIGHTS} weights and 1 to {MAX_WEIGHTS} prototype "
        f"codes, not {op.sign.size} and {len(op.prototype)}",
    )
    try:
        sign, exponent = expand(op.prototype, op.code_width, op.weight_shape)
    except ValueError as error:
        raise ValueError(f"Operation {op.name!r}: {error}") from None
    kept = op.sign[0] != 0
    require(
        op,
        not kept.any()
        or (np.array_equal(op.sign[0][kept], sign[kept])
            and np.array_equal(op.exponent[0][kept], exponent[kept])),
        "every weight of a masked layer must be 0 or its prototype's, in the order (o, c, ky, kx)",
    )


def draw_masked(draw: "Draw", shape: tuple[int, ...], fields: dict[str, Any]) -> Conv | None:
    """Draw a prototype, shorter than the layer or as long or longer, and a mask."""
    rng, x = draw.rng, MapType((1, 1, 1), draw.types[fields["input"]].fmt)
    width = int(rng.choice(draw.limits.code_widths))
    if draw.chance(0.8):
        fields = fields | {"pad_value": None}  # weights with pad values are not expanded
    code, count = ShiftCode(width), int(np.prod(shape))
    size = count + draw.pick(0, 20) if draw.chance(0.2) else draw.pick(1, min(count, 80))
    kept = rng.random(shape) < rng.uniform(0.3, 0.9)
    negative = rng.integers(0, 2, size) << (width - 1)
    for most in range(code.max_exponent, -1, -1):
        prototype = negative | rng.integers(0, most + 1, size)
        sign, exponent = expand(prototype, width, shape)  # type: ignore[arg-type]
        op = Conv(term="shift", sign=(sign * kept)[None], exponent=(exponent * kept)[None],
                  code_width=width, prototype=prototype, **fields)  # fmt: skip
        if draw.fits_accumulator(op.partial_bounds(x)):
            return op
    return None

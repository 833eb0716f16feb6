"""Masked weights (PEMN): a short vector of codes, and one bit a weight.

Weight i of a convolution, counted in the published order (o, c, ky, kx), is the prototype's entry
``i % d`` or 0. Source: Bai et al., "Parameter-Efficient Masking Networks", NeurIPS 2022.
"""

import numpy as np

__all__ = [
    "MAX_WEIGHTS", "from_published", "mask_bits", "pack_codes", "published", "repeat",
    "unpack_bits", "unpack_codes",
]  # fmt: skip

MAX_WEIGHTS = 1 << 24
"""Most weights of a layer, so that a small file does not ask for much memory."""


def published(weights: np.ndarray) -> np.ndarray:
    """Return weights (O, KH, KW, C) as a vector in the published order (o, c, ky, kx)."""
    return weights.transpose(0, 3, 1, 2).reshape(-1)


def from_published(weights: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return a vector in the published order as an array (O, KH, KW, C) of `shape`."""
    out, height, width, channels = shape
    return weights.reshape(out, channels, height, width).transpose(0, 2, 3, 1)


def repeat(prototype: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return a prototype's entries (d,) for all weights, as an array (O, KH, KW, C) of `shape`."""
    index = np.arange(int(np.prod(shape))) % len(prototype)
    return from_published(prototype[index], shape)


def mask_bits(sign: np.ndarray) -> np.ndarray:
    """Return which weights (O, KH, KW, C) count, packed in the published order, uint8.

    Eight weights to a byte, the first in the lowest bit.
    """
    return np.packbits(published(sign) != 0, bitorder="little")


def _bits(packed: np.ndarray) -> np.ndarray:
    """Return the bits of an array that was read from a file."""
    low, high = int(packed.min(initial=0)), int(packed.max(initial=0))
    if low < 0 or high > 255:
        raise ValueError(f"packed bits must be bytes from 0 to 255, not {low} to {high}")
    return np.unpackbits(packed.astype(np.uint8), bitorder="little")


def unpack_bits(packed: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` bits of packed ones, bool; `ValueError` for another length."""
    if packed.ndim != 1 or len(packed) != -(-count // 8):
        raise ValueError(f"mask of {count} weights must have {-(-count // 8)} bytes, "
                         f"not {packed.size}")  # fmt: skip
    bits = _bits(packed).astype(bool)
    if bits[count:].any():
        raise ValueError(f"mask of {count} weights must end with them, not with further ones")
    return bits[:count]


def pack_codes(codes: np.ndarray, code_width: int) -> np.ndarray:
    """Return codes packed one after the other, `code_width` bits each, uint8."""
    bits = np.unpackbits(codes.astype(np.uint8)[:, None], axis=1, bitorder="little")
    return np.packbits(bits[:, :code_width], bitorder="little")


def unpack_codes(packed: np.ndarray, count: int, code_width: int) -> np.ndarray:
    """Return what `pack_codes` packed, int8 (count,); `ValueError` for another length."""
    size = -(-count * code_width // 8)
    if packed.ndim != 1 or len(packed) != size:
        raise ValueError(f"prototype of {count} codes of {code_width} bits must have {size} "
                         f"bytes, not {packed.size}")  # fmt: skip
    bits = _bits(packed)
    if bits[count * code_width:].any():
        raise ValueError(f"prototype of {count} codes must end with them, not with further bits")
    bits = bits[: count * code_width].reshape(count, code_width)
    return np.packbits(bits, axis=1, bitorder="little")[:, 0].astype(np.int8)

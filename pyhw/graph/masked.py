"""Masked weights (PEMN): a short vector of shift codes, and one bit a weight.

Weight i of a convolution, counted in the published order (o, c, ky, kx), is the prototype's entry
``i % d`` or 0. Source: Bai et al., "Parameter-Efficient Masking Networks", NeurIPS 2022.
"""

import numpy as np

from pyhw.hdl.formats import ShiftCode

__all__ = [
    "decode_codes", "expand", "from_published", "mask_bits", "pack_codes", "published",
    "unpack_bits", "unpack_codes",
]  # fmt: skip


def published(weights: np.ndarray) -> np.ndarray:
    """Return weights (O, KH, KW, C) as a vector in the published order (o, c, ky, kx)."""
    return weights.transpose(0, 3, 1, 2).reshape(-1)


def from_published(weights: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return a vector in the published order as an array (O, KH, KW, C) of `shape`."""
    out, height, width, channels = shape
    return weights.reshape(out, channels, height, width).transpose(0, 2, 3, 1)


def decode_codes(codes: np.ndarray, code_width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sign and exponent (int8, shape of the codes) of shift codes.

    Raises
    ------
    ValueError
        If one of them is no code of that width.
    """
    code = ShiftCode(code_width)
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    if low < 0 or high > 2 * code.zero or (codes == 2 * code.zero + 1).any():
        raise ValueError(f"prototype codes must be from 0 to {2 * code.zero}, codes of "
                         f"{code_width} bits, not {low} to {high}")  # fmt: skip
    zero = codes == code.zero
    sign = np.where(zero, 0, np.where(codes > code.zero, -1, 1))
    return sign.astype(np.int8), np.where(zero, 0, codes & code.zero).astype(np.int8)


def expand(
    prototype: np.ndarray, code_width: int, shape: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return sign and exponent (int8, `shape`) of all weights, as if no mask left one out.

    Parameters
    ----------
    prototype : int array (d,)
        Shift codes.
    code_width : int
        Bits of a code.
    shape : (int, int, int, int)
        O, KH, KW, C / groups.
    """
    index = np.arange(int(np.prod(shape))) % len(prototype)
    sign, exponent = (part[index] for part in decode_codes(prototype, code_width))
    return from_published(sign, shape), from_published(exponent, shape)


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

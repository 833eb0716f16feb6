"""Powers of two in PyTorch, exactly: from exponents, from floats, and back."""

import torch
from torch import Tensor

__all__ = ["MODES", "exponent_range", "power", "powers_of", "round_to_powers", "signum",
           "value"]

MODES = ("ps", "q")
LOWEST, HIGHEST = -149, 127
"""Exponents of the powers of two that float32 holds, the subnormal ones included."""
_TABLE = torch.tensor([2.0**e for e in range(LOWEST, HIGHEST + 1)], dtype=torch.float64)


def exponent_range(mode: str, bits: int) -> tuple[int, int]:
    """Return the smallest and largest exponent of weights of some bits, sign included.

    Parameters
    ----------
    mode : {'ps', 'q'}
        With a ternary sign (one code stands for 0), or a binary one.
    bits : int
        2..8.

    Returns
    -------
    low, high : int
        5 bits: (-14, 0) in mode 'ps', (-15, 0) in mode 'q'.

    Source
    ------
    DeepShift (CVPR workshops 2021) and its authors' code.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ValueError(f"bits must be a whole number from 2 to 8, not {bits!r}")
    return (2 if mode == "ps" else 1) - (1 << (bits - 1)), 0


def power(exponent: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``2 ** exponent`` exactly; `exp2` promises that on no device.

    Parameters
    ----------
    exponent : Tensor
        Whole numbers, -149..127; the power of NaN is NaN.
    dtype : torch.dtype
        Of the result.
    """
    table = _TABLE.to(exponent.device, dtype)
    if not exponent.is_floating_point():
        return table[exponent.long() - LOWEST]
    found = table[exponent.nan_to_num(0).long() - LOWEST]
    return torch.where(exponent.isnan(), torch.nan, found)


def signum(numbers: Tensor) -> Tensor:
    """Return the sign as `torch.sign` does, but NaN for NaN: an error must not become a zero."""
    return torch.where(numbers.isnan(), numbers, numbers.sign())


def round_to_powers(
    weight: Tensor, low: int, high: int, terms: int = 1
) -> tuple[Tensor, Tensor]:
    """Write numbers as sums of signed powers of two, the largest first, each rounded in turn.

    A number is rounded in the logarithmic domain: what lies between ``2**n`` and ``2**(n + 1)``
    goes up from ``2**(n + 0.5)``. The next term does the same with what is left over.

    Parameters
    ----------
    weight : Tensor
        Any float type.
    low, high : int
        Smallest and largest exponent; larger magnitudes take `high`.
    terms : int
        Powers of two per number.
        In all but the first, magnitudes nearer to 0 than to ``2**low`` become 0.

    Returns
    -------
    sign, exponent : Tensor, int8, shape (terms, *weight.shape)
        Exponent 0 where the sign is 0; NaN has no powers of two and gives sign 0.

    Source
    ------
    Elhoushi et al., "DeepShift: Towards Multiplication-Less Neural Networks", CVPR workshops
    2021, for one term; Li et al., "Additive Powers-of-Two Quantization", ICLR 2020,
    for sums.
    """
    left, signs, exponents = weight.detach(), [], []
    for term in range(terms):
        size = left.abs()
        exponent = size.clamp(2.0**low, 2.0**high).log2().round()
        sign = left.sign()
        if term:
            sign = sign * (size >= 2.0 ** (low - 1))
        exponent = torch.where(sign != 0, exponent, 0)
        left = left - sign * power(exponent, left.dtype)
        signs.append(sign.to(torch.int8))
        exponents.append(exponent.to(torch.int8))
    return torch.stack(signs), torch.stack(exponents)


def value(sign: Tensor, exponent: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``sum(sign * 2 ** exponent)`` over the first dimension."""
    return (sign * power(exponent, dtype)).sum(0)


def powers_of(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Take signed powers of two apart.

    Returns
    -------
    sign, exponent : Tensor, int8, shape of `numbers`

    Raises
    ------
    ValueError
        If a number is neither 0 nor a signed power of two of float32.
    """
    mantissa, exponent = torch.frexp(numbers.detach())
    sign = mantissa.sign()
    if not torch.equal(mantissa, sign / 2):
        raise ValueError("Numbers must be 0 or signed powers of two: round them first")
    return sign.to(torch.int8), ((exponent - 1) * (sign != 0)).to(torch.int8)

"""What the rules of a graph are said with."""

from typing import Any

import numpy as np

__all__ = ["MAX_KERNEL", "MAX_SIDE", "check_terms", "require"]

MAX_SIDE = 65535
"""Largest height, width or channel count of a map."""
MAX_KERNEL = 255
"""Largest kernel side, stride, dilation, padding and digit count."""


def require(op: Any, kept: object, rule: str) -> None:
    """Raise `ValueError` with the operation's name and the rule unless the rule is kept."""
    if not kept:
        raise ValueError(f"Operation {op.name!r}: {rule}")


def check_terms(op: Any, what: str, sign: np.ndarray, exponent: np.ndarray, most: int) -> None:
    """Check signed powers of two: signs and exponents."""
    require(op, np.abs(sign.astype(int)).max(initial=0) <= 1, f"{what} signs must be -1, 0 or 1")
    low, high = int(exponent.min(initial=0)), int(exponent.max(initial=0))
    require(
        op,
        low >= 0 and high <= most,
        f"{what} exponents must be from 0 to {most}, not {low} to {high}",
    )

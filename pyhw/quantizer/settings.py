"""What the user decides about a quantisation: one frozen record."""

from dataclasses import asdict, dataclass
from typing import Any

from pyhw.errors import UserError
from pyhw.hdl.formats import MAX_EXPONENT, TERMS

from .affine import Multipliers

__all__ = ["EDGE_WEIGHT_BITS", "Settings"]

EDGE_WEIGHT_BITS = 8
"""Bits of the weights of the first and the last layer, whatever the others have."""


OF_TRANSFORMERS = ("stream_bits", "softmax_digits", "token_terms")
"""Settings that other networks do not have."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is quantised.

    Attributes
    ----------
    bits : int
        Bits of stored activations, 4..8.
    weight_bits : int or None
        Bits of the weights of the inner layers, 2..8; None for as many as `bits`. The first and
        the last layer have 8.
    digits : int
        Most signed powers of two that an ordinary weight is written with, 1..5; 5 write every
        8-bit weight, fewer leave gaps between the large ones and save cycles.
    output_width : int
        Bits of the signed outputs (logits), 8..32.
    terms, exponent : int
        Most signed powers of two of a channel's multiplier, 1..3, and the largest exponent of
        one, 2..16. Fewer and smaller ones make an accelerator's post-processor smaller.
    residual_terms : int
        Most signed powers of two of the multiplier of a value that is added, 1..3.
    stream_bits : int
        Bits of a transformer's residual stream, 8..16: of values that are normalised or added, and
        that no engine reads.
    softmax_digits : int
        Most signed powers of two of a softmax's weights, 1..4; with one attention is shifts alone.
    token_terms : int
        Most signed powers of two of the multiplier of a token, 1..4.

    Raises
    ------
    UserError
        If a value is out of its range.
    """

    bits: int = 8
    weight_bits: int | None = None
    digits: int = 5
    output_width: int = 24
    terms: int = TERMS
    exponent: int = MAX_EXPONENT
    residual_terms: int = TERMS
    stream_bits: int = 16
    softmax_digits: int = 2
    token_terms: int = TERMS

    def __post_init__(self) -> None:
        for name, low, high in (
            ("bits", 4, 8),
            ("weight_bits", 2, 8),
            ("digits", 1, 5),
            ("output_width", 8, 32),
            ("terms", 1, TERMS),
            ("exponent", 2, MAX_EXPONENT),
            ("residual_terms", 1, TERMS),
            ("stream_bits", 8, 16),
            ("softmax_digits", 1, 4),
            ("token_terms", 1, 4),
        ):
            value = getattr(self, name)
            if value is None and name == "weight_bits":
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not low <= value <= high:
                raise UserError(f"{name} must be a whole number from {low} to {high}, not {value}")

    @property
    def inner_weight_bits(self) -> int:
        """Bits of the weights of the inner layers."""
        return self.bits if self.weight_bits is None else self.weight_bits

    @property
    def multipliers(self) -> Multipliers:
        """What the multipliers of channels are chosen from."""
        return Multipliers(self.terms, self.exponent)

    @property
    def residual_multipliers(self) -> Multipliers:
        """What the multipliers of added values are chosen from.

        Exponents are not bounded: the shift that r shares with m follows from m.
        """
        return Multipliers(self.residual_terms)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers; those of transformers where they are not usual."""
        usual = type(self)()
        return {name: value for name, value in asdict(self).items()
                if name not in OF_TRANSFORMERS or value != getattr(usual, name)}

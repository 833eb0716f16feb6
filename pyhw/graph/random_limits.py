"""What random networks may contain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .terms import TERMS

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What random networks may contain; the defaults are what every part supports."""

    max_ops: int = 4
    """Operations after the input, 1 or more."""
    max_side: int = 9
    """Largest height and width of the input."""
    max_channels: int = 40
    """Most channels of a map."""
    max_images: int = 24
    """Most images."""
    work: int = 40000
    """Most terms of an operation per image (digits counted)."""
    engines: tuple[str, ...] = field(default_factory=lambda: tuple(TERMS))
    """Kinds of terms."""
    code_widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Bits that stored weights of a term may have, by its name; any that it has by default."""
    acc_width: int = 20
    """Bits of an accumulator for all partial sums."""
    terms: int = 3
    """Most signed powers of two in a multiplier."""
    masked: bool = True
    """Masked weights, among those of the term that has them."""
    groups: bool = True
    """Grouped and depthwise convolutions."""
    dilation: bool = True
    """Dilated convolutions."""
    pools: bool = True
    """Pooling."""
    pointwise: bool = True
    """Post-processing alone."""
    concat: bool = True
    """Concatenation."""
    permute: bool = True
    """Permutation of positions."""
    residual: bool = True
    """Residuals, in either step but not in both."""
    second: bool = True
    """Second steps."""
    tables: bool = True
    """Function tables."""
    wide: bool = True
    """Stored values of 9 to 16 bits, read as residuals or by Pointwise."""
    logits: bool = True
    """Outputs of 17 to 32 bits."""

    def widths(self, term: str, *every: int) -> tuple[int, ...]:
        """Return the bits of a term's stored weights that are allowed, of `every` that it has."""
        return self.code_widths.get(term, every)

"""Coded weights: sums of powers of two as trained, taken as they are."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from ..functions import Unsupported
from ..settings import Settings
from ..stage import Stage
from .base import Codes, Quantised, ReadWeights, weight_form
from .products import Products

if TYPE_CHECKING:
    from torch import nn

    from pyhw.nn.kinds import LayerClass

    from ..fake import FakeValue

__all__ = ["Powers", "codes_of", "masked_codes"]

WIDEST = ShiftCode(5)
"""The widest code of a shift weight."""


@weight_form
class Powers(Products):
    """Weights of shift and masked layers, and of coded layers of one's own."""

    name = "coded"
    wide_at_edges = False
    linear = False  # a scale in the weights would leave no powers of two

    def read(self, layer: Any, known: "LayerClass") -> ReadWeights:
        """Return weights and codes, which must agree."""
        weight = super().read(layer, known).weight
        sign, exponent = (part.detach().cpu().numpy().astype(np.int8) for part in layer.codes())
        if not np.array_equal((sign * 2.0 ** exponent.astype(np.int64)).sum(axis=0), weight):
            raise Unsupported(
                "its codes are not its weights: codes() and effective_weight() differ"
            )
        _check_span(sign, exponent)
        codes = sign, np.where(sign == 0, 0, exponent).astype(np.int8)
        return ReadWeights(weight=weight, codes=codes, prototype=_prototype(layer, known))

    def quantise(
        self, stage: Stage, scale: float, fmt: Format, wanted: float, bits: int, settings: Settings
    ) -> Quantised:
        """Return the codes, and how they can be stored as masks."""
        assert stage.codes is not None
        sign, exponent = stage.codes
        fields: dict[str, Any] = {"term": "shift", "sign": sign}
        masked = None
        if stage.prototype is not None:
            masked = masked_codes(sign, exponent, stage.prototype)
        if masked is not None:
            exponent, unit, width, fields["prototype"] = masked
        else:
            exponent, unit, width = codes_of(sign, exponent)
        fields |= {"exponent": exponent, "code_width": width}
        return Quantised(fields=fields, slope=unit * scale, digits=len(sign))

    def rounded(self, stage: Stage, scale: float, fmt: Format, bits: int, digits: int) -> Stage:
        """Return the stage."""
        return stage

    def fake(
        self, stage: Stage, bits: int, settings: Settings, read: "FakeValue"
    ) -> "nn.Module | None":
        """Nothing is to be rounded."""
        return None


def _check_span(sign: np.ndarray, exponent: np.ndarray) -> None:
    spans = [
        int(np.ptp(exponent[:, o][sign[:, o] != 0]))
        for o in range(sign.shape[1])
        if sign[:, o].any()
    ]
    span = max(spans, default=0)
    if span > WIDEST.max_exponent:
        raise Unsupported(
            f"exponents of one output channel span {span}, more than the {WIDEST.max_exponent} of "
            f"{WIDEST.width}-bit codes; train it with fewer bits"
        )


def _prototype(layer: Any, known: "LayerClass") -> Codes | None:
    """Return signs and exponents of a masked layer's prototype."""
    from pyhw.nn.powers import powers_of

    if known.prototype is None:
        return None
    sign, exponent = powers_of(known.prototype(layer).cpu())
    return sign.numpy(), exponent.numpy()


def codes_of(sign: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Move given powers of two to the exponents of shift codes, exactly.

    Parameters
    ----------
    sign, exponent : int8 array (K, O, KH, KW, C)
        The weights; exponents of any sign.

    Returns
    -------
    exponent : int8 array (K, O, KH, KW, C)
        From 0; 0 where the sign is 0.
    unit : float64 array (O,)
        What weights of 1 stand for: the least power of two of the output channel.
    code_width : int
        Bits of the narrowest code that holds them.
    """
    used = sign != 0
    axes = (0, 2, 3, 4)
    least = np.where(used, exponent, np.iinfo(np.int8).max).min(axis=axes)
    least = np.where(used.any(axis=axes), least, 0).astype(np.int64)
    moved = np.where(used, exponent - least[:, None, None, None], 0)
    width = next(w for w in (3, 4, 5) if ShiftCode(w).max_exponent >= moved.max(initial=0))
    return moved.astype(np.int8), 2.0**least, width


def masked_codes(
    sign: np.ndarray, exponent: np.ndarray, prototype: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray] | None:
    """Move a masked layer's exponents, its prototype's with them, exactly.

    All output channels move by the same, so that they go on sharing the prototype; and layers
    that share it do, too.

    Parameters
    ----------
    sign, exponent : int8 array (1, O, KH, KW, C)
        The weights; exponents of any sign.
    prototype : (int8 array, int8 array)
        Signs and exponents (d,).

    Returns
    -------
    exponent, unit, code_width
        As of `codes_of`.
    codes : int8 array (d,)
        The prototype's shift codes.

    None if the prototype's exponents span more than a code does.
    """
    signs, exponents = prototype
    used = exponents[signs != 0].astype(np.int64)
    least, most = int(used.min(initial=127)), int(used.max(initial=-127))
    if not len(used) or most - least > ShiftCode(5).max_exponent:
        return None
    width = next(w for w in (3, 4, 5) if ShiftCode(w).max_exponent >= most - least)
    moved = np.where(sign != 0, exponent.astype(np.int64) - least, 0).astype(np.int8)
    codes = np.where(signs == 0, ShiftCode(width).zero,
                     (exponents.astype(np.int64) - least) | ((signs < 0) << (width - 1)))
    return moved, np.full(sign.shape[1], 2.0**least), width, codes.astype(np.int8)

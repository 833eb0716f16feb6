"""Coded weights: sums of powers of two as trained, taken as they are."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pyhw.hdl.formats import Format, ShiftCode

from ..functions import Unsupported
from ..settings import Settings
from ..stage import Stage
from ..weights import codes_of, masked_codes
from .base import Codes, Quantised, ReadWeights, weight_form
from .products import Products

if TYPE_CHECKING:
    from torch import nn

    from pyhw.nn.kinds import LayerClass

    from ..fake import FakeValue

__all__ = ["Powers"]

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

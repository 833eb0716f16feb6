"""Host half of the L1 engine: both operands of a signed layer are moved by 128."""

from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.formats import Format

from .base import DoesNotFit, EngineLuts, HostEngine

if TYPE_CHECKING:
    from pyhw.graph.ops import Conv

__all__ = ["ENGINE"]

LANE = 21.0
"""LUT4s of a subtraction, its reset and its share of the tree: docs/area.md, "Where it goes"; 20.8
to 21.5 in the table's four ECP5 cases after the other parts are taken off."""
SUM_LANE = 10.0
"""A lane of the sum of x, once a group: docs/area.md, tree of bytes."""
CODE, TAP = 22.0, 19.8
"""Conversion of each code of a memory word, and a tap of a chain: docs/area.md, for taps the cases
with them less those without."""


class _L1(HostEngine):
    name = "l1"
    rounded_weights = True

    def encode(self, conv: "Conv", shape: EngineConfig, fmt: Format) -> np.ndarray:
        assert conv.weight is not None
        limit = Format(shape.code_width, fmt.signed)
        flat = conv.weight.reshape(1, conv.out_channels, -1).astype(np.int64)
        if flat.min() < limit.min or flat.max() > limit.max:
            raise DoesNotFit(
                f"weights from {flat.min()} to {flat.max()} do not fit the "
                f"{shape.code_width}-bit codes of the L1 engine",
                "quantise to fewer bits or take a configuration with a wider l1.code_width")
        return (flat & ((1 << shape.code_width) - 1)).astype(np.uint8)

    def constant(self, conv: "Conv", fmt: Format, idle: int) -> np.ndarray:
        # value = 2 M - X = acc + sum of w', with the lanes past the run 128 on both sides.
        return self._weights(conv, fmt).sum(axis=(1, 2, 3)) + idle * _offset(fmt)

    def sum_bits(self, conv: "Conv", fmt: Format, constant: np.ndarray) -> int:
        # Each lane adds min(x', w') <= 255 to M and x' <= 255 to X; constant = sum of w'.
        taps = int(np.prod(conv.weight_shape[1:]))
        idle = int(constant.max()) - int(self._weights(conv, fmt).sum(axis=(1, 2, 3)).max())
        inputs = taps * ((fmt.max << conv.ex) + _offset(fmt)) + idle
        return max(int(constant.max()), inputs).bit_length()

    def chain_constant(self, conv: "Conv") -> np.ndarray:
        return np.full(conv.out_channels, 256 * conv.kernel[0] * conv.kernel[1], np.int64)

    def chain_bits(self, conv: "Conv", fmt: Format) -> int:
        return (256 * conv.kernel[0] * conv.kernel[1]).bit_length() + 1

    def code_width(self, conv: "Conv", fmt: Format) -> int:
        assert conv.weight is not None
        low, high = int(conv.weight.min()), int(conv.weight.max())
        return max(2, max(high, -1 - low).bit_length() + fmt.signed)

    def acc_width(self, conv: "Conv", fmt: Format, lanes: int) -> int:
        # Lanes past a run count where inputs are signed.
        taps = conv.kernel[0] * conv.kernel[1]
        terms = int(np.prod(conv.weight_shape[1:]))
        return max(terms * 255 + fmt.signed * taps * (lanes - 1) * 128, 255).bit_length()

    def luts(self, code_width: int) -> EngineLuts:
        return EngineLuts(lane=LANE, extra_lane=SUM_LANE, code=CODE, tap=TAP)

    def _weights(self, conv: "Conv", fmt: Format) -> np.ndarray:
        moved: np.ndarray = conv.weight_values + _offset(fmt)
        return moved


def _offset(fmt: Format) -> int:
    return 128 if fmt.signed else 0


ENGINE = _L1()

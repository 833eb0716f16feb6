"""Host half of the shift engine: negative codes are one's complement."""

from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.formats import Format, ShiftCode

from .base import DoesNotFit, EngineLuts, HostEngine

if TYPE_CHECKING:
    from pyhw.graph.ops import Conv

__all__ = ["ENGINE"]

LANE = {3: 36.0, 4: 49.5, 5: 74.3}
"""LUT4s of a lane by code width, with its share of the tree: docs/area.md (4: 33 + 16.5; 5: the two
cases of the table less their accumulators). 3 bits: two multiplexers of 10 and 11 bits,
estimated."""
TAP = 14.2
"""A tap of a chain: docs/area.md, the cases with taps less those without."""


class _Shift(HostEngine):
    name = "shift"

    def encode(self, conv: "Conv", shape: EngineConfig, fmt: Format) -> np.ndarray:
        sign, exponent = _digits(conv)
        codes = self.codes(sign, exponent, shape.code_width)
        return codes.reshape(conv.digits, conv.out_channels, -1)

    def codes(self, sign: np.ndarray, exponent: np.ndarray, code_width: int) -> np.ndarray:
        code = ShiftCode(code_width)
        if exponent.max() > code.max_exponent:
            raise DoesNotFit(
                f"exponent {exponent.max()} does not fit the {code_width}-bit codes "
                f"of the shift engine (0 to {code.max_exponent})",
                "take a configuration with a wider shift.code_width")
        codes = exponent.astype(np.int64) | (np.where(sign < 0, 1, 0) << (code_width - 1))
        return np.where(sign == 0, code.zero, codes).astype(np.uint8)

    def constant(self, conv: "Conv", fmt: Format, idle: int) -> np.ndarray:
        sign, exponent = _digits(conv)
        short = np.where(sign < 0, 1 << exponent.astype(np.int64), 0)
        constant: np.ndarray = -short.sum(axis=(0, 2, 3, 4))
        return constant

    def sum_bits(self, conv: "Conv", fmt: Format, constant: np.ndarray) -> int:
        from pyhw.graph.terms import term_of

        low, high = term_of(self.name).partial_bounds(conv, fmt)
        low = low + constant  # one's complement sums lie lower by the negative weights so far
        return max(int(-1 - low.min()).bit_length(), int(high.max()).bit_length()) + 1

    def chain_bits(self, conv: "Conv", fmt: Format) -> int:
        sign, exponent = _digits(conv)
        size = np.abs(sign.astype(np.int64)) << exponent.astype(np.int64)
        most = int(size.sum(axis=(0, 2, 3, 4)).max()) * (max(fmt.max, -fmt.min) + 1) << conv.ex
        return most.bit_length() + 1

    def code_width(self, conv: "Conv", fmt: Format) -> int:
        most = int(_digits(conv)[1].max())
        return next(w for w in sorted(LANE) if most <= ShiftCode(w).max_exponent)

    def acc_width(self, conv: "Conv", fmt: Format, lanes: int) -> int:
        sign, exponent = _digits(conv)
        powers = np.where(sign == 0, 0, 1 << exponent.astype(np.int64)).sum(axis=(0, 2, 3, 4))
        most = int(powers.max()) * ((max(fmt.max, -fmt.min) << conv.ex) + 1)
        return most.bit_length() + 1

    def luts(self, code_width: int) -> EngineLuts:
        return EngineLuts(lane=LANE[code_width], tap=TAP)


def _digits(conv: "Conv") -> tuple[np.ndarray, np.ndarray]:
    assert conv.sign is not None
    assert conv.exponent is not None
    return conv.sign, conv.exponent


ENGINE = _Shift()

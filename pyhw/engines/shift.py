"""Host half of the shift engine: negative codes are one's complement."""

from typing import TYPE_CHECKING

import numpy as np

from pyhw.hdl.config import EngineConfig
from pyhw.hdl.formats import Format, ShiftCode

from .base import DoesNotFit, HostEngine

if TYPE_CHECKING:
    from pyhw.graph.ops import Conv

__all__ = ["ENGINE"]


class _Shift(HostEngine):
    name = "shift"

    def encode(self, conv: "Conv", shape: EngineConfig, fmt: Format) -> np.ndarray:
        signs, exponents = _digits(conv)
        code = ShiftCode(shape.code_width)
        sign = signs.reshape(conv.digits, conv.out_channels, -1).astype(np.int64)
        exponent = exponents.reshape(sign.shape).astype(np.int64)
        if exponent.max() > code.max_exponent:
            raise DoesNotFit(
                f"exponent {exponent.max()} does not fit the {shape.code_width}-bit codes "
                f"of the shift engine (0 to {code.max_exponent})",
                "take a configuration with a wider shift.code_width")
        codes = exponent | (np.where(sign < 0, 1, 0) << (shape.code_width - 1))
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


def _digits(conv: "Conv") -> tuple[np.ndarray, np.ndarray]:
    assert conv.sign is not None
    assert conv.exponent is not None
    return conv.sign, conv.exponent


ENGINE = _Shift()

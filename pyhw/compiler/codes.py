"""Weight codes of a layer, and the constants they imply."""

import numpy as np

from pyhw.graph.ops import Conv, MapType
from pyhw.hdl.config import EngineConfig
from pyhw.hdl.formats import Format, ShiftCode

from .errors import CompileError
from .job import Weights
from .packing import CodeOrder

__all__ = ["code_table", "conv_weights", "shift_constant", "zero_code"]


def conv_weights(conv: Conv, engine: EngineConfig, fmt: Format, order: CodeOrder,
                 pads: np.ndarray) -> Weights:
    """Lay out a convolution's codes.

    Parameters
    ----------
    conv : Conv
    engine : EngineConfig
        Shape of the engine that runs it.
    fmt : Format
        Format of its input.
    order : CodeOrder
        Which weight every lane of its rows sees.
    pads : int64 array (C,)
        Pad values of the input channels.
    """
    codes = order.codes(code_table(conv, engine, fmt), zero_code(conv, engine))
    pad_lanes = order.pads(pads, conv.digits, conv.weight_shape[3],
                           conv.out_channels // conv.groups)
    constant = _constant(conv, engine, fmt, order.idle)
    _prove_width(conv, engine, fmt, constant)
    return Weights(codes, pad_lanes, constant)


def code_table(conv: Conv, engine: EngineConfig, fmt: Format) -> np.ndarray:
    """Return the code of every digit of every weight, uint8 (digits, O, taps).

    Raises
    ------
    CompileError
        If weights or exponents are out of the codes' range.
    """
    if conv.term == "l1":
        assert conv.weight is not None
        limit = Format(engine.code_width, fmt.signed)
        flat = conv.weight.reshape(1, conv.out_channels, -1).astype(np.int64)
        if flat.min() < limit.min or flat.max() > limit.max:
            raise CompileError(
                conv.name, f"weights from {flat.min()} to {flat.max()} do not fit the "
                f"{engine.code_width}-bit codes of the L1 engine",
                "quantise to fewer bits or take a configuration with a wider l1.code_width")
        return (flat & ((1 << engine.code_width) - 1)).astype(np.uint8)
    assert conv.sign is not None
    assert conv.exponent is not None
    code = ShiftCode(engine.code_width)
    sign = conv.sign.reshape(conv.digits, conv.out_channels, -1).astype(np.int64)
    exponent = conv.exponent.reshape(sign.shape).astype(np.int64)
    if exponent.max() > code.max_exponent:
        raise CompileError(
            conv.name, f"exponent {exponent.max()} does not fit the {engine.code_width}-bit codes "
            f"of the shift engine (0 to {code.max_exponent})",
            "take a configuration with a wider shift.code_width")
    codes = exponent | (np.where(sign < 0, 1, 0) << (engine.code_width - 1))
    return np.where(sign == 0, code.zero, codes).astype(np.uint8)


def zero_code(conv: Conv, engine: EngineConfig) -> int:
    """Return the code that lanes without a tap get: a shift engine's adds nothing."""
    return 0 if conv.term == "l1" else ShiftCode(engine.code_width).zero


def shift_constant(conv: Conv) -> np.ndarray:
    """Return what the shift engine's sums lack of a layer's accumulators, int64 (O,), negative."""
    assert conv.sign is not None
    assert conv.exponent is not None
    short = np.where(conv.sign < 0, 1 << conv.exponent.astype(np.int64), 0)
    return -short.sum(axis=(0, 2, 3, 4))


def _constant(conv: Conv, engine: EngineConfig, fmt: Format,
              idle: int) -> np.ndarray:
    """Return engine value minus accumulator, int64 (O,); `idle` lanes have no weight."""
    if conv.term == "shift":
        return shift_constant(conv)
    # value = 2 M - X = acc + sum of w', where both operands of a signed layer are moved by
    # 128, which also makes the lanes past the run 128 on both sides.
    offset = 128 if fmt.signed else 0
    return (conv.weight_values + offset).sum(axis=(1, 2, 3)) + idle * offset


def _prove_width(conv: Conv, engine: EngineConfig, fmt: Format, constant: np.ndarray) -> None:
    """Refuse a layer whose accumulators could overflow."""
    if conv.term == "l1":
        # Each lane adds min(x', w') <= 255 to M and x' <= 255 to X; constant = sum of w'.
        taps = int(np.prod(conv.weight_shape[1:]))
        offset = 128 if fmt.signed else 0
        most = max(int(constant.max()),
                   taps * ((fmt.max << conv.ex) + offset)
                   + (int(constant.max()) - int((conv.weight_values + offset)
                                                .sum(axis=(1, 2, 3)).max())))
        need = most.bit_length()
    else:
        low, high = conv.partial_bounds(MapType((1, 1, 1), fmt))
        low = low + constant  # one's complement sums lie lower by the negative weights so far
        need = max(int(-1 - low.min()).bit_length(), int(high.max()).bit_length()) + 1
    if need > engine.acc_width:
        raise CompileError(
            conv.name, f"its sums need {need} bits and the {conv.term} engine's accumulators "
            f"have {engine.acc_width}",
            f"take a configuration with {conv.term}.acc_width of at least {need}")

"""Weight codes in the order in which the rows use them, and the constants they imply."""

import numpy as np

from pyhw.graph.ops import Conv, MapType
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.formats import Format, ShiftCode

from .errors import CompileError
from .job import Weights

__all__ = ["code_table", "conv_weights", "pack_words", "shift_constant", "zero_code"]


def conv_weights(conv: Conv, engine: EngineConfig, fmt: Format, taps: list[np.ndarray],
                 blocks: list[range], pads: np.ndarray) -> Weights:
    """Lay out a convolution's codes.

    Parameters
    ----------
    conv : Conv
    engine : EngineConfig
        Shape of the engine that runs it.
    fmt : Format
        Format of its input.
    taps : list of int array
        For each vector of a burst, the flat index into (KH, KW, C / groups) of every lane of
        its run (at most `lanes`).
    blocks : list of range
        Output channels of every row block.
    pads : int64 array (C,)
        Pad values of the input channels.
    """
    digits = conv.digits
    zero = zero_code(conv, engine)
    table = code_table(conv, engine, fmt)  # (digits, O, taps)
    shape = (len(blocks), len(taps) * digits, engine.rows, engine.lanes)
    codes = np.full(shape, zero, np.uint8)
    pad_lanes = np.zeros((shape[0], shape[1], engine.lanes), np.uint8)
    per_group = conv.weight_shape[3]
    group_rows = conv.out_channels // conv.groups
    for b, rows in enumerate(blocks):
        first_channel = rows.start // group_rows * per_group
        for v, tap in enumerate(taps):
            channels = first_channel + tap % per_group
            for d in range(digits):
                step = v * digits + d
                codes[b, step, :len(rows), :len(tap)] = (
                    table[d, rows.start:rows.stop][:, tap])
                pad_lanes[b, step, :len(tap)] = pads[channels] & 0xFF
    constant = _constant(conv, engine, fmt, len(taps), sum(len(tap) for tap in taps))
    _prove_width(conv, engine, fmt, constant)
    return Weights(codes, pad_lanes if pads.any() else None, constant)


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


def _constant(conv: Conv, engine: EngineConfig, fmt: Format, vectors: int,
              lanes_used: int) -> np.ndarray:
    """Return engine value minus accumulator, int64 (O,)."""
    if conv.term == "shift":
        return shift_constant(conv)
    # value = 2 M - X = acc + sum of w', where both operands of a signed layer are moved by
    # 128, which also makes the lanes past the run 128 on both sides.
    offset = 128 if fmt.signed else 0
    idle = (vectors * engine.lanes - lanes_used) * offset
    return (conv.weight_values + offset).sum(axis=(1, 2, 3)) + idle


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


def pack_words(config: Config, codes: np.ndarray, code_width: int) -> np.ndarray:
    """Pack codes into weight-memory words.

    Parameters
    ----------
    config : Config
    codes : uint8 array (steps, n)
        Flattened codes of each step.
    code_width : int
        Bits of a code.

    Returns
    -------
    uint8 array (steps, words, load_bytes)
    """
    steps, count = codes.shape
    per_word = config.weights.load_bits // code_width
    words = -(-count // per_word)
    padded = np.zeros((steps, words * per_word), np.uint8)
    padded[:, :count] = codes
    bits = np.unpackbits(padded.reshape(steps, words, per_word, 1), axis=-1,
                         bitorder="little")[..., :code_width]
    bits = bits.reshape(steps, words, per_word * code_width)
    full = np.zeros((steps, words, config.weights.load_bits), np.uint8)
    full[..., :bits.shape[-1]] = bits
    return np.packbits(full, axis=-1, bitorder="little")

"""Weight codes of a layer, and the constants they imply."""

import numpy as np

from pyhw.engines import DoesNotFit, host_engine
from pyhw.graph.ops import Conv
from pyhw.hdl.config import EngineConfig
from pyhw.hdl.formats import Format

from .errors import CompileError
from .job import Weights
from .packing import CodeOrder

__all__ = ["code_table", "conv_weights"]


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
    host = host_engine(conv.term)
    codes = order.codes(code_table(conv, engine, fmt), host.zero_code(engine))
    pad_lanes = order.pads(pads, conv.digits, conv.weight_shape[3],
                           conv.out_channels // conv.groups)
    constant = host.constant(conv, fmt, order.idle)
    _prove_width(conv, engine, fmt, constant)
    return Weights(codes, pad_lanes, constant)


def code_table(conv: Conv, engine: EngineConfig, fmt: Format) -> np.ndarray:
    """Return the code of every digit of every weight, uint8 (digits, O, taps).

    Raises
    ------
    CompileError
        If weights or exponents are out of the codes' range.
    """
    try:
        return host_engine(conv.term).encode(conv, engine, fmt)
    except DoesNotFit as error:
        raise CompileError(conv.name, error.problem, error.remedy) from None


def _prove_width(conv: Conv, engine: EngineConfig, fmt: Format, constant: np.ndarray) -> None:
    """Refuse a layer whose accumulators could overflow."""
    need = host_engine(conv.term).sum_bits(conv, fmt, constant)
    if need > engine.acc_width:
        raise CompileError(
            conv.name, f"its sums need {need} bits and the {conv.term} engine's accumulators "
            f"have {engine.acc_width}",
            f"take a configuration with {conv.term}.acc_width of at least {need}")

"""Unfolding of the input: kernel rows become channels while the images are written."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyhw.graph.ops import Conv, Graph, Input
from pyhw.hdl.config import Config
from pyhw.hdl.isa import input_record

from .errors import CompileError
from .lowering import lowering_of
from .maps import Map

__all__ = ["FoldedInput", "fold_input"]


@dataclass(frozen=True)
class FoldedInput:
    """How images are stored, and the first convolution as it reads them.

    Parameters
    ----------
    map : Map
        The stored map.
    record : dict
        Fields of the `INPUT` record.
    conv : Conv or None
        Replacement of the convolution that reads the folded map; None for a plain copy.
    rows : int
        Kernel rows that are channels of the stored map.
    """

    map: Map
    record: dict[str, int]
    conv: Conv | None
    rows: int = 1


def _folds(graph: Graph, config: Config) -> Conv | None:
    """Return the convolution to fold for, if folding makes it faster."""
    readers = [op for op in graph.ops if graph.input.name in op.inputs]
    if len(readers) != 1:
        return None
    return lowering_of(readers[0]).unfolds(readers[0], graph.input, config)


def fold_input(graph: Graph, config: Config, slots: int, *, fold: bool = True) -> FoldedInput:
    """Choose how the input is stored.

    Parameters
    ----------
    graph : Graph
    config : Config
    slots : int
        Images per group.
    fold : bool
        Whether there is room for a folded input, which is larger by up to the kernel's rows.
    """
    source: Input = graph.input
    height, width, channels = source.shape
    if width * channels > 65535:
        raise CompileError(source.name, f"a row of {width * channels} bytes is too long",
                           "use images with at most 65535 bytes a row")
    conv = _folds(graph, config) if fold else None
    if conv is None:
        # Bytes in the order in which they come, whatever the pixels are.
        record = input_record(width=width * channels, rows=height, channels=1)
        folded = None
        stored = Map(source.name, source.shape, source.fmt, slots)
    else:
        kh = conv.kernel[0]
        rows = conv.positions(source.shape)[0]
        pads = conv.border_values(channels, source.fmt)
        stored = Map(source.name, (rows, width, kh * channels), source.fmt, slots)
        record = input_record(width=width, rows=height, channels=channels, fold=kh,
                              stride=conv.stride[0], pad=conv.padding[0], out_rows=rows,
                              pad_values=[int(p) & 0xFF for p in pads])
        folded = _folded_conv(conv, pads)
    return FoldedInput(stored, record, folded, 1 if conv is None else conv.kernel[0])


def _folded_conv(conv: Conv, pads: np.ndarray) -> Conv:
    """Return the same convolution on the folded map: one kernel row, KH x C channels."""
    def fold(array: np.ndarray) -> np.ndarray:
        *head, kh, kw, c = array.shape
        return np.moveaxis(array, -3, -2).reshape(*head, 1, kw, kh * c)
    _, left, _, right = conv.padding
    kh = conv.kernel[0]
    arrays: dict[str, Any] = {
        name: fold(getattr(conv, name)) for name in ("weight", "sign", "exponent")
        if getattr(conv, name) is not None}
    return replace(conv, stride=(1, conv.stride[1]), padding=(0, left, 0, right),
                   pad_value=np.tile(pads, kh).astype(np.int16), **arrays)

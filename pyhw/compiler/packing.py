"""The order of codes in the weight memory: blocks, steps, rows, lanes, and words of them.

`CodeOrder` says which weight every lane of every row sees in every step; codes, pad values and mask
bits of a layer are all taken in its order. `pack_words` makes words of a step's codes
(``hdl/packing.py``).
"""

from dataclasses import dataclass

import numpy as np

from pyhw.hdl.config import Config
from pyhw.hdl.packing import codes_per_word, word_count

__all__ = ["CodeOrder", "pack_words"]


@dataclass(frozen=True, eq=False)
class CodeOrder:
    """Which weight of a layer each lane of each row sees, step by step.

    Parameters
    ----------
    weight : int32 array (blocks, vectors, rows, lanes)
        Index into the weights of one digit, (O, KH, KW, C / groups) flattened; -1 for lanes past a
        run and rows beyond the channels.
    taps : int
        Weights of an output channel.
    """

    weight: np.ndarray
    taps: int

    @classmethod
    def dense(cls, taps: list[np.ndarray], blocks: list[range], rows: int,
              lanes: int) -> "CodeOrder":
        """Order the weights of a layer whose rows make one output channel each.

        Parameters
        ----------
        taps : list of int array
            For each vector of a burst the flat index into (KH, KW, C / groups) of every lane of
            its run (at most `lanes`).
        blocks : list of range
            Output channels of every row block.
        rows, lanes : int
            Of the engine.
        """
        count = sum(len(tap) for tap in taps)
        weight = np.full((len(blocks), len(taps), rows, lanes), -1, np.int32)
        for number, block in enumerate(blocks):
            first = np.arange(block.start, block.stop)[:, None] * count
            for vector, tap in enumerate(taps):
                weight[number, vector, :len(block), :len(tap)] = first + tap
        return cls(weight, count)

    @classmethod
    def depthwise(cls, shape: tuple[int, int, int], together: int, blocks: list[range],
                  rows: int, lanes: int) -> "CodeOrder":
        """Order the weights of a layer whose lanes make one channel each, its taps in the rows.

        Parameters
        ----------
        shape : (int, int, int)
            Channels, kernel height and width.
        together : int
            Kernel columns of a step, in the last rows of the chain.
        blocks : list of range
            Channels of every block.
        rows, lanes : int
            Rows in use of the chain, and lanes of the engine.
        """
        channels, height, width = shape
        index = np.arange(channels * height * width).reshape(
            channels, height * width // together, together)
        weight = np.full((len(blocks), index.shape[1], rows, lanes), -1, np.int32)
        for number, block in enumerate(blocks):
            # (channels, vectors, together) -> vectors, rows, lanes
            weight[number, :, rows - together:, :len(block)] = (
                index[block.start:block.stop].transpose(1, 2, 0))
        return cls(weight, height * width)

    @property
    def vectors(self) -> int:
        """Vectors of a position."""
        return self.weight.shape[1]

    @property
    def idle(self) -> int:
        """Lanes of the first block's first row that have no weight, over all vectors."""
        return int((self.weight[0, :, 0] < 0).sum())

    def codes(self, table: np.ndarray, idle: int) -> np.ndarray:
        """Lay out the codes of all digits.

        Parameters
        ----------
        table : uint8 array (digits, O, taps)
        idle : int
            Code of a lane without a weight.

        Returns
        -------
        uint8 array (blocks, vectors x digits, rows, lanes)
            The digits of a vector are neighbouring steps.
        """
        blocks, vectors, rows, lanes = self.weight.shape
        flat = table.reshape(len(table), -1)
        found = np.where(self.weight < 0, idle, flat[:, self.weight]).astype(np.uint8)
        # (digits, blocks, vectors, rows, lanes) -> (blocks, vectors x digits, rows, lanes)
        return np.moveaxis(found, 0, 2).reshape(blocks, vectors * len(table), rows, lanes)

    def pads(self, values: np.ndarray, digits: int, per_group: int,
             group_rows: int) -> np.ndarray | None:
        """Lay out the pad values that lie before a step's codes.

        Parameters
        ----------
        values : int64 array (C,)
            Pad value of every input channel.
        digits : int
        per_group, group_rows : int
            Input and output channels of a group.

        Returns
        -------
        uint8 array (blocks, vectors x digits, lanes) or None
            None where all are 0.
        """
        if not values.any():
            return None
        seen = self.weight.max(axis=2)  # all rows of a block see the same inputs
        channel = seen // self.taps // group_rows * per_group + seen % self.taps % per_group
        found = np.where(seen < 0, 0, values[channel] & 0xFF).astype(np.uint8)
        return np.repeat(found, digits, axis=1)

    def bits(self, kept: np.ndarray) -> np.ndarray:
        """Return the mask bits of all weights in use, of a bool array of the weights' shape."""
        return np.asarray(kept.reshape(-1)[self.weight[self.weight >= 0]])


def pack_words(config: Config, codes: np.ndarray, code_width: int) -> np.ndarray:
    """Pack codes into weight-memory words.

    Parameters
    ----------
    config : Config
    codes : uint8 array (steps, n)
        Codes of each step, rows one after the other.
    code_width : int
        Bits of a code.

    Returns
    -------
    uint8 array (steps, words, load_bytes)
    """
    load_bits = config.weights.load_bits
    steps, count = codes.shape
    per_word = codes_per_word(load_bits, code_width)
    words = word_count(count, load_bits, code_width)
    padded = np.zeros((steps, words * per_word), np.uint8)
    padded[:, :count] = codes
    bits = np.unpackbits(padded.reshape(steps, words, per_word, 1), axis=-1,
                         bitorder="little")[..., :code_width]
    full = np.zeros((steps, words, load_bits), np.uint8)
    full[..., :per_word * code_width] = bits.reshape(steps, words, per_word * code_width)
    return np.packbits(full, axis=-1, bitorder="little")

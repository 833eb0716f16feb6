"""The loops of a layer: blocks, bursts, steps and positions, counted in one place.

From the outside in: blocks of output channels; bursts, the positions whose sums are in the
accumulators at once; steps of the reduction (kernel rows, kernel columns, chunks of a run, digits);
positions (slots, rows, columns). Compiler, cycle model, proof of overlap, fitter and profile ask
this one object; all counts may be integers or arrays of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyhw.hdl.records import Instruction

from .maps import Strides

__all__ = ["LoopNest", "burst_length"]


def burst_length(positions: int, depth: int, row: int = 1) -> int:
    """Return the positions of a burst: as many as fit, evenly spread over the bursts.

    Parameters
    ----------
    positions : int
        Of all slots.
    depth : int
        Most positions of a burst.
    row : int
        Positions that may not be parted; at most `depth`.
    """
    rows, most = positions // row, depth // row
    return -(-rows // -(-rows // most)) * row


@dataclass(frozen=True, kw_only=True)
class LoopNest:
    """How a layer goes through its positions, reduction steps and output channels.

    Parameters
    ----------
    columns, rows, slots : int
        Output columns and rows of an image, and images of a group.
    warmup : int
        Columns before the first of each row whose vectors make no result.
    burst : int
        Positions of a burst.
    steps : int
        Steps of a burst: kernel rows x kernel columns x chunks x digits.
    blocks, block_channels, channels : int
        Blocks, output channels of a full block, and output channels in all.
    """

    columns: Any
    rows: Any
    slots: Any
    burst: Any
    steps: Any
    blocks: Any
    block_channels: Any
    channels: Any
    warmup: Any = 0

    @classmethod
    def of(cls, layer: Instruction, slots: int) -> "LoopNest":
        """Return the loops of an instruction for so many images of a group."""
        nest, steps = layer.nest, layer.steps
        return cls(
            columns=nest.n_x, rows=nest.n_y, slots=slots, warmup=layer.chain.warmup,
            burst=nest.burst, steps=steps.n_ky * steps.n_kx * steps.n_chunks * steps.n_digits,
            blocks=nest.n_blocks, block_channels=nest.block_rows, channels=nest.rows)

    @property
    def positions(self) -> Any:
        """Output positions of all slots."""
        return self.columns * self.rows * self.slots

    @property
    def bursts(self) -> Any:
        """Bursts of a block."""
        return -(-self.positions // self.burst)

    @property
    def step_vectors(self) -> Any:
        """Vectors of a step, over all bursts of a block: positions and warm-up columns."""
        return self.positions + self.rows * self.slots * self.warmup

    @property
    def vectors(self) -> Any:
        """Vectors of the layer."""
        return self.blocks * self.steps * self.step_vectors

    def burst_vectors(self, positions: int) -> int:
        """Return the vectors of a step for a burst of so many positions."""
        return int(positions + positions // self.columns * self.warmup)

    def burst_positions(self) -> list[int]:
        """Return the positions of each burst of a block."""
        full, tail = divmod(self.positions, self.burst)
        return [self.burst] * full + [tail] * (tail > 0)

    def last_burst(self) -> range:
        """Return the numbers of the last burst's positions."""
        return range((self.positions - 1) // self.burst * self.burst, self.positions)

    def channels_of(self, block: int) -> int:
        """Return the output channels of a block."""
        return int(min(self.block_channels, self.channels - block * self.block_channels))

    def first_burst(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, row of the image and column of each vector of a step's first burst."""
        width = self.columns + self.warmup
        for number in range(self.burst_vectors(min(self.burst, self.positions))):
            row, column = divmod(number, width)
            yield number, row % self.rows, column

    def offset(self, strides: Strides, number: int, *, warmup: bool = False) -> int:
        """Return the address of a position, relative to the first one.

        Parameters
        ----------
        strides : Strides
        number : int
            Of the position, over columns, rows and slots.
        warmup : bool
            Whether warm-up columns are counted as well.
        """
        row = number // (self.columns + self.warmup * warmup)
        slot = row // self.rows
        return int((number - row) * strides.x + (row - slot) * strides.y + slot * strides.slot)

"""A job: one instruction before memory is assigned."""

from dataclasses import dataclass, field

import numpy as np

from pyhw.graph.ops import MapType, Processed
from pyhw.graph.post import Post
from pyhw.hdl.isa import Opcode
from pyhw.hdl.records import Expansion, Instruction

from .maps import Map

__all__ = ["Job", "Masks", "Weights"]


@dataclass
class Weights:
    """Codes of a job: everything the rows see, step by step.

    Parameters
    ----------
    codes : uint8 array (blocks, steps, rows, lanes)
        Code of every lane; lanes past the run and rows past the channels hold the code of 0.
    pads : uint8 array (blocks, steps, lanes) or None
        Pad value of every lane, or None where all are 0.
    constant : int64 array (channels,)
        What the engine's value exceeds the accumulator by (``docs/architecture.md``).
    masks : Masks or None
        How to store the codes in fewer bits, with a weight expander.
    """

    codes: np.ndarray
    pads: np.ndarray | None
    constant: np.ndarray
    masks: "Masks | None" = None


@dataclass(frozen=True, eq=False)
class Masks:
    """The weights of a masked layer as the weight expander takes them.

    Parameters
    ----------
    bits : bool array (weights of the job,)
        Which count, in the order of blocks, steps, rows and lanes.
    prototype : uint8 array (d,)
        The prototype's codes, as many as the layer uses.
    expansion : Expansion
        What does not depend on addresses.
    """

    bits: np.ndarray
    prototype: np.ndarray
    expansion: Expansion


@dataclass
class Job:
    """One pass of an engine over a map.

    Parameters
    ----------
    op : Processed
        What it computes; its `post` is what the store unit does.
    engine : str
        Name of the engine.
    source, target : Map
    residual : Map or None
        The map added in one of the steps.
    layer : Instruction
        What does not depend on addresses.
    weights : Weights or None
    index : int array or None
        Byte offset of each position's vector, for gathered positions.
    source_offset, target_offset : int
        Bytes added to the maps' bases (a window's padding, a slice of the channels).
    channels : slice
        Output channels of `op` that this job makes.
    opcode : Opcode
        `COMPUTE`, or a move, for which engine, weights and post-processing mean nothing.
    """

    op: Processed
    engine: str
    source: Map
    target: Map
    residual: Map | None = None
    layer: Instruction = field(default_factory=Instruction)
    weights: Weights | None = None
    index: np.ndarray | None = None
    source_offset: int = 0
    target_offset: int = 0
    channels: slice = field(default_factory=lambda: slice(None))
    opcode: Opcode = Opcode.COMPUTE

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.op.name

    @property
    def unit(self) -> str:
        """Name of what carries it out: an engine, or a move."""
        return self.engine.upper() if self.opcode is Opcode.COMPUTE else self.opcode.name

    @property
    def post(self) -> Post:
        """Post-processing."""
        return self.op.post

    @property
    def useful_terms(self) -> int:
        """Terms of the network's own reduction, per image (padded digits left out)."""
        counts = self.op.counts(MapType(self.target.shape, self.target.fmt))
        if not counts.weights:
            return 0
        channels = self.target.shape[2]
        first, last, _ = self.channels.indices(channels)
        return counts.terms * (last - first) // channels

"""What vectors and results lose to each other at the scratchpads, for the cycle model."""

from collections.abc import Iterator

from pyhw.hdl.config import Config
from pyhw.hdl.records import Instruction
from pyhw.hdl.timing import Timing

from .loop_nest import LoopNest
from .maps import Strides

__all__ = ["Pipeline", "ResultPort"]


class Pipeline:
    """The way of the vectors from the address generator to the engines, which moves unless it is
    held.
    """

    def __init__(self) -> None:
        self._held: set[int] = set()

    def hold(self, first: int, end: int) -> None:
        """Hold all vectors from a cycle to before another."""
        self._held.update(range(first, end))

    def free(self, time: int) -> int:
        """Return the first cycle from `time` on in which the vectors move."""
        while time in self._held:
            time += 1
        return time

    def after(self, time: int, moves: int) -> int:
        """Return the cycle of the last of so many moves after the one at `time`, or later."""
        if not self._held:
            return time + moves
        time = self.free(time)
        for _ in range(moves):
            time = self.free(time + 1)
        return time

    def held(self, first: int, end: int) -> list[int]:
        """Return the cycles from one to before another in which the vectors are held."""
        if end - first < len(self._held):
            return [time for time in range(first, end) if time in self._held]
        return sorted(time for time in self._held if first <= time < end)


class ResultPort:
    """Scratchpad port B under one layer: results that are written, residuals that are read.

    A residual and a result of one cycle must lie in different banks, whatever the group, or the
    residual waits. In block RAM with a single read port there is no such conflict, but a read
    holds the vectors in the cycle after it.

    Parameters
    ----------
    layer : Instruction
    nest : LoopNest
        Its loops.
    config : Config
    pipeline : Pipeline
    free : bool
        Pretend that residuals cost nothing.

    Attributes
    ----------
    conflicts : list of int
        Cycles in which a residual has waited.
    """

    def __init__(self, layer: Instruction, nest: LoopNest, config: Config,
                 pipeline: Pipeline, *, free: bool = False) -> None:
        self._layer, self._nest = layer, nest
        self._config, self._pipeline = config, pipeline
        self._flight = Timing(config).issue_to_write
        self._stall = Timing(config).read_to_stall
        self._writes: dict[int, tuple[int, int]] = {}
        self._groups, self._free = config.groups, free
        self.conflicts: list[int] = []

    def vectors(self, channels: int) -> Iterator[tuple[int, int]]:
        """Yield the first of the result vectors' channels in a block, and how many it has."""
        width = 1 if self._layer.write.serial else self._config.post.width
        for first in range(0, channels, width):
            yield first // width, min(width, channels - first)

    def results(self, time: int, block: int, burst: int, vector: int, count: int,
                positions: int) -> tuple[int, int]:
        """Issue the results of one vector, all groups and positions, from `time` on.

        Returns
        -------
        first, after : int
            Cycle of the first issue, and the cycle after the last.
        """
        layer = self._layer
        if self._free or not layer.residual.res:
            return time, time + positions * self._groups
        size = (1 << layer.write.out_log_bytes) if layer.write.serial else count
        residual = count << layer.residual.res_wide
        first = None
        for _ in range(self._groups):
            for position in range(positions):
                place = burst * self._nest.burst + position
                read = self._read(place, vector, block)
                while self._conflict(time, read, residual):
                    self.conflicts.append(time)
                    time += 1
                self._writes[time + self._flight] = (
                    self._write(place, vector, block), size)
                if not self._config.build.distributed:
                    self._pipeline.hold(time + self._stall, time + self._stall + 1)
                first = time if first is None else first
                time += 1
        assert first is not None
        return first, time

    def _read(self, place: int, vector: int, block: int) -> int:
        record = self._layer.residual
        strides = Strides(record.res_x, record.res_y, record.res_slot)
        return (record.res_base + self._nest.offset(strides, place) + vector * record.res_vector
                + block * record.res_block)

    def _write(self, place: int, vector: int, block: int) -> int:
        record = self._layer.write
        strides = Strides(record.out_x, record.out_y, record.out_slot)
        return (record.out_base + self._nest.offset(strides, place) + vector * record.out_vector
                + block * record.out_block)

    def _conflict(self, time: int, read: int, size: int) -> bool:
        if not self._config.build.distributed or time not in self._writes:
            return False
        write, written = self._writes[time]
        banks = self._config.banks
        return (read - write) % banks < written or (write - read) % banks < size

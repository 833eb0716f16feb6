"""Pooling unit: channels without weights."""

from amaranth.hdl import Signal, signed

from .base import BaseEngine, checked_config
from .depthwise import Depthwise
from .registry import POOLING, Descriptor

__all__ = ["ENGINE", "PoolEngine", "pooling_unit"]


class PoolEngine(BaseEngine):
    """Hand on x, channel by channel: `pool_lanes` rows of one lane.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`; x is 9-bit two's complement, lane l belongs to row l.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config):
        lanes, shape = checked_config(config).pool.lanes, signed(config.pool.acc_width)
        super().__init__(config, rows=lanes, lanes=lanes, shape=shape)

    @property
    def latency(self):
        """Cycles from a vector to its sums."""
        return 1

    def _sums(self, m, platform):
        sums = [[Signal(signed(9), name=f"sum{group}_{row}", reset_less=True)
                 for row in range(self.rows)] for group in range(self._config.groups)]
        for group, columns in enumerate(sums):
            for row, value in enumerate(columns):
                m.d.sync += value.eq(self.i_x[group][row].as_signed())
                with m.If(~self.i_on):
                    m.d.sync += value.eq(0)
        return sums

    def compute(self, vectors, maximum=False):
        """Return the result of each row, from one vector of 9-bit integers per step."""
        return [(max if maximum else sum)(column) for column in zip(*vectors)]


def pooling_unit(config):
    """Return the pooling unit of a configuration, which a depthwise unit shares."""
    return Depthwise(config).pooling(PoolEngine(config))


ENGINE = Descriptor(
    name=POOLING, title="pooling", array=pooling_unit,
    latency=lambda config: 1 + Depthwise(config).latency)

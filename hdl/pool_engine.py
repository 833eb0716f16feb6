"""Pooling unit: sums and maxima without weights."""

from amaranth.hdl import Signal, signed
from amaranth.lib.wiring import In

from .engine import BaseEngine, checked_config

__all__ = ["PoolEngine"]


class PoolEngine(BaseEngine):
    """Add up or take the maximum of x, channel by channel: `pool_lanes` rows of one lane.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_x, i_token, i_drain, o_values, o_last
        As in `BaseEngine`; x is 9-bit two's complement, lane l belongs to row l.
    i_maximum : 1
        Take the maximum instead of the sum; with the vectors.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config):
        lanes = checked_config(config).pool_lanes
        super().__init__(config, rows=lanes, lanes=lanes, maximum=True,
                         shape=signed(config.pool_acc_width),
                         ports={"i_maximum": In(1)})
        self._now_maximum = Signal(name="now_maximum")

    @property
    def latency(self):
        """Cycles from a vector to `o_last`."""
        return 1

    def _sums(self, m, platform):
        sums = [[Signal(signed(9), name=f"x{group}_{row}", reset_less=True)
                 for row in range(self.rows)] for group in range(self._config.groups)]
        m.d.sync += self._now_maximum.eq(self.i_maximum)
        for group, columns in enumerate(sums):
            for row, value in enumerate(columns):
                m.d.sync += value.eq(self.i_x[group][row])
        return sums

    def compute(self, vectors, maximum=False):
        """Return the result of each row, from one vector of 9-bit integers per step."""
        return [(max if maximum else sum)(column) for column in zip(*vectors)]

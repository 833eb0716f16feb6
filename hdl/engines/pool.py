"""Pooling unit: channels without weights, and the sums of chains of taps."""

from amaranth.hdl import Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In

from ..common.delay_line import delay
from .base import BaseEngine, checked_config
from .registry import POOLING, Descriptor
from .tap_chain import CHAIN_LATENCY

__all__ = ["ENGINE", "PoolEngine"]


class PoolEngine(BaseEngine):
    """Hand on x, or a chain's sum, channel by channel: `pool_lanes` rows of one lane.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_x, i_on, o_sums
        As in `BaseEngine`; x is 9-bit two's complement, lane l belongs to row l.
    i_depthwise : 1, i_taps : groups x pool_lanes x signed(pool_acc_width)
        Only with `Config.depthwise.columns`: the engines' chains are added up instead of the
        vectors, of which only the tokens matter; the sums `CHAIN_LATENCY` cycles after them, and
        0 otherwise.

    Latency, throughput, back-pressure: as `BaseEngine`.
    """

    def __init__(self, config):
        lanes, shape = checked_config(config).pool.lanes, signed(config.pool.acc_width)
        ports = {}
        if config.depthwise.columns:
            ports = {"i_depthwise": In(1), "i_taps": In(data.ArrayLayout(
                data.ArrayLayout(shape, lanes), config.groups))}
        super().__init__(config, rows=lanes, lanes=lanes, shape=shape, ports=ports)

    @property
    def latency(self):
        """Cycles from a vector to its sums."""
        return 1 + (CHAIN_LATENCY if self._config.depthwise.columns else 0)

    def _sums(self, m, platform):
        taps = self._config.depthwise.columns
        shape = self._shape if taps else signed(9)
        sums = [[Signal(shape, name=f"sum{group}_{row}", reset_less=True)
                 for row in range(self.rows)] for group in range(self._config.groups)]
        for group, columns in enumerate(sums):
            for row, value in enumerate(columns):
                x = self.i_x[group][row]
                if taps:
                    x = Mux(self.i_depthwise, 0, x)
                x = delay(m, x, self.latency - 1, f"x{group}_{row}").as_signed()
                if taps:
                    x = x | self.i_taps[group][row]
                m.d.sync += value.eq(x)
                with m.If(~self.i_on):
                    m.d.sync += value.eq(0)
        return sums

    def compute(self, vectors, maximum=False):
        """Return the result of each row, from one vector of 9-bit integers per step."""
        return [(max if maximum else sum)(column) for column in zip(*vectors)]


ENGINE = Descriptor(
    name=POOLING, title="pooling", array=PoolEngine,
    latency=lambda config: 1 + (CHAIN_LATENCY if config.depthwise.columns else 0))

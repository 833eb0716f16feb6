"""What stands at the end of long wires: nothing, or in large arrays a register."""

from amaranth.lib.wiring import connect

from .delay_line import delay
from .stream_register import StreamRegister

__all__ = ["DIRECT", "Links"]


class Links:
    """The ends of wires between units that lie far apart in a large array.

    A component makes one from the configuration, or gets one, and puts what comes from far away
    through it; what has to know how late that is asks for `cycles`.

    Parameters
    ----------
    config : Config, optional
        By default wires have no registers.
    """

    def __init__(self, config=None):
        self._cycles = 0 if config is None else config.build.link_cycles

    @property
    def cycles(self):
        """Registers of a link, 0 or 1."""
        return self._cycles

    def delay(self, m, value, name, *, reset=False, enable=None):
        """Return `value` behind a link (see `delay` of `hdl/common/delay_line.py`)."""
        return delay(m, value, self._cycles, name, reset=reset, enable=enable)

    def undelayed(self, m, value, name):
        """Return `value` behind a register where a link would have none.

        For what is converted on its way: the register stands behind the converter, as a link, in
        the one case and before it in the other.
        """
        return delay(m, value, 1 - self._cycles, name)

    def state(self, m, state, name, *, sets=0, clears=0):
        """Return a state behind a link, which already knows a strobe that sets or clears it.

        Parameters
        ----------
        m : Module
        state : Value
            From the cycle after a strobe on it says so itself.
        name : str
        sets, clears : Value
            Strobes.
        """
        if not self._cycles:
            return state
        return self.delay(m, (state | sets) & ~clears, name, reset=True)

    def newest(self, coming, register):
        """Return what `register` takes next, or behind a link what it holds by then."""
        return register if self._cycles else coming

    def stream(self, m, name, source, ahead):
        """Return a stream behind a link, and its `valid` of the next cycle.

        Parameters
        ----------
        m : Module
        name : str
        source : stream
        ahead : Value
            `source.valid` of the next cycle.
        """
        if not self._cycles:
            return source, ahead
        m.submodules[name] = register = StreamRegister(source.payload.shape())
        connect(m, source=source, register=register.i)
        return register.o, register.o_ahead

    def split(self, count, size):
        """Return ranges of up to `size` units that lie together; without registers all do."""
        size = size if self._cycles else count
        return [range(first, min(first + size, count)) for first in range(0, count, size)]


DIRECT = Links()
"""Wires without registers."""

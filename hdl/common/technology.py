"""What memories are made of: the one place where the gateware asks a configuration for it."""

from ..engines.accumulators import BlockAccumulators, LutAccumulators
from ..isa import Space
from .delay_line import DelayLine, Ring

__all__ = ["Technology"]


class Technology:
    """Makes accumulators and long delays of what a family has, and says how memories are built.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    accumulators : type
        The class of `Accumulators` that this technology takes.
    dual_port : bool
        Whether both ports of a block RAM read and write; else one reads and one writes.
    """

    def __init__(self, config):
        luts = config.build.distributed
        self.accumulators = LutAccumulators if luts else BlockAccumulators
        self.dual_port = luts
        self._one_port = {Space.WEIGHTS} if config.build.single_port else set()
        self._small, self._large = (Ring.LUTS, Ring.LUTS) if luts else (None, Ring.BLOCK)

    def delay_line(self, width, cycles, *, large=False):
        """Return a `DelayLine`; one that is `large` is worth a block RAM where there is no other
        memory.
        """
        return DelayLine(width, cycles, self._large if large else self._small)

    def attributes(self, space):
        """Return the attributes of the program memory of a space, beside those of all."""
        return {"ram_style": "huge"} if space in self._one_port else {}

    def connect_write(self, m, space, write, read, *, enable, address):
        """Connect the write port of the program memory of a space, all but its data.

        Parameters
        ----------
        m : Module
        space : Space
        write, read : memory ports
            The memory's; `read` is connected already. Where it has one port for both, a write takes
            the place of a read.
        enable, address : Value
            Of a write.
        """
        m.d.comb += [write.en.eq(enable), write.addr.eq(address)]
        if space in self._one_port:
            # One address for both, never both at once: what Yosys makes one port of.
            with m.If(enable):
                m.d.comb += [read.addr.eq(address), read.en.eq(0)]
            m.d.comb += write.addr.eq(read.addr)

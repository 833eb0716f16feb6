"""Two stages at once or one after the other: the parts of control for either."""

from amaranth import Signal

from ..weights.loader import AheadLoader, PlainLoader
from .overlapping_sequencer import OverlappingSequencer
from .serial_sequencer import SerialSequencer

__all__ = ["Stages"]


class Stages:
    """What follows from whether the next layer's weights and vectors may come while one is stored.

    Without that control is made for the smallest devices: it keeps one instruction, and registers
    that only a fast clock needs are left out.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    sequencer, loader : type
        The classes of `Sequencer` and `WeightLoader`.
    two_at_once : bool
        Whether the compute stage waits for the store stage's last burst, and programs and records
        are read at once.
    registers : int
        Registers, 0 or 1, that stand where only a fast clock needs them.
    """

    def __init__(self, config):
        self.two_at_once = config.build.overlap
        self.sequencer = OverlappingSequencer if self.two_at_once else SerialSequencer
        self.loader = AheadLoader if self.two_at_once else PlainLoader
        self.registers = int(self.two_at_once)

    def state(self, m, coming, name):
        """Return a signal that is `coming`, a cycle later where there are registers."""
        signal = Signal(name=name)
        m.d["sync" if self.registers else "comb"] += signal.eq(coming)
        return signal

"""Sequencer that fetches an instruction when the layer before is stored."""

from amaranth import Mux, Signal

from ..isa import Opcode
from .sequencer import Sequencer

__all__ = ["SerialSequencer"]


class SerialSequencer(Sequencer):
    """Keep one instruction, on which both stages and the fetch work."""

    def _leave(self, m, is_last):
        m.next = "PEEK"

    def _wait(self, m, was_last):
        """Wait for a layer to be stored.

        The layer works on the words that were read. The next one is looked at only, before the
        memory reads records.
        """
        looked, end_next, ended = Signal(), Signal(), Signal()
        m.d.comb += end_next.eq(Mux(looked, self.i_data[:4] == Opcode.END.value, ended))
        m.d.sync += [looked.eq(0), ended.eq(end_next)]
        with m.State("PEEK"):
            m.d.comb += self.o_enable.eq(1)
            m.d.sync += looked.eq(1)
            m.next = "WORK"
        with m.State("WORK"):
            with m.If(self.o_layer_done | self._idle):
                m.next = "READ"
                with m.If(was_last | end_next):
                    m.next = "FINISH"

    def _layers(self, m, hand_over):
        return self._staged, self._total, self._staged, self._total

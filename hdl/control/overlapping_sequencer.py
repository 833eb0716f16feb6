"""Sequencer that fetches while layers are at work."""

from amaranth import Signal

from .sequencer import Sequencer, hand_records

__all__ = ["OverlappingSequencer"]


class OverlappingSequencer(Sequencer):
    """Keep three instructions: of the compute stage, of the store stage, and the one fetched."""

    def _leave(self, m, is_last):
        m.next = "READ"
        with m.If(is_last):
            m.next = "FINISH"

    def _layers(self, m, hand_over):
        # The compute stage keeps what the store stage will take.
        in_compute = Signal(self._format.shape, name="compute_layer", reset_less=True)
        in_store = Signal(self.o_store.shape(), name="store_layer", reset_less=True)
        compute_total, store_total = (Signal.like(self._total, name=f"{name}_total",
                                                  reset_less=True)
                                      for name in ("compute", "store"))
        with m.If(self._launch):
            m.d.sync += [in_compute.eq(self._staged), compute_total.eq(self._total)]
        with m.If(hand_over):
            m.d.sync += [*hand_records(in_store, in_compute), store_total.eq(compute_total)]
        return in_compute, compute_total, in_store, store_total

"""Requests of channel parameters: which post-processing record the next result vector takes."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RecordRequests"]


class RecordRequests(wiring.Component):
    """Request the records of the next vector as soon as the current ones are in use.

    Records of a block follow one another, vector by vector; every burst begins with the block's
    first.

    Parameters
    ----------
    records : int
        Of the memory.

    Members
    -------
    i_start : In(1), i_base : In(16)
        Strobe: a layer begins; its first record.
    i_take : In(1), i_taken : In(1)
        Strobes: a vector begins and its records come into use; they are in use, the place for the
        next ones is free.
    i_lanes : In(6), i_vector_last : In(1)
        Records of the current vector; it is the last of its burst.
    i_vector_end, i_burst_end : In(1)
        Strobes: with the last position of a vector; of a burst.
    i_burst_last, i_block_last : In(1)
        The burst is the block's last; the block is the layer's last.
    o_request : Out(1), o_record : Out(16)
        Strobe, and the first record of the vector.
    o_first : Out(1)
        The layer's first request.

    Latency 1 cycle from the start to the first request.
    """

    def __init__(self, records):
        self._records = records
        super().__init__({
            "i_start": In(1), "i_base": In(16), "i_take": In(1), "i_taken": In(1),
            "i_lanes": In(6), "i_vector_last": In(1), "i_vector_end": In(1), "i_burst_end": In(1),
            "i_burst_last": In(1), "i_block_last": In(1),
            "o_request": Out(1), "o_record": Out(16), "o_first": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        record, block_record, next_record = (
            Signal(range(self._records + 1), name=name, reset_less=True)
            for name in ("record", "block_record", "next_record"))
        first, more, after = Signal(), Signal(), Signal.like(record)
        m.d.sync += first.eq(self.i_start)
        m.d.comb += [
            self.o_first.eq(first), self.o_request.eq(first | (self.i_taken & more)),
            self.o_record.eq(next_record), after.eq(record + self.i_lanes),
        ]
        with m.If(self.i_take):
            m.d.sync += [
                more.eq(~(self.i_vector_last & self.i_burst_last & self.i_block_last)),
                next_record.eq(Mux(self.i_vector_last & ~self.i_burst_last, block_record, after)),
            ]
        with m.If(self.i_vector_end):
            m.d.sync += record.eq(after)
        with m.If(self.i_burst_end):
            m.d.sync += record.eq(block_record)
            with m.If(self.i_burst_last):
                m.d.sync += [record.eq(after), block_record.eq(after)]
        with m.If(self.i_start):
            m.d.sync += [value.eq(self.i_base) for value in (record, block_record, next_record)]
        return m

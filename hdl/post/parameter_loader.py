"""Record loader: brings the post-processing records of a result vector beside its values."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.links import Links
from ..isa import param_layout

__all__ = ["ParameterLoader"]


class ParameterLoader(wiring.Component):
    """Hold the records of the current result vector and load those of the next one.

    Members
    -------
    i_request : In(1), i_record : In(16)
        Load the records from this one on (`post_width` of them; those past the channels are
        not used). Only when nothing is loading or loaded.
    o_ready : Out(1)
        The requested records are loaded; known a cycle later where there are links.
    i_take : In(1)
        First result of the vector is issued: the records become active `latency` cycles
        later, when its values arrive.
    o_taken : Out(1)
        Strobe in the cycle before they are active; a new request may follow.
    o_address : Out(16), o_enable : Out(1), i_data : In
        Record memory, synchronous read; data stay until the next read.
    o_records : Out(post_width * record bits)
        Active records, lane 0 in the low bits.

    A request takes post_width + 1 cycles.
    """

    def __init__(self, config, latency):
        self._width = param_layout(config).width
        self._lanes = config.post.width
        self._latency, self._links = latency, Links(config)
        super().__init__({
            "i_request": In(1), "i_record": In(16), "o_ready": Out(1), "i_take": In(1),
            "o_taken": Out(1), "o_address": Out(16), "o_enable": Out(1),
            "i_data": In(self._width), "o_records": Out(self._lanes * self._width),
        })

    def elaborate(self, platform):
        m = Module()
        # The memory itself holds what was read last.
        shadow = [Signal(self._width, name=f"shadow{k}", reset_less=True)
                  for k in range(self._lanes - 1)]
        active = [Signal(self._width, name=f"active{k}", reset_less=True)
                  for k in range(self._lanes)]
        loading, arriving = Signal(), Signal()
        index, arriving_index = Signal(range(self._lanes + 1)), Signal(range(self._lanes + 1))
        address = Signal(16)
        ready = Signal()
        with m.If(self.i_request):
            m.d.sync += [loading.eq(1), index.eq(0), address.eq(self.i_record)]
        with m.Elif(loading):
            m.d.sync += [index.eq(index + 1), address.eq(address + 1)]
            with m.If(index == self._lanes - 1):
                m.d.sync += loading.eq(0)
        m.d.sync += [arriving.eq(loading), arriving_index.eq(index)]
        with m.If(arriving):
            for k, one in enumerate(shadow):
                with m.If(arriving_index == k):
                    m.d.sync += one.eq(self.i_data)
            with m.If(arriving_index == self._lanes - 1):
                m.d.sync += ready.eq(1)
        taken = delay(m, self.i_take, self._latency - 1, "take", reset=True)
        with m.If(self.i_take):
            m.d.sync += ready.eq(0)
        with m.If(taken):
            m.d.sync += [a.eq(s) for a, s in zip(active, [*shadow, self.i_data], strict=True)]
        m.d.comb += [self.o_ready.eq(self._links.state(m, ready, "loaded", clears=self.i_take)),
                     self.o_taken.eq(taken),
                     self.o_address.eq(address), self.o_enable.eq(loading)]
        for k in range(self._lanes):
            m.d.comb += self.o_records[k * self._width:(k + 1) * self._width].eq(active[k])
        return m

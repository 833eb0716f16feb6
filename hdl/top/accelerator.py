"""The accelerator: a byte port, a sequencer, program memories and a datapath."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..common.library import place
from ..common.links import Links
from ..common.stream_register import StreamRegister
from ..contents import NOTHING
from ..control.counters import Counters
from ..control.datapath import Datapath
from ..control.stages import Stages
from ..isa import Counter, Space
from ..memory.program_memories import ProgramMemories
from ..memory.scratchpad import HostAccess
from ..port.command_port import CommandPort
from ..port.image_store import image_store

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """A complete accelerator behind one byte stream in each direction.

    Parameters
    ----------
    config : Config
    contents : Contents
        A program that is there from configuration on; by default none.

    Members
    -------
    rx : In(stream of 8), tx : Out(stream of 8)
        Command frames and replies (``docs/protocol.md``); both take back-pressure.
    o_tx_last : Out(1)
        The byte of ``tx`` is the last one of a reply.
    o_running : Out(1)
        A run is going on.
    o_program : Out(1)
        A program is loaded.
    o_layers_done : Out(16)
        Layers completed in this run, or in the last one.

    One clock domain, `sync`.
    """

    def __init__(self, config, contents=NOTHING):
        self._config, self._links = config, Links(config)
        self._contents = contents
        super().__init__({
            "rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)),
            "o_tx_last": Out(1), "o_running": Out(1), "o_program": Out(1), "o_layers_done": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        config, contents, links = self._config, self._contents, self._links
        # Both are high after the domain's reset, and take it on to what is large.
        begins, stop = Signal(init=1), Signal(init=1)
        port = CommandPort(config, contents)
        m.submodules.port = place(platform, port, reset=begins)
        m.submodules.memories = memories = ProgramMemories(config, contents)
        m.submodules.unfold = unfold = image_store(config)
        sequencer, datapath = Stages(config).sequencer(config), Datapath(config, contents)
        m.submodules.sequencer = place(platform, sequencer, reset=stop)
        m.submodules.datapath = place(platform, datapath, reset=stop)
        connect(m, port=port.o, sink=flipped(self.tx))
        m.d.sync += [begins.eq(0), stop.eq(port.o_reset)]
        # Links both ways; the answer to the command keeps its other fields as they are.
        run = links.delay(m, port.o_run.strobe, "run", reset=True)
        running = links.state(m, sequencer.o_running, "running", sets=run | port.o_run.strobe)
        m.d.comb += [
            port.i.payload.eq(self.rx.payload), port.i.valid.eq(self.rx.valid & ~begins),
            self.rx.ready.eq(port.i.ready & ~begins),
            self.o_tx_last.eq(port.o_last),
            self.o_layers_done.eq(sequencer.o_layers_done),
            self.o_running.eq(running), self.o_program.eq(port.o_program_valid),
            port.i_running.eq(running), port.i_layers_done.eq(sequencer.o_layers_done),
            sequencer.i_run.eq(run), sequencer.i_resume.eq(port.o_run.resume),
            sequencer.i_layers.eq(port.o_run.layers), sequencer.i_count.eq(port.o_run.count),
            sequencer.i_compute_busy.eq(datapath.o_compute_busy),
            sequencer.i_store_busy.eq(datapath.o_store_busy),
            sequencer.i_data.eq(memories.o_program_data),
            memories.i_program_address.eq(sequencer.o_address),
            memories.i_program_enable.eq(sequencer.o_enable),
            datapath.i_compute.eq(sequencer.o_compute), datapath.i_store.eq(sequencer.o_store),
            datapath.i_stored.eq(sequencer.o_stored),
        ]
        for name in ("weights", "records", "index"):
            if name == "index" and not config.memory.index_entries:
                continue
            m.d.comb += [
                getattr(memories, f"i_{name}_address").eq(getattr(datapath, f"o_{name}_address")),
                getattr(memories, f"i_{name}_enable").eq(getattr(datapath, f"o_{name}_enable")),
                getattr(datapath, f"i_{name}").eq(getattr(memories, f"o_{name}_data")),
            ]
        self._connect_memory_bus(m, port, memories, unfold, datapath)
        if config.port.counted_layers:
            self._add_counters(m, port, sequencer, datapath)
        with m.If(datapath.o_host_valid):
            m.d.comb += [port.i_read.valid.eq(1), port.i_read.payload.eq(datapath.o_host)]
        return m

    def _add_counters(self, m, port, sequencer, datapath):
        """Count what happens, and answer reads that are not for the scratchpads."""
        m.submodules.counters = counters = Counters(
            self._config.port.counted_layers, links=self._links)
        read = port.o_read
        events = {
            Counter.CYCLES: sequencer.o_running, Counter.VECTORS: datapath.o_vector,
            Counter.STALL_WEIGHTS: datapath.o_stall_weights,
            Counter.STALL_LAYER: datapath.o_stall_layer,
            Counter.STALL_BANK: datapath.o_stall_bank, Counter.STALL_PORT: datapath.o_stall_port,
            Counter.RESULTS: datapath.o_result, Counter.LAYERS: sequencer.o_layer_done,
            Counter.FETCH: sequencer.o_between,
        }
        seen = [Cat(events[counter] for counter in Counter),
                port.o_run.strobe & ~port.o_run.resume,
                sequencer.o_compute.start & ~sequencer.o_first, sequencer.o_running]
        m.d.comb += [
            Cat(counters.i_increment, counters.i_clear, counters.i_next, counters.i_running).eq(
                self._links.delay(m, Cat(seen), "seen", reset=True)),
            counters.i_read.payload.eq(read.payload.address),
            counters.i_read.valid.eq(read.valid & ~(read.payload.space == Space.SCRATCH)),
            counters.o_read.ready.eq(port.i_read.ready),
            port.i_read.valid.eq(counters.o_read.valid),
            port.i_read.payload.eq(counters.o_read.payload),
        ]
        with m.If(read.payload.space != Space.SCRATCH):
            m.d.comb += read.ready.eq(counters.i_read.ready)

    def _connect_memory_bus(self, m, port, memories, unfold, datapath):
        """Share the scratchpads' host port: images, then writes, then reads."""
        write, read, host = port.o_write, port.o_read, datapath.i_host
        if Stages(self._config).registers:
            # As in `ProgramMemories`; the last byte is there before a run has fetched a layer.
            m.submodules.access = access = StreamRegister(
                HostAccess, spare=self._links.cycles > 0)
            connect(m, access=access.o, datapath=datapath.i_host)
            host = access.i
        to_scratch, read_scratch = Signal(), Signal()
        m.d.comb += [
            unfold.i_record.eq(memories.o_input),
            unfold.i_start.strobe.eq(port.o_image_start.strobe),
            unfold.i_start.base.eq(port.o_image_start.base),
            port.i_image_busy.eq(unfold.o_busy),
            to_scratch.eq(write.payload.space == Space.SCRATCH),
            memories.i_write.eq(write.payload),
            memories.i_write_valid.eq(write.valid),
            datapath.i_table_write.enable.eq(write.valid & (write.payload.space == Space.TABLES)),
            datapath.i_table_write.address.eq(write.payload.address),
            datapath.i_table_write.data.eq(write.payload.data),
            datapath.i_prototype_write.enable.eq(
                write.valid & (write.payload.space == Space.PROTOTYPES)),
            datapath.i_prototype_write.address.eq(write.payload.address),
            datapath.i_prototype_write.data.eq(write.payload.data),
            read_scratch.eq(read.valid & (read.payload.space == Space.SCRATCH)),
            write.ready.eq(1),
        ]
        connect(m, image=port.o_image, unfold=unfold.i)
        with m.If(unfold.o.valid):
            m.d.comb += [
                host.valid.eq(1), host.payload.write.eq(1),
                host.payload.group.eq(port.o_image_start.group),
                host.payload.address.eq(unfold.o.payload.address),
                host.payload.data.eq(unfold.o.payload.data),
                unfold.o.ready.eq(host.ready), write.ready.eq(~to_scratch),
            ]
        with m.Elif(write.valid & to_scratch):
            m.d.comb += [
                host.valid.eq(1), host.payload.write.eq(1),
                host.payload.group.eq(write.payload.address[24:]),
                host.payload.address.eq(write.payload.address[:24]),
                host.payload.data.eq(write.payload.data), write.ready.eq(host.ready),
            ]
        with m.Else():
            m.d.comb += [
                host.valid.eq(read_scratch), host.payload.group.eq(read.payload.address[24:]),
                host.payload.address.eq(read.payload.address[:24]),
            ]
        with m.If(read.payload.space == Space.SCRATCH):
            m.d.comb += read.ready.eq(host.ready & ~unfold.o.valid & ~(write.valid & to_scratch))

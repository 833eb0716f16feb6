"""An accelerator in a system: AXI4-Stream for its bytes, AXI4-Lite for its registers."""

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..contents import NOTHING
from ..port.axi import AxiLite, AxiLitePort, AxiStream
from ..port.register_file import RegisterFile
from ..registers import ADDRESS_BITS
from .accelerator import Accelerator

__all__ = ["AxiAccelerator"]


class AxiAccelerator(wiring.Component):
    """An `Accelerator` whose byte port is a pair of streams, with registers beside it.

    Parameters
    ----------
    config : Config
    contents : Contents
        See `Accelerator`.

    Members
    -------
    aclk, aresetn : In(1)
        Clock of everything, and its synchronous reset, active low.
    s_axis : In(AxiStream)
        Command frames, a byte a cycle.
    m_axis : Out(AxiStream with TLAST)
        Replies, a byte every two cycles at most; TLAST marks the last byte of a frame.
    s_axi : In(AxiLite)
        Registers (`pyhw.hdl.registers`).
    interrupt : Out(1)
        Level; high as long as an enabled cause is pending.

    No output of an interface depends on an input of the same cycle.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        super().__init__({
            "aclk": In(1), "aresetn": In(1),
            "s_axis": In(AxiStream(last=False)), "m_axis": Out(AxiStream(last=True)),
            "s_axi": In(AxiLite(ADDRESS_BITS)), "interrupt": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What a soft reset resets lies in a domain of its own, on the same clock.
        m.domains.sync = ClockDomain(local=True)
        m.domains.core = ClockDomain(local=True)
        m.submodules.port = port = AxiLitePort(ADDRESS_BITS)
        m.submodules.registers = registers = RegisterFile(self._config)
        accelerator = Accelerator(self._config, self._contents)
        m.submodules.accelerator = DomainRenamer("core")(accelerator)
        connect(m, manager=flipped(self.s_axi), port=port.axi)
        m.d.comb += [
            ClockSignal("sync").eq(self.aclk), ClockSignal("core").eq(self.aclk),
            ResetSignal("sync").eq(~self.aresetn),
            ResetSignal("core").eq(~self.aresetn | registers.o_reset),
            registers.i_write.eq(port.o_write),
            registers.i_write_address.eq(port.o_write_address),
            registers.i_write_data.eq(port.o_write_data),
            registers.i_write_mask.eq(port.o_write_mask),
            port.i_write_response.eq(registers.o_write_response),
            registers.i_read_address.eq(port.o_read_address),
            port.i_read_data.eq(registers.o_read_data),
            port.i_read_response.eq(registers.o_read_response),
            registers.i_running.eq(accelerator.o_running),
            registers.i_program.eq(accelerator.o_program),
            registers.i_layers_done.eq(accelerator.o_layers_done),
            self.interrupt.eq(registers.o_interrupt),
            accelerator.rx.payload.eq(self.s_axis.tdata),
            accelerator.rx.valid.eq(self.s_axis.tvalid & ~registers.o_reset),
            self.s_axis.tready.eq(accelerator.rx.ready & ~registers.o_reset),
        ]
        self._send(m, accelerator, registers.o_reset)
        return m

    def _send(self, m, accelerator, reset):
        """Hold a byte until it is taken, whatever the accelerator does meanwhile.

        A frame that a soft reset cuts off is ended by a byte of 0 with TLAST, so that whoever
        receives packets is not left waiting.
        """
        out = self.m_axis
        inside, ending = Signal(), Signal()  # a frame has begun; it must be ended
        m.d.comb += accelerator.tx.ready.eq(~out.tvalid & ~ending & ~reset)
        with m.If(out.tready):
            m.d.sync += out.tvalid.eq(0)
        with m.If(reset):
            m.d.sync += ending.eq(inside)
        with m.If(accelerator.tx.valid & accelerator.tx.ready):
            m.d.sync += [out.tvalid.eq(1), out.tdata.eq(accelerator.tx.payload),
                         out.tlast.eq(accelerator.o_tx_last), inside.eq(~accelerator.o_tx_last)]
        with m.Elif(ending & ~out.tvalid):
            m.d.sync += [out.tvalid.eq(1), out.tdata.eq(0), out.tlast.eq(1), inside.eq(0),
                         ending.eq(0)]

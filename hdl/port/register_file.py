"""The registers of an accelerator in a system, as hardware."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import ISA_VERSION
from ..frames import FRAME_VERSION
from ..registers import (
    ADDRESS_BITS,
    IDENTITY,
    MAP_VERSION,
    REGISTERS,
    RESET_CYCLES,
    Access,
    find_register,
)
from .axi import Response

__all__ = ["RegisterFile"]


class RegisterFile(wiring.Component):
    """Hold, count and decode what `pyhw.hdl.registers` lays out.

    Parameters
    ----------
    config : Config

    Members
    -------
    i_write ... i_read_address, o_write_response ... o_read_response
        The other side of `AxiLitePort`; a read has no effect.
    i_running, i_program, i_layers_done : In
        Of the accelerator.
    o_reset : Out(1)
        High for `RESET_CYCLES` cycles after a soft reset was written.
    o_interrupt : Out(1)
        A pending cause is enabled.
    """

    def __init__(self, config):
        self._config = config
        words = ADDRESS_BITS - 2
        super().__init__({
            "i_write": In(1), "i_write_address": In(words), "i_write_data": In(32),
            "i_write_mask": In(32), "o_write_response": Out(Response),
            "i_read_address": In(words), "o_read_data": Out(32),
            "o_read_response": Out(Response),
            "i_running": In(1), "i_program": In(1), "i_layers_done": In(16),
            "o_reset": Out(1), "o_interrupt": Out(1),
        })

    def _identity(self):
        """Return the values of the registers that never change."""
        config, digest = self._config, self._config.hash
        return {
            "ID": {"id": IDENTITY},
            "VERSION": {"isa": ISA_VERSION, "frame": FRAME_VERSION, "map": MAP_VERSION},
            "HASH0": {"hash": int.from_bytes(digest[:4], "little")},
            "HASH1": {"hash": int.from_bytes(digest[4:], "little")},
            "LIMITS": {"groups": config.groups, "max_payload": config.port.max_payload},
        }

    def elaborate(self, platform):
        m = Module()
        values = {register.name: Signal(register.fields.shape, name=register.name.lower())
                  for register in REGISTERS}
        for name, fields in self._identity().items():
            raw = find_register(name).fields.encode(**fields)
            m.d.comb += values[name].as_value().eq(Const(int.from_bytes(raw, "little"), 32))
        status, pending = values["STATUS"], values["IRQ_PENDING"]
        cycles, runs = values["CYCLES"].cycles, values["RUNS"].runs
        was_running, ended = Signal(), Signal()
        left = Signal(range(RESET_CYCLES + 1))
        m.d.comb += [
            status.running.eq(self.i_running), status.program.eq(self.i_program),
            status.layers_done.eq(self.i_layers_done),
            self.o_reset.eq(left != 0), values["CONTROL"].soft_reset.eq(self.o_reset),
            ended.eq(was_running & ~self.i_running),
            self.o_interrupt.eq((pending.as_value() & values["IRQ_ENABLE"].as_value()).any()),
        ]
        m.d.sync += [was_running.eq(self.i_running), left.eq(left - self.o_reset)]
        with m.If(self.i_running):
            m.d.sync += cycles.eq(cycles + ~cycles.all())
            with m.If(~was_running):
                m.d.sync += cycles.eq(1)

        m.d.comb += [self.o_read_response.eq(Response.DECERR),
                     self.o_write_response.eq(Response.DECERR)]
        with m.Switch(self.i_read_address):
            for register in REGISTERS:
                with m.Case(register.address >> 2):
                    m.d.comb += [self.o_read_data.eq(values[register.name].as_value()),
                                 self.o_read_response.eq(Response.OKAY)]
        with m.Switch(self.i_write_address):
            for register in REGISTERS:
                with m.Case(register.address >> 2):
                    allowed = register.access != Access.READ
                    m.d.comb += self.o_write_response.eq(
                        Response.OKAY if allowed else Response.SLVERR)
                    if allowed:
                        self._write(m, register.access, values[register.name], left)
        with m.If(ended):
            m.d.sync += [runs.eq(runs + 1), pending.run_end.eq(1)]
        with m.If(self.o_reset):
            m.d.sync += [was_running.eq(0), cycles.eq(0), runs.eq(0), pending.run_end.eq(0)]
        return m

    def _write(self, m, access, value, left):
        """Add what a write to a register does."""
        bits = value.as_value()
        data, mask = (signal[:len(bits)] for signal in (self.i_write_data, self.i_write_mask))
        with m.If(self.i_write):
            if access == Access.WRITE:
                m.d.sync += bits.eq((bits & ~mask) | (data & mask))
            elif access == Access.CLEAR:
                m.d.sync += bits.eq(bits & ~(data & mask))
            else:
                with m.If(Cat(data & mask).any()):
                    m.d.sync += left.eq(RESET_CYCLES)

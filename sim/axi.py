"""An accelerator's AXI interfaces, seen from the bench by the models of cocotbext-axi."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

from cocotb.triggers import SimTimeoutError, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from pyhw.hdl.frames import CRC_BYTES, HEADER_BYTES, SYNC
from pyhw.hdl.registers import REGISTERS, find_register


class RegisterError(Exception):
    """Report the answer to an access that was not OKAY."""

    def __init__(self, response: AxiResp) -> None:
        super().__init__(AxiResp(response).name)
        self.name = AxiResp(response).name


def _pauses(probability: float, seed: str) -> Iterator[bool]:
    generator = random.Random(seed)
    return (generator.random() < probability for _ in itertools.count())


class AxiPort:
    """The transport of `drive_async` over the streams; every packet must be one whole reply.

    Parameters
    ----------
    dut : cocotb handle
        The top module.
    gap, stall : float
        Probabilities of pauses in the stream in and in the stream out.
    """

    def __init__(self, dut: Any, gap: float = 0.0, stall: float = 0.0) -> None:
        self._source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk,
                                       dut.aresetn, reset_active_level=False)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk,
                                  dut.aresetn, reset_active_level=False)
        for stream, probability in ((self._source, gap), (self.sink, stall)):
            stream.log.setLevel("WARNING")
            if probability:
                stream.set_pause_generator(_pauses(probability, type(stream).__name__))
        self.packets = 0

    async def send(self, data: bytes) -> None:
        """Queue bytes for the design; packets need not be frames."""
        await self._source.send(AxiStreamFrame(data))

    async def receive(self, timeout_s: float) -> bytes:
        """Wait for a packet; a second is one of simulated time."""
        try:
            frame = await with_timeout(self.sink.recv(), round(timeout_s * 1e9), "ns")
        except SimTimeoutError:
            return b""
        data = bytes(frame.tdata)
        length = int.from_bytes(data[5:7], "little")
        assert data.startswith(SYNC), f"a packet begins with {data[:2].hex()}"
        assert len(data) == HEADER_BYTES + length + CRC_BYTES, "TLAST is not at a frame's end"
        self.packets += 1
        return data


class Registers:
    """The registers by name; answers other than OKAY raise `RegisterError`."""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self._port = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn,
                                   reset_active_level=False)
        read, write = self._port.read_if, self._port.write_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                        read.r_channel):
            channel.log.setLevel("WARNING")
            if pause:
                channel.set_pause_generator(_pauses(pause, str(channel.log.name)))
        read.log.setLevel("WARNING")
        write.log.setLevel("WARNING")

    async def read(self, name: str) -> dict[str, int]:
        """Return the fields of a register."""
        register = find_register(name)
        return register.fields.decode(await self.peek(register.address))

    async def write(self, name: str, **fields: int) -> None:
        """Write a register; fields that are not named are 0."""
        register = find_register(name)
        await self.poke(register.address, register.fields.encode(**fields))

    async def peek(self, address: int) -> bytes:
        """Read the word at an address."""
        answer = await self._port.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            raise RegisterError(answer.resp)
        return answer.data

    async def poke(self, address: int, data: bytes) -> None:
        """Write bytes at an address, within a word."""
        answer = await self._port.write(address, data)
        if answer.resp != AxiResp.OKAY:
            raise RegisterError(answer.resp)

    async def response(self, address: int, data: bytes | None = None) -> str:
        """Return the name of the answer to a read, or to a write of data."""
        try:
            await (self.peek(address) if data is None else self.poke(address, data))
        except RegisterError as error:
            return error.name
        return "OKAY"

    async def dump(self) -> dict[str, dict[str, int]]:
        """Return all registers."""
        return {register.name: await self.read(register.name) for register in REGISTERS}

"""The other end of a serial line, 8N1, written bit by bit and independent of the gateware's."""

import itertools
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import Event, FallingEdge, RisingEdge, SimTimeoutError, Timer, with_timeout

from pyhw.sim.clocking import PERIOD_NS


def _levels(byte: int) -> list[int]:
    """Return how long the levels of a byte last, in bits, from the low one of the start bit on."""
    bits = f"{byte << 1 | 1 << 9:010b}"[::-1]  # stop, byte, start: the start bit is sent first
    return [len(list(same)) for _, same in itertools.groupby(bits)]


class SerialLine:
    """Bytes to and from a design's pins ``rx`` and ``tx``; a transport for `drive_async`.

    Parameters
    ----------
    dut : cocotb handle
        The top module.
    divisor : int
        Clock cycles of a bit.
    """

    def __init__(self, dut: Any, divisor: int) -> None:
        self._rx, self._tx = dut.rx, dut.tx
        self._divisor = divisor
        self._read_tx = dut.tx._handle.get_signal_val_binstr
        self._queue: deque[int] = deque()
        self._received = bytearray()
        self._more, self._came = Event(), Event()
        self.sent = self.received = self.framing = self.overruns = 0
        self.sending = False
        """Bytes wait or are on their way."""
        self._rx.value = 1
        for task in (self._send(), self._receive(), self._count_overruns(dut)):
            cocotb.start_soon(task)

    def write(self, data: bytes) -> None:
        """Queue bytes; they follow each other without a pause."""
        if data:
            self._queue.extend(data)
            self.sending = True
            self._more.set()

    def take(self) -> bytes:
        """Return what has been received since."""
        data = bytes(self._received)
        self._received.clear()
        self._came.clear()
        return data

    async def send(self, data: bytes) -> None:
        """Queue bytes, as `write` does."""
        self.write(data)

    async def receive(self, timeout_s: float) -> bytes:
        """Wait for bytes; a second is one of simulated time."""
        if not self._received:
            try:
                await with_timeout(self._came.wait(), round(timeout_s * 1e9), "ns")
            except SimTimeoutError:
                return b""
        return self.take()

    def _bits(self, count: float) -> Timer:
        return Timer(round(count * self._divisor * PERIOD_NS), unit="ns")

    async def _send(self) -> None:
        # A trigger that two tasks wait for fires for both at once: each has its own.
        waits = {bits: self._bits(bits) for bits in range(1, 11)}
        spans = [[waits[bits] for bits in _levels(byte)] for byte in range(256)]
        rx, queue = self._rx, self._queue
        while True:
            if not queue:
                self.sending = False
                self._more.clear()
                await self._more.wait()
            level = 0
            for span in spans[queue.popleft()]:
                rx.value = level
                level ^= 1
                await span
            self.sent += 1

    async def _receive(self) -> None:
        start, bit, read = FallingEdge(self._tx), self._bits(1), self._read_tx
        middle = self._bits(1.5)
        while True:
            await start
            await middle
            byte = 0
            for k in range(8):
                byte |= (read() == "1") << k
                await bit
            if read() != "1":
                self.framing += 1
                continue
            self._received.append(byte)
            self.received += 1
            self._came.set()

    async def _count_overruns(self, dut: Any) -> None:
        while True:
            await RisingEdge(dut.overrun)
            self.overruns += 1

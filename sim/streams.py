"""Byte streams with valid and ready, as the accelerator's port has them, seen from the bench.

A `ByteSource` feeds the design, a `ByteSink` takes from it and checks the protocol as it goes.
Both sleep on an edge of a signal of the stream, not on the clock, while nothing moves: an idle port
costs no Python at all. Random gaps and stalls depend only on the seed and on the number of bytes.

cocotb wakes a task at a rising edge of the clock before the design has reacted to it, so values
read there are those the design's registers see, and values written there appear after the edge.
"""

import random
from collections import deque
from typing import Any

import cocotb
from cocotb.task import Task
from cocotb.triggers import Event, RisingEdge


class StreamError(AssertionError):
    """Report a breach of the valid/ready protocol by the design."""


class _Stream:
    """The signals of one byte stream, read quickly.

    Parameters
    ----------
    dut : cocotb handle
        The top module.
    prefix : str
        What the names of the three signals begin with: ``rx`` or ``tx``.
    """

    def __init__(self, dut: Any, prefix: str) -> None:
        self.prefix = prefix
        self.payload = getattr(dut, f"{prefix}_payload")
        self.valid = getattr(dut, f"{prefix}_valid")
        self.ready = getattr(dut, f"{prefix}_ready")
        self.clock_edge = RisingEdge(dut.clk)
        # A value's text without the object cocotb wraps around it: half the time of a byte.
        self.read_payload = self.payload._handle.get_signal_val_binstr
        self.read_valid = self.valid._handle.get_signal_val_binstr
        self.read_ready = self.ready._handle.get_signal_val_binstr


class ByteSource:
    """Feed bytes to a stream that the design consumes.

    Parameters
    ----------
    dut : cocotb handle
        The top module, with ``<prefix>_payload``, ``<prefix>_valid`` and ``<prefix>_ready``.
    prefix : str
        ``rx``: into the accelerator.
    gap : float
        Probability, 0 to 1 exclusive, that a byte is held back for another cycle.
    seed : int
        Seed of the gaps.
    """

    def __init__(self, dut: Any, prefix: str = "rx", *, gap: float = 0.0, seed: int = 0) -> None:
        if not 0.0 <= gap < 1.0:
            raise ValueError(f"gap must be at least 0 and below 1, not {gap!r}")
        self._stream = _Stream(dut, prefix)
        self._gap = gap
        self._random = random.Random(f"source {prefix} {seed}")
        self._queue: deque[int] = deque()
        self._more = Event()
        self._empty = Event()
        self._empty.set()
        self._stream.valid.value = 0
        self._task: Task[None] = cocotb.start_soon(self._run())

    def write(self, data: bytes) -> None:
        """Queue bytes; they leave as the design takes them."""
        if data:
            self._queue.extend(data)
            self._empty.clear()
            self._more.set()

    async def drain(self) -> None:
        """Wait until the design has taken every queued byte."""
        await self._empty.wait()

    async def send(self, data: bytes) -> None:
        """Queue bytes and wait until the design has taken them."""
        self.write(data)
        await self.drain()

    def discard(self) -> int:
        """Forget the bytes not yet offered, as when a cable is pulled; return how many."""
        count = len(self._queue)
        self._queue.clear()
        return count

    def stop(self) -> None:
        """Stop driving the stream."""
        self._task.cancel()
        self._stream.valid.value = 0

    async def _run(self) -> None:
        queue, stream, gap = self._queue, self._stream, self._gap
        payload, valid, clock_edge = stream.payload, stream.valid, stream.clock_edge
        ready_edge, read_ready = RisingEdge(stream.ready), stream.read_ready
        offered = False
        await clock_edge
        while True:
            if not queue:
                if offered:
                    valid.value = 0
                    offered = False
                self._empty.set()
                self._more.clear()
                await self._more.wait()
                await clock_edge
                continue
            while gap and self._random.random() < gap:
                if offered:
                    valid.value = 0
                    offered = False
                await clock_edge
            payload.value = queue.popleft()
            if not offered:
                valid.value = 1
                offered = True
            await clock_edge
            while read_ready() != "1":
                await ready_edge
                await clock_edge


class ByteSink:
    """Take bytes from a stream that the design produces, and check the design's side of it.

    Once valid is high without ready, it must stay high and the payload must not change until the
    byte is taken; neither may be undefined.

    Parameters
    ----------
    dut : cocotb handle
        The top module, with ``<prefix>_payload``, ``<prefix>_valid`` and ``<prefix>_ready``.
    prefix : str
        ``tx``: out of the accelerator.
    stall : float
        Probability, 0 to 1 exclusive, that ready is low for another cycle before a byte.
    seed : int
        Seed of the stalls.
    """

    def __init__(self, dut: Any, prefix: str = "tx", *, stall: float = 0.0, seed: int = 0) -> None:
        if not 0.0 <= stall < 1.0:
            raise ValueError(f"stall must be at least 0 and below 1, not {stall!r}")
        self._stream = _Stream(dut, prefix)
        self._stall = stall
        self._random = random.Random(f"sink {prefix} {seed}")
        self._received = bytearray()
        self._taken = 0
        self._wanted = 0
        self._enough = Event()
        self._stream.ready.value = 0 if stall else 1
        self._task: Task[None] = cocotb.start_soon(self._run())

    @property
    def available(self) -> int:
        """Number of bytes received and not yet read."""
        return len(self._received)

    @property
    def received(self) -> int:
        """Number of bytes received in all."""
        return self._taken + len(self._received)

    async def read(self, count: int) -> bytes:
        """Wait for a number of bytes and take them, oldest first."""
        if len(self._received) < count:
            self._wanted = count
            self._enough.clear()
            await self._enough.wait()
        data = bytes(self._received[:count])
        del self._received[:count]
        self._taken += count
        return data

    def read_available(self) -> bytes:
        """Take what has been received without waiting."""
        data = bytes(self._received)
        self._received.clear()
        self._taken += len(data)
        return data

    def stop(self) -> None:
        """Stop taking bytes."""
        self._task.cancel()
        self._stream.ready.value = 0

    def _take(self, bits: str) -> None:
        try:
            self._received.append(int(bits, 2))
        except ValueError:
            name = self._stream.prefix
            raise StreamError(f"{name}_payload is {bits} while {name}_valid is high") from None
        if len(self._received) >= self._wanted and not self._enough.is_set():
            self._enough.set()

    async def _run(self) -> None:
        await self._stream.clock_edge
        if self._stall:
            await self._run_with_stalls()
        else:
            await self._run_always_ready()

    async def _run_always_ready(self) -> None:
        stream, clock_edge, take = self._stream, self._stream.clock_edge, self._take
        valid_edge, read_valid, read_payload = (
            RisingEdge(stream.valid),
            stream.read_valid,
            stream.read_payload,
        )
        while True:
            if read_valid() == "1":
                take(read_payload())
            else:
                await valid_edge
            await clock_edge

    async def _run_with_stalls(self) -> None:
        stream, clock_edge, name = self._stream, self._stream.clock_edge, self._stream.prefix
        valid_edge = RisingEdge(stream.valid)
        while True:
            # Here ready is low.
            if stream.read_valid() != "1":
                await valid_edge
                await clock_edge
                continue
            offered = stream.read_payload()
            stalled = True
            while stalled:
                stalled = self._random.random() < self._stall
                if not stalled:
                    stream.ready.value = 1
                await clock_edge
                if stream.read_valid() != "1":
                    raise StreamError(f"{name}_valid fell before {name}_ready took the byte")
                if stream.read_payload() != offered:
                    raise StreamError(
                        f"{name}_payload changed from {offered} to {stream.read_payload()} "
                        f"before {name}_ready took the byte"
                    )
            self._take(offered)
            stream.ready.value = 0
            await clock_edge

"""Play command frames over the port and keep the replies: the bench of whole accelerators.

The bench knows nothing of networks: it sends the bytes of one file, frame after frame, and writes
the bytes that come back to another. Parameters:

=========== ===================================================================================
requests    path of the bytes to send
replies     path of the bytes received
frames      number of replies to wait for
marks       list of [replies, label]: after so many replies the cycle is reported under the label
gap, stall  probabilities of gaps before bytes sent and of stalls before bytes received
limit       cycles without a reply after which the design counts as hung
=========== ===================================================================================
"""

import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import First, Timer
from cocotb.utils import get_sim_time

from sim import clocking, job
from sim.streams import ByteSink, ByteSource

#: Bytes of a frame around its payload, and where its length stands.
OVERHEAD, LENGTH_AT = 11, 5


async def _next_reply(sink: ByteSink, limit: int) -> bytes:
    """Take one reply; `TimeoutError` if the design is silent for too long."""
    read = cocotb.start_soon(_read_frame(sink))
    while True:
        seen = sink.received
        await First(read, Timer(limit * clocking.PERIOD_NS, unit="ns"))
        if read.done():
            return read.result()
        if sink.received == seen:
            raise TimeoutError(f"no reply within {limit} cycles")


async def _read_frame(sink: ByteSink) -> bytes:
    head = await sink.read(LENGTH_AT + 2)
    length = int.from_bytes(head[LENGTH_AT:], "little")
    return head + await sink.read(OVERHEAD + length - len(head))


@cocotb.test()
async def frames_are_answered(dut: Any) -> None:
    """Send all requests and wait for all replies; report cycles and speed."""
    parameters = job.parameters()
    source = ByteSource(dut, gap=parameters["gap"], seed=1)
    sink = ByteSink(dut, stall=parameters["stall"], seed=2)
    await clocking.start(dut)
    frames = parameters["frames"]
    marks = {count: label for count, label in parameters["marks"]}
    cycles: dict[str, int] = {}
    started = time.perf_counter()
    source.write(Path(parameters["requests"]).read_bytes())
    with Path(parameters["replies"]).open("wb") as file:
        for count in range(1, frames + 1):
            file.write(await _next_reply(sink, parameters["limit"]))
            if count in marks:
                cycles[marks[count]] = int(get_sim_time("ns")) // clocking.PERIOD_NS
            if count % 64 == 0 or count == frames:
                job.progress(count, frames, "replies")
    seconds = time.perf_counter() - started
    total = int(get_sim_time("ns")) // clocking.PERIOD_NS
    job.report(cycles=total, seconds=seconds, cycles_per_s=total / seconds, marks=cycles)

"""Bench of the runner and the stream drivers themselves, on a design that returns what it gets.

Parameters: ``count`` bytes, ``gap`` and ``stall`` probabilities, ``idle_cycles`` to wait for.
"""

import random
import time
from typing import Any

import cocotb

from sim import clocking, job
from sim.streams import ByteSink, ByteSource


@cocotb.test()
async def bytes_come_back_in_order(dut: Any) -> None:
    """Send random bytes and compare what returns; report the speed of the bench."""
    parameters = job.parameters()
    source = ByteSource(dut, gap=parameters["gap"], seed=1)
    sink = ByteSink(dut, stall=parameters["stall"], seed=2)
    await clocking.start(dut)
    data = random.Random(3).randbytes(parameters["count"])
    started = time.perf_counter()
    source.write(data)
    returned = await sink.read(len(data))
    seconds = time.perf_counter() - started
    assert returned == data, "the design returned other bytes than it got"
    job.report(bytes_per_s=len(data) / seconds)


@cocotb.test()
async def idle_port_costs_nothing(dut: Any) -> None:
    """Let the design run with nothing on its port; report cycles a second."""
    count = job.parameters()["idle_cycles"]
    ByteSource(dut)
    ByteSink(dut)
    await clocking.start(dut)
    started = time.perf_counter()
    await clocking.cycles(count)
    seconds = time.perf_counter() - started
    job.report(idle_cycles_per_s=count / seconds)
    job.progress(count, count, "cycles")

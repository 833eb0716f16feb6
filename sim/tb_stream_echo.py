"""Bench of the runner and the stream drivers themselves, on a design that returns what it gets.

Parameters: ``count`` bytes, ``gap`` and ``stall`` probabilities, ``idle_cycles`` to wait for.
"""

import random
import sys
import time
from typing import Any

import cocotb
from cocotb.utils import get_sim_time

from pyhw.sim import clocking, job
from pyhw.sim.streams import ByteSink, ByteSource


@cocotb.test()
async def bytes_come_back_in_order(dut: Any) -> None:
    """Send random bytes and compare what returns; report speed and cycles."""
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
    job.report(
        bytes_per_s=len(data) / seconds,
        cycles=int(get_sim_time("ns")) // clocking.PERIOD_NS,
    )


@cocotb.test()
async def idle_port_costs_nothing(dut: Any) -> None:
    """Let the design run with nothing on its port; report speed and Python calls."""
    count = job.parameters()["idle_cycles"]
    ByteSource(dut)
    ByteSink(dut)
    await clocking.start(dut)
    await clocking.cycles(4)
    wake_ups = 0

    def count_wake_up(*_: Any) -> None:
        nonlocal wake_ups
        wake_ups += 1

    sys.setprofile(count_wake_up)  # sees every Python function that is called or resumed
    await clocking.cycles(count // 10)
    sys.setprofile(None)
    started = time.perf_counter()
    await clocking.cycles(count)
    seconds = time.perf_counter() - started
    job.report(idle_cycles_per_s=count / seconds, python_calls=wake_ups)
    job.progress(count, count, "cycles")

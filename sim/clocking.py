"""Clock and reset of a bench, with no Python work in cycles where nothing happens."""

from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

#: 100 MHz, the clock of all published figures; simulated time divided by it counts cycles.
PERIOD_NS = 10


def start_clock(clk: Any) -> None:
    """Start a clock that the simulator's own callbacks drive.

    cocotb would choose a Python coroutine for it on simulators whose inertial writes it does not
    trust. Only the clock is driven this way, so the order of other writes does not matter.
    """
    Clock(clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)


async def cycles(count: int) -> None:
    """Wait for a number of cycles without waking up in between."""
    if count:
        await Timer(count * PERIOD_NS, unit="ns")


async def reset(dut: Any, count: int = 4) -> None:
    """Hold the design's synchronous reset for a number of clock edges."""
    dut.rst.value = 1
    await cycles(count)
    await RisingEdge(dut.clk)
    dut.rst.value = 0


async def start_axi(dut: Any) -> None:
    """Start the clock and reset the design by their names in AXI, the reset active low."""
    dut.aresetn.value = 0
    start_clock(dut.aclk)
    await cycles(4)
    await RisingEdge(dut.aclk)
    dut.aresetn.value = 1


async def start(dut: Any) -> None:
    """Start the clock and reset the design."""
    start_clock(dut.clk)
    await reset(dut)
